//! What is told of a move that ended: the record among the backup's item operations, and the entry of the volume info, in
//! Velero's form (reference: velero-backup.md 1.7 and 1.10). Pure.

use chrono::{DateTime, Utc};
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero;
use holdfast_policy::velero::DataUpload;
use serde_json::{Value, json};

use super::{Asked, Moving};
use crate::engine::backup::volume_entry::{CsiSnapshotInfo, DataMovementInfo, Entry, Method, Success};
use crate::engine::data_moves::{BUILT_IN, UPLOADER, seconds};

/// What Velero writes where it can't know.
const UNKNOWN: &str = "unknown";

/// A move, and how it ended.
pub(super) struct Outcome<'a> {
    pub(super) backup: &'a velero::Backup,
    /// The namespace of DataUploads.
    pub(super) home: &'a str,
    pub(super) asked: &'a Asked,
    /// As it was seen last.
    pub(super) upload: Option<&'a DataUpload>,
    pub(super) ended: DateTime<Utc>,
    pub(super) problem: Option<&'a str>,
}

impl Outcome<'_> {
    pub(super) fn record(&self) -> Value {
        let Asked { claim: Moving { item, namespace, started, .. }, upload, operation } = self.asked;
        // Velero's identifiers carry no tags, hence the capitals.
        let identifier = |group: &str, resource: &str, namespace: &str, name: &str| json!({"Group": group, "Resource": resource, "Namespace": namespace, "Name": name});
        let mut status = json!({
            "phase": if self.problem.is_some() { "Failed" } else { "Completed" },
            "operationUnits": "Bytes", "created": seconds(*started), "updated": seconds(self.ended),
        });
        if let Some(problem) = self.problem {
            status["error"] = problem.into();
        }
        if let Some(upload) = self.upload {
            status["description"] = format!("{:?}", upload.status_phase()).into();
            let begun = upload.status.start_timestamp.as_ref().map_or(*started, to_chrono);
            status["started"] = seconds(begun).into();
            for (key, bytes) in [
                ("nCompleted", upload.status.progress.bytes_done),
                ("nTotal", upload.status.progress.total_bytes),
            ] {
                if bytes > 0 {
                    status[key] = bytes.into();
                }
            }
        }
        json!({
            "spec": {
                "backupName": self.backup.metadata.name,
                "backupUID": self.backup.metadata.uid,
                "backupItemAction": "velero.io/csi-pvc-backupper",
                "resourceIdentifier": identifier("", "persistentvolumeclaims", namespace, &item.name),
                "operationID": operation,
                "postOperationItems": [identifier("velero.io", "datauploads", self.home, upload)],
            },
            "status": status,
        })
    }

    pub(super) fn entry(&self) -> Entry {
        let Asked { claim, upload: _, operation } = self.asked;
        let status = self.upload.map(|upload| &upload.status);
        Entry {
            snapshot_data_movement_info: Some(DataMovementInfo {
                data_mover: self.backup.spec.datamover.clone().unwrap_or_else(|| BUILT_IN.to_owned()),
                uploader_type: UPLOADER.to_owned(),
                retained_snapshot: Some(claim.snapshot.clone()),
                snapshot_handle: status.and_then(|status| status.snapshot_id.clone()).unwrap_or_default(),
                operation_id: operation.clone(),
                size: status.map_or(0, |status| status.progress.total_bytes),
                incremental_size: status.map(|status| status.incremental_bytes).filter(|bytes| *bytes > 0),
                phase: self.upload.map_or(String::new(), |upload| format!("{:?}", upload.status_phase())),
            }),
            ..entry(claim, self.ended, self.problem.is_some())
        }
    }
}

/// Of a claim whose move failed or was not even asked for.
pub(super) fn entry(claim: &Moving, ended: DateTime<Utc>, has_failed: bool) -> Entry {
    Entry {
        pvc_name: Some(claim.item.name.clone()),
        pvc_namespace: Some(claim.namespace.clone()),
        pv_name: Some(claim.volume.clone()),
        backup_method: Some(Method::CsiSnapshot),
        snapshot_data_moved: true,
        start_timestamp: Some(claim.started),
        completion_timestamp: Some(ended),
        result: Some(if has_failed { Success::Failed } else { Success::Succeeded }),
        csi_snapshot_info: Some(CsiSnapshotInfo {
            snapshot_handle: UNKNOWN.to_owned(),
            size: 0,
            driver: claim.driver.clone(),
            vsc_name: UNKNOWN.to_owned(),
            operation_id: Some(UNKNOWN.to_owned()),
            ready_to_use: None,
            volume_group_snapshot_handle: None,
        }),
        pv_info: Some(claim.volume_facts.clone()),
        ..Entry::default()
    }
}

#[cfg(test)]
pub(super) mod fixtures {
    use super::*;
    use crate::cluster::Item;
    use crate::engine::backup::volume_entry::PersistentVolumeInfo;

    pub(in super::super) fn moving() -> Moving {
        Moving {
            item: Item {
                name: "data".to_owned(),
                namespace: Some("shop".to_owned()),
                json: json!({"metadata": {"name": "data"}}).to_string().into(),
                excluded: false,
                deleting: false,
            },
            uid: "0f7c1c55-2222-4a55-9a0e-0c8a7c1d2e3f".to_owned(),
            namespace: "shop".to_owned(),
            storage_class: "fast".to_owned(),
            volume: "pv-1".to_owned(),
            volume_facts: PersistentVolumeInfo { reclaim_policy: "Delete".to_owned(), labels: None },
            class: "snap".to_owned(),
            snapshot: "velero-data-x7k2p".to_owned(),
            driver: "disk.example".to_owned(),
            started: "2026-05-01T10:00:12.7Z".parse().unwrap(),
        }
    }
}

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;

    use super::*;

    #[test]
    fn record_and_entry_are_velero_s() {
        let backup: velero::Backup = serde_json::from_value(json!({
            "metadata": {"name": "b1", "namespace": "velero", "uid": "5c9e"}, "spec": {},
        }))
        .unwrap();
        let upload: DataUpload = serde_json::from_value(json!({
            "metadata": {"name": "b1-9qv4d"},
            "spec": {
                "snapshotType": "CSI", "sourcePVC": "data", "sourceNamespace": "shop",
                "backupStorageLocation": "default", "operationTimeout": "10m",
            },
            "status": {
                "phase": "Completed", "snapshotID": "k01", "startTimestamp": "2026-05-01T10:00:20Z",
                "progress": {"totalBytes": 2048, "bytesDone": 2048}, "incrementalBytes": 1024,
            },
        }))
        .unwrap();
        let asked =
            Asked { claim: fixtures::moving(), upload: "b1-9qv4d".to_owned(), operation: "du-1".to_owned() };
        let outcome = Outcome {
            backup: &backup,
            home: "velero",
            asked: &asked,
            upload: Some(&upload),
            ended: "2026-05-01T10:00:32Z".parse().unwrap(),
            problem: None,
        };
        assert_eq!(
            outcome.record(),
            json!({
                "spec": {
                    "backupName": "b1", "backupUID": "5c9e", "operationID": "du-1",
                    "backupItemAction": "velero.io/csi-pvc-backupper",
                    "resourceIdentifier": {"Group": "", "Resource": "persistentvolumeclaims", "Namespace": "shop", "Name": "data"},
                    "postOperationItems": [
                        {"Group": "velero.io", "Resource": "datauploads", "Namespace": "velero", "Name": "b1-9qv4d"},
                    ],
                },
                "status": {
                    "phase": "Completed", "description": "Completed", "operationUnits": "Bytes",
                    "nCompleted": 2048, "nTotal": 2048, "created": "2026-05-01T10:00:12Z",
                    "started": "2026-05-01T10:00:20Z", "updated": "2026-05-01T10:00:32Z",
                },
            })
        );
        assert_eq!(
            serde_json::to_value(outcome.entry()).unwrap(),
            json!({
                "pvcName": "data", "pvcNamespace": "shop", "pvName": "pv-1", "backupMethod": "CSISnapshot",
                "snapshotDataMoved": true, "preserveLocalSnapshot": false, "skipped": false, "result": "succeeded",
                "startTimestamp": "2026-05-01T10:00:12Z", "completionTimestamp": "2026-05-01T10:00:32Z",
                "csiSnapshotInfo": {
                    "snapshotHandle": "unknown", "size": 0, "driver": "disk.example", "vscName": "unknown",
                    "operationID": "unknown", "ReadyToUse": null,
                },
                "snapshotDataMovementInfo": {
                    "dataMover": "velero", "uploaderType": "kopia", "retainedSnapshot": "velero-data-x7k2p",
                    "snapshotHandle": "k01", "operationID": "du-1", "size": 2048, "incrementalSize": 1024,
                    "Phase": "Completed",
                },
                "pvInfo": {"reclaimPolicy": "Delete", "labels": null},
            })
        );
        let failed = Outcome { problem: Some("disk full"), upload: None, ..outcome };
        assert_eq!(failed.record()["status"]["error"], "disk full");
        assert_eq!(failed.entry().result, Some(Success::Failed));
    }
}
