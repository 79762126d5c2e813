//! The DataUpload that asks for one snapshot, in Velero's form (reference: velero-backup.md 6.7). Pure.

use std::collections::BTreeMap;

use holdfast_policy::duration::GoDuration;
use holdfast_policy::velero;
use holdfast_policy::velero::{CsiSnapshotSpec, DataUpload, DataUploadSpec, labels};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;

use super::Moving;

/// Key of the mover's settings, as Velero names it.
const PARALLEL_FILES: &str = "ParallelFilesUpload";
/// Names of objects are no longer (Kubernetes: object names).
const LONGEST_NAME: usize = 253;
const EXPOSED_WITHIN: GoDuration = GoDuration::from_secs(10 * 60);

pub(super) struct Wanted<'a> {
    pub(super) backup: &'a velero::Backup,
    pub(super) claim: &'a Moving,
    /// Makes the name one that nobody has.
    pub(super) suffix: &'a str,
}

impl Wanted<'_> {
    pub(super) fn name(&self) -> String {
        let backup = self.backup.metadata.name.as_deref().unwrap_or_default();
        let room = LONGEST_NAME - 1 - self.suffix.len();
        format!("{}-{}", &backup[..backup.floor_char_boundary(room)], self.suffix)
    }

    /// What Velero finds it by. Always too long for a label, so always shortened.
    pub(super) fn operation(&self) -> String {
        let backup = self.backup.metadata.uid.as_deref().unwrap_or_default();
        labels::short_name(&format!("du-{backup}.{}", self.claim.uid))
    }

    pub(super) fn object(&self) -> DataUpload {
        let velero::Backup { metadata, spec, status: _ } = self.backup;
        let (name, uid) =
            (metadata.name.clone().unwrap_or_default(), metadata.uid.clone().unwrap_or_default());
        let own = |text: &str| text.to_owned();
        let parallel = spec.uploader_config.as_ref().map(|config| config.parallel_files_upload);
        let Moving { item, uid: claim_uid, namespace, storage_class, class, snapshot, driver, .. } =
            self.claim;
        DataUpload {
            metadata: ObjectMeta {
                name: Some(self.name()),
                namespace: metadata.namespace.clone(),
                labels: Some(BTreeMap::from([
                    (own(labels::BACKUP_NAME), labels::short_name(&name)),
                    (own(labels::BACKUP_UID), uid.clone()),
                    (own(labels::PVC_UID), claim_uid.clone()),
                    (own(labels::ASYNC_OPERATION_ID), self.operation()),
                ])),
                owner_references: self.backup.controller_owner_ref(&()).map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            spec: DataUploadSpec {
                snapshot_type: own("CSI"),
                csi_snapshot: Some(CsiSnapshotSpec {
                    volume_snapshot: snapshot.clone(),
                    storage_class: storage_class.clone(),
                    snapshot_class: Some(class.clone()),
                    driver: Some(driver.clone()),
                }),
                source_pvc: item.name.clone(),
                source_namespace: namespace.clone(),
                datamover: spec.datamover.clone(),
                backup_storage_location: spec.storage_location.clone().unwrap_or_default(),
                data_mover_config: parallel
                    .filter(|files| *files > 0)
                    .map(|files| (own(PARALLEL_FILES), files.to_string()))
                    .into_iter()
                    .collect(),
                cancel: false,
                operation_timeout: spec.csi_snapshot_timeout_or(EXPOSED_WITHIN),
            },
            ..DataUpload::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::json;

    use super::super::outcome::fixtures::moving;
    use super::*;

    #[test]
    fn a_data_upload_is_what_velero_s_agent_expects() {
        let backup: velero::Backup = serde_json::from_value(json!({
            "metadata": {"name": "b1", "namespace": "velero", "uid": "5c9e0f3a-6f4b-4a55-9a0e-0c8a7c1d2e3f"},
            "spec": {
                "storageLocation": "default", "csiSnapshotTimeout": "7m0s", "snapshotMoveData": true,
                "uploaderConfig": {"parallelFilesUpload": 3},
            },
        }))
        .unwrap();
        let claim = moving();
        let wanted = Wanted { backup: &backup, claim: &claim, suffix: "9qv4d" };
        assert_eq!(wanted.operation().len(), 63);
        assert_eq!(
            serde_json::to_value(wanted.object()).unwrap(),
            json!({
                "apiVersion": "velero.io/v2alpha1", "kind": "DataUpload",
                "metadata": {
                    "name": "b1-9qv4d", "namespace": "velero",
                    "labels": {
                        "velero.io/async-operation-id": wanted.operation(), "velero.io/backup-name": "b1",
                        "velero.io/backup-uid": "5c9e0f3a-6f4b-4a55-9a0e-0c8a7c1d2e3f",
                        "velero.io/pvc-uid": "0f7c1c55-2222-4a55-9a0e-0c8a7c1d2e3f",
                    },
                    "ownerReferences": [{
                        "apiVersion": "velero.io/v1", "kind": "Backup", "name": "b1", "controller": true,
                        "uid": "5c9e0f3a-6f4b-4a55-9a0e-0c8a7c1d2e3f",
                    }],
                },
                "spec": {
                    "snapshotType": "CSI", "sourcePVC": "data", "sourceNamespace": "shop",
                    "csiSnapshot": {
                        "volumeSnapshot": "velero-data-x7k2p", "storageClass": "fast", "snapshotClass": "snap",
                        "driver": "disk.example",
                    },
                    "backupStorageLocation": "default", "operationTimeout": "7m0s",
                    "dataMoverConfig": {"ParallelFilesUpload": "3"},
                },
            })
        );
    }
}
