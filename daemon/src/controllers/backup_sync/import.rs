//! A backup as the bucket has it becomes one of this cluster.
//!
//! In: `velero-backup.json` and the list of PodVolumeBackups, neither of which is trusted. Out: objects to create.
//! velero-api.md §4.2 has the rules.

use chrono::{DateTime, SecondsFormat, Utc};
use holdfast_policy::annotations::SYNCED;
use holdfast_policy::velero;
use holdfast_policy::velero::{BackupPhase, PodVolumeBackup, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::archive;
use crate::store::{self, BackupFile, BackupStore};

/// An entry has about two kilobytes.
const LARGEST_LIST: u64 = 64 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("cannot read the list of PodVolumeBackups")]
    PodVolumes(#[source] archive::Error),
    #[error("velero-backup.json in the folder {folder} is of a backup named {found:?}")]
    OtherName { folder: String, found: String },
}

/// What the cluster has that a Backup may refer to.
#[derive(Clone, Debug)]
pub struct Into<'a> {
    pub namespace: &'a str,
    pub location: &'a str,
    /// Names and uids.
    pub schedules: &'a [(String, String)],
    pub now: DateTime<Utc>,
}

/// `velero-backup.json`, if the folder has one.
pub async fn read(store: &BackupStore, folder: &str) -> Result<Option<velero::Backup>, Error> {
    let Some(backup) = store.read_backup(folder).await? else { return Ok(None) };
    match backup.metadata.name.clone().unwrap_or_default() {
        name if name == folder => Ok(Some(backup)),
        found => Err(Error::OtherName { folder: folder.to_owned(), found }),
    }
}

/// The PodVolumeBackups of a backup; a missing file and `null` mean none.
pub async fn read_pod_volumes(store: &BackupStore, folder: &str) -> Result<Vec<PodVolumeBackup>, Error> {
    let Some(packed) = store.get_backup_file(folder, BackupFile::PodVolumeBackups).await? else {
        return Ok(Vec::new());
    };
    let list: Option<Vec<PodVolumeBackup>> =
        archive::gunzip_json(&packed, LARGEST_LIST).map_err(Error::PodVolumes)?;
    Ok(list.unwrap_or_default())
}

/// The Backup to create.
pub fn backup(found: velero::Backup, phase: Option<BackupPhase>, into: &Into<'_>) -> velero::Backup {
    let mut metadata = here(found.metadata, into.namespace);
    metadata
        .labels
        .get_or_insert_default()
        .insert(labels::STORAGE_LOCATION.to_owned(), labels::short_name(into.location));
    let now = into.now.to_rfc3339_opts(SecondsFormat::Secs, true);
    metadata.annotations.get_or_insert_default().insert(SYNCED.to_owned(), now);
    metadata.owner_references = metadata.owner_references.map(|owners| {
        owners.into_iter().filter(|owner| is_known(owner, into.schedules)).collect::<Vec<OwnerReference>>()
    });
    let mut spec = found.spec;
    // A Backup that is there again must not run commands in pods again.
    spec.hooks = velero::BackupHooks::default();
    spec.storage_location = Some(into.location.to_owned());
    let mut status = found.status;
    status.phase = phase.or(status.phase);
    velero::Backup { metadata, spec, status }
}

/// The PodVolumeBackup to create for a Backup that was created.
pub fn pod_volume(found: PodVolumeBackup, backup: &velero::Backup, into: &Into<'_>) -> PodVolumeBackup {
    let uid = backup.metadata.uid.clone().unwrap_or_default();
    let mut metadata = here(found.metadata, into.namespace);
    for owner in metadata.owner_references.iter_mut().flatten() {
        let is_the_backup = owner.api_version == "velero.io/v1"
            && owner.kind == "Backup"
            && Some(&owner.name) == backup.metadata.name.as_ref();
        if is_the_backup {
            owner.uid.clone_from(&uid);
        }
    }
    if let Some(label) = metadata.labels.as_mut().and_then(|labels| labels.get_mut(labels::BACKUP_UID)) {
        *label = uid;
    }
    let mut spec = found.spec;
    spec.backup_storage_location = into.location.to_owned();
    PodVolumeBackup { metadata, spec, status: found.status }
}

/// Without what only the API server that it came from could give. Finalizers are dropped too: who set them works in
/// another cluster, and here nobody would ever release the object.
fn here(metadata: ObjectMeta, namespace: &str) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        namespace: Some(namespace.to_owned()),
        labels: metadata.labels,
        annotations: metadata.annotations,
        owner_references: metadata.owner_references,
        ..ObjectMeta::default()
    }
}

/// A Schedule that is gone, or is another by that name, would have the API server collect the Backup.
fn is_known(owner: &OwnerReference, schedules: &[(String, String)]) -> bool {
    owner.kind != "Schedule" || schedules.iter().any(|(name, uid)| *name == owner.name && *uid == owner.uid)
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::*;

    fn into(schedules: &[(String, String)]) -> Into<'_> {
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        Into { namespace: "holdfast", location: "second", schedules, now }
    }

    fn imported(found: Value, phase: Option<BackupPhase>, schedules: &[(String, String)]) -> Value {
        let found = serde_json::from_value(found).unwrap();
        serde_json::to_value(backup(found, phase, &into(schedules))).unwrap()
    }

    fn found() -> Value {
        json!({
            "metadata": {
                "name": "b", "namespace": "velero", "uid": "old", "resourceVersion": "7", "generation": 3,
                "creationTimestamp": "2026-11-01T00:00:00Z", "finalizers": ["a/b"],
                "labels": {"team": "x", "velero.io/storage-location": "first"},
                "annotations": {"holdfast.dev/cluster": "prod"},
                "ownerReferences": [
                    {"apiVersion": "velero.io/v1", "kind": "Schedule", "name": "nightly", "uid": "s-1"},
                    {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c-1"},
                ],
            },
            "spec": {
                "storageLocation": "first", "ttl": "720h0m0s",
                "hooks": {"resources": [{"name": "h", "pre": [{"exec": {"command": ["rm"]}}]}]},
            },
            "status": {"phase": "Finalizing", "expiration": "2026-12-01T00:00:00Z"},
        })
    }

    #[test]
    fn a_backup_belongs_to_its_new_place_and_keeps_what_it_says_of_itself() {
        let schedules = [("nightly".to_owned(), "s-2".to_owned())];
        let given = imported(found(), Some(BackupPhase::PartiallyFailed), &schedules);
        assert_eq!(
            given["metadata"],
            json!({
                "name": "b", "namespace": "holdfast",
                "labels": {"team": "x", "velero.io/storage-location": "second"},
                "annotations": {
                    "holdfast.dev/cluster": "prod", "holdfast.dev/synced": "2026-11-23T10:00:00Z",
                },
                "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c-1"}],
            })
        );
        assert_eq!(given["spec"]["storageLocation"], "second");
        assert_eq!(given["spec"]["ttl"], "720h0m0s");
        assert_eq!(given["spec"].get("hooks"), imported(json!({}), None, &[])["spec"].get("hooks"));
        assert_eq!(
            given["status"],
            json!({"phase": "PartiallyFailed", "expiration": "2026-12-01T00:00:00Z"})
        );
    }

    #[test]
    fn an_owner_that_is_still_the_same_schedule_stays() {
        let schedules = [("nightly".to_owned(), "s-1".to_owned())];
        let given = imported(found(), None, &schedules);
        assert_eq!(given["metadata"]["ownerReferences"].as_array().unwrap().len(), 2);
        assert_eq!(given["status"]["phase"], "Finalizing");
    }

    #[test]
    fn pod_volume_backups_follow_their_backup() {
        let backup: velero::Backup =
            serde_json::from_value(json!({"metadata": {"name": "b", "uid": "new"}})).unwrap();
        let found = serde_json::from_value(json!({
            "metadata": {
                "name": "b-x", "namespace": "velero", "uid": "p", "finalizers": ["velero.io/pod-volume-finalizer"],
                "labels": {"velero.io/backup-name": "b", "velero.io/backup-uid": "old"},
                "ownerReferences": [
                    {"apiVersion": "velero.io/v1", "kind": "Backup", "name": "b", "uid": "old", "controller": true},
                ],
            },
            "spec": {
                "node": "n", "pod": {}, "volume": "v", "backupStorageLocation": "first", "repoIdentifier": "r",
            },
            "status": {"phase": "Completed", "snapshotID": "s"},
        }))
        .unwrap();
        let given = serde_json::to_value(pod_volume(found, &backup, &into(&[]))).unwrap();
        assert_eq!(
            given["metadata"],
            json!({
                "name": "b-x", "namespace": "holdfast",
                "labels": {"velero.io/backup-name": "b", "velero.io/backup-uid": "new"},
                "ownerReferences": [
                    {"apiVersion": "velero.io/v1", "kind": "Backup", "name": "b", "uid": "new", "controller": true},
                ],
            })
        );
        assert_eq!(given["spec"]["backupStorageLocation"], "second");
        assert_eq!(given["status"]["snapshotID"], "s");
    }
}
