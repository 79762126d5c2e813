//! Backups whose archives a test writes by hand.

use anyhow::Context as _;
use holdfast_policy::velero::Backup;
use serde_json::json;

use crate::home::Home;

/// A backup in the bucket of the location, and in the cluster.
pub(crate) async fn backup(home: &Home, name: &str, archive: &[u8]) -> anyhow::Result<()> {
    let folder = home.bucket().join("backups").join(name);
    std::fs::create_dir_all(&folder)?;
    let object = json!({
        "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": name},
        "spec": {"storageLocation": "default"}, "status": {"phase": "Completed"},
    });
    std::fs::write(folder.join(format!("{name}.tar.gz")), archive)?;
    std::fs::write(folder.join("velero-backup.json"), object.to_string())?;
    if let Err(error) = home.runs.adopt(&home.bucket(), name).await {
        // The daemon finds it in the bucket as well, and may be quicker.
        let found = home.runs.api::<Backup>().get_opt(name).await?;
        found.context(error)?;
    }
    Ok(())
}
