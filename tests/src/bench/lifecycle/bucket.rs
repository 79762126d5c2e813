//! Backups as an earlier daemon would have left them: their records, and their files in a `local` bucket.

use std::path::Path;

use holdfast_policy::velero::{Backup, to_metadata_json};
use serde_json::json;

/// The cluster that made them.
pub(super) const CLUSTER: &str = "bench";

/// What stands in a folder beside the record, as a backup without volumes leaves it.
const FILES: [&str; 8] = [
    ".tar.gz",
    "-logs.gz",
    "-results.gz",
    "-resource-list.json.gz",
    "-itemoperations.json.gz",
    "-volumeinfo.json.gz",
    "-volumesnapshots.json.gz",
    "-podvolumebackups.json.gz",
];

/// A backup that has ended, and expires at `expiration` (RFC 3339).
pub(super) fn ended(name: &str, expiration: &str) -> anyhow::Result<Backup> {
    let backup = json!({
        "metadata": {
            "name": name,
            "labels": {"velero.io/schedule-name": "nightly", "velero.io/storage-location": "default"},
            "annotations": {
                "holdfast.dev/cluster": CLUSTER,
                "velero.io/resource-timeout": "10m0s",
                "velero.io/source-cluster-k8s-gitversion": "v1.36.0",
                "velero.io/source-cluster-k8s-major-version": "1",
                "velero.io/source-cluster-k8s-minor-version": "36",
            },
        },
        "spec": {
            "storageLocation": "default", "includedNamespaces": ["shop"], "ttl": "720h0m0s",
            "csiSnapshotTimeout": "10m0s", "itemOperationTimeout": "4h0m0s", "snapshotMoveData": false,
            "defaultVolumesToFsBackup": false, "hooks": {}, "metadata": {},
        },
        "status": {
            "phase": "Completed", "version": 1, "formatVersion": "1.1.0",
            "startTimestamp": "2026-01-01T01:00:00Z", "completionTimestamp": "2026-01-01T01:00:09Z",
            "expiration": expiration, "hookStatus": {},
            "progress": {"totalItems": 120, "itemsBackedUp": 120},
        },
    });
    Ok(serde_json::from_value(backup)?)
}

/// Writes its folder; `folder` is `backups/` of the bucket.
pub(super) fn put(folder: &Path, backup: &Backup) -> anyhow::Result<()> {
    let name = backup.metadata.name.as_deref().unwrap_or_default();
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder)?;
    for ending in FILES {
        let content = match ending {
            "-resource-list.json.gz" => holdfast::archive::gzip_json(&json!({"v1/ConfigMap": ["shop/a"]}))?,
            "-itemoperations.json.gz" | "-volumeinfo.json.gz" => holdfast::archive::gzip_json(&json!([]))?,
            "-volumesnapshots.json.gz" | "-podvolumebackups.json.gz" => {
                holdfast::archive::gzip_json(&json!(null))?
            }
            _ => vec![b'x'; 4096].into(),
        };
        std::fs::write(folder.join(format!("{name}{ending}")), content)?;
    }
    Ok(std::fs::write(folder.join("velero-backup.json"), to_metadata_json(backup))?)
}
