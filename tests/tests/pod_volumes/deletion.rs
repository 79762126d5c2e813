//! What the end of a backup leaves of the files of volumes.

use std::fs;

use holdfast_policy::velero::{
    Backup, BackupPhase, BackupRepository, DeleteBackupRequest, DeleteBackupRequestPhase,
    DeleteBackupRequestSpec,
};
use holdfast_tests::waiting;
use pretty_assertions::assert_eq;

use crate::cluster::{Cluster, PATIENCE, Shop};
use crate::place::files_below;

async fn ask_for_deletion(cluster: &Cluster, backup: &str) -> anyhow::Result<()> {
    let spec = DeleteBackupRequestSpec { backup_name: backup.to_owned() };
    cluster.runs.create(&DeleteBackupRequest::new(&format!("{backup}-deletion"), spec)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_backup_takes_all_data_of_the_repository_with_it() -> anyhow::Result<()> {
    let Shop { cluster, daemon: _daemon, agent: _agent, namespace: shop, volume } = Shop::open(&[]).await?;
    let repository = cluster.bucket().join("restic").join(&shop);
    let left = |folder: &str| files_below(&repository.join(folder)).len();
    for name in ["one", "two"] {
        fs::write(volume.join("table"), format!("rows of {name}"))?;
        let backup = cluster.back_up(name, &shop).await?;
        assert_eq!(backup.status_phase(), BackupPhase::Completed);
    }
    assert_eq!(left("snapshots"), 2);
    ask_for_deletion(&cluster, "one").await?;
    let backups = cluster.runs.api::<Backup>();
    let gone = async |name: &str| Ok(backups.get_opt(name).await?.is_none().then_some(()));
    waiting::until("the end of the first backup", PATIENCE, async || gone("one").await).await?;
    assert_eq!(left("snapshots"), 1);
    assert!(left("data") > 0);
    ask_for_deletion(&cluster, "two").await?;
    waiting::until("the end of the second backup", PATIENCE, async || gone("two").await).await?;
    let empty = async || Ok(["data", "index", "snapshots"].iter().all(|it| left(it) == 0).then_some(()));
    waiting::until("the end of all data", PATIENCE, empty).await?;
    let noted = async || {
        let found: BackupRepository = cluster.runs.api().get(&format!("{shop}-default-restic")).await?;
        Ok(Some(found.status.recent_maintenance).filter(|recent| !recent.is_empty()))
    };
    waiting::until("a note of the maintenance", PATIENCE, noted).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_is_not_of_the_backup_is_not_deleted_with_it() -> anyhow::Result<()> {
    let Shop { cluster, daemon: _daemon, agent: _agent, namespace: shop, volume } = Shop::open(&[]).await?;
    fs::write(volume.join("table"), "rows")?;
    let mut snapshots = Vec::new();
    for name in ["one", "two"] {
        cluster.back_up(name, &shop).await?;
        let listed =
            cluster.stored(&format!("backups/{name}"), &format!("{name}-podvolumebackups.json.gz"))?;
        snapshots.push(listed[0]["status"]["snapshotID"].as_str().unwrap_or_default().to_owned());
    }
    let file = "one-podvolumebackups.json.gz";
    let mixed = cluster.stored("backups/one", file)?.to_string().replace(&snapshots[0], &snapshots[1]);
    let path = cluster.bucket().join("backups/one").join(file);
    let mut packed = flate2::write::GzEncoder::new(fs::File::create(path)?, flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, mixed.as_bytes())?;
    packed.finish()?;
    ask_for_deletion(&cluster, "one").await?;
    let refused = |request: &DeleteBackupRequest| {
        request.status.phase == Some(DeleteBackupRequestPhase::Processed) && !request.status.errors.is_empty()
    };
    let request = cluster.runs.ended("one-deletion", PATIENCE, refused).await?;
    assert!(request.status.errors[0].contains("is not of this backup and volume"), "{:?}", request.status);
    let repository = cluster.bucket().join("restic").join(&shop);
    assert_eq!(files_below(&repository.join("snapshots")).len(), 2);
    Ok(())
}
