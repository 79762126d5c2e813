//! The kinds of the API groups velero.io/v1 and velero.io/v2alpha1 as Rust types, one file a kind.
//!
//! Takes and gives JSON exactly as Velero's own clients write it. What the values mean, which of them are valid and
//! which defaults hold is left to the controllers. None of the kinds has a status subresource: spec and status are
//! written together at the object's own URL.
//!
//! Reading is lenient where Velero's clients differ among themselves: fields that are absent, `null` or empty are the
//! same, unknown ones are ignored, and `spec` and `status` may be missing. Text that is no duration or no phase is an
//! error, so read watched objects one by one, lest a single bad one ends the watch.

mod backup;
mod backup_repository;
mod backup_storage_location;
mod backup_summary;
mod crds;
mod data_download;
mod data_path;
mod data_upload;
mod delete_backup_request;
mod download_request;
mod hooks;
mod kind;
pub mod labels;
mod metadata_file;
mod parts;
mod pod_volume_backup;
mod pod_volume_restore;
mod restore;
mod schedule;
mod server_status_request;
mod structural;
mod text_enum;
mod volume_snapshot_location;
mod wire;

pub use backup::{
    Backup, BackupPhase, BackupProgress, BackupSpec, BackupStatus, BackupTemplateMetadata,
    BackupUploaderConfig, HookStatus,
};
pub use backup_repository::{
    BackupRepository, BackupRepositoryPhase, BackupRepositorySpec, BackupRepositoryStatus, MaintenanceResult,
    RepositoryMaintenance,
};
pub use backup_storage_location::{
    AccessMode, BackupStorageLocation, BackupStorageLocationSpec, BackupStorageLocationStatus, LocationPhase,
    ObjectStorageLocation,
};
pub use backup_summary::{BackupSummary, Mark, Summarized};
pub use crds::{SERVED, Served, crd_yaml, crds, crds_yaml};
pub use data_download::{DataDownload, DataDownloadSpec, DataDownloadStatus, TargetVolumeSpec};
pub use data_path::{DataPathPhase, DataPathProgress, NodeOs, UploaderType};
pub use data_upload::{CsiSnapshotSpec, DataUpload, DataUploadSpec, DataUploadStatus};
pub use delete_backup_request::{
    DeleteBackupRequest, DeleteBackupRequestPhase, DeleteBackupRequestSpec, DeleteBackupRequestStatus,
};
pub use download_request::{
    DownloadRequest, DownloadRequestPhase, DownloadRequestSpec, DownloadRequestStatus, DownloadTarget,
    DownloadTargetKind,
};
pub use hooks::{
    BackupHook, BackupHookSpec, BackupHooks, ExecHook, ExecRestoreHook, HookErrorMode, InitRestoreHook,
    RestoreHook, RestoreHookSpec, RestoreHooks,
};
pub use kind::Kind;
pub use labels::short_name;
pub use metadata_file::{Amendment, amend_metadata_json, to_metadata_json};
pub use pod_volume_backup::{PodVolumeBackup, PodVolumeBackupSpec, PodVolumeBackupStatus};
pub use pod_volume_restore::{PodVolumeRestore, PodVolumeRestoreSpec, PodVolumeRestoreStatus};
pub use restore::{
    Restore, RestorePhase, RestoreProgress, RestoreSpec, RestoreStatus, RestoreStatusSpec,
    RestoreUploaderConfig,
};
pub use schedule::{Schedule, SchedulePhase, ScheduleSpec, ScheduleStatus};
pub use server_status_request::{
    PluginInfo, ServerStatusRequest, ServerStatusRequestPhase, ServerStatusRequestSpec,
    ServerStatusRequestStatus,
};
pub use volume_snapshot_location::{
    VolumeSnapshotLocation, VolumeSnapshotLocationSpec, VolumeSnapshotLocationStatus,
};

#[cfg(test)]
mod tests {
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    use super::*;
    use crate::duration::GoDuration;

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn absent_null_and_empty_read_alike() {
        let absent: Backup = read(json!({ "metadata": { "name": "b" } }));
        let null: Backup = read(json!({
            "apiVersion": "velero.io/v1",
            "kind": "Backup",
            "metadata": { "name": "b" },
            "spec": {
                "includedNamespaces": null, "labelSelector": null, "orLabelSelectors": null, "ttl": null,
                "hooks": { "resources": null }, "orderedResources": null, "storageLocation": null,
                "metadata": { "labels": null },
            },
            "status": { "phase": null, "expiration": null, "validationErrors": null, "progress": null },
        }));
        let empty: Backup = read(json!({
            "metadata": { "name": "b" },
            "spec": {
                "includedNamespaces": [], "orLabelSelectors": [], "hooks": {}, "metadata": {}, "storageLocation": "",
            },
            "status": { "phase": "", "warnings": 0, "formatVersion": "" },
        }));
        assert_eq!(absent, Backup::new("b", BackupSpec::default()));
        assert_eq!(null, absent);
        assert_eq!(empty, absent);
        assert_eq!(
            serde_json::to_value(&absent).unwrap(),
            json!({ "apiVersion": "velero.io/v1", "kind": "Backup", "metadata": { "name": "b" }, "spec": {} })
        );
    }

    #[test]
    fn an_empty_label_selector_is_not_an_absent_one() {
        let spec: BackupSpec = read(json!({ "labelSelector": {} }));
        assert!(spec.label_selector.is_some());
        assert_eq!(serde_json::to_value(&spec).unwrap(), json!({ "labelSelector": {} }));
    }

    #[test]
    fn an_empty_or_absent_phase_is_new() {
        assert_eq!(read::<Backup>(json!({ "status": { "phase": "" } })).status_phase(), BackupPhase::New);
        assert_eq!(Backup::default().status_phase(), BackupPhase::New);
        assert_eq!(Restore::default().status_phase(), RestorePhase::New);
        assert_eq!(Schedule::default().status_phase(), SchedulePhase::New);
        assert_eq!(read::<BackupPhase>(json!("")), BackupPhase::New);
        assert_eq!(read::<BackupPhase>(json!("Deleting")), BackupPhase::Deleting);
    }

    #[test]
    fn an_absent_and_a_zero_duration_both_stand_for_the_default() {
        let default = GoDuration::from_secs(600);
        for (field, expected) in [
            (json!({}), default),
            (json!({ "csiSnapshotTimeout": null }), default),
            (json!({ "csiSnapshotTimeout": "0s" }), default),
            (json!({ "csiSnapshotTimeout": "1m0s" }), GoDuration::from_secs(60)),
        ] {
            assert_eq!(read::<BackupSpec>(field).csi_snapshot_timeout_or(default), expected);
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_unknown_phases_are_not() {
        let backup: Backup =
            read(json!({ "spec": { "later": 1 }, "status": { "later": {} }, "extra": true }));
        assert_eq!(backup, Backup::default());
        let error =
            serde_json::from_value::<Backup>(json!({ "status": { "phase": "Dreaming" } })).unwrap_err();
        assert!(error.to_string().contains("Dreaming"), "{error}");
        let error = serde_json::from_value::<Backup>(json!({ "spec": { "ttl": "soon" } })).unwrap_err();
        assert!(error.to_string().contains("invalid duration \"soon\""), "{error}");
    }

    #[test]
    fn names_of_fields_with_capitals_are_those_of_the_api() {
        let restore: Restore = read(json!({ "spec": { "restorePVs": false, "scheduleName": "daily" } }));
        assert_eq!(restore.spec.restore_pvs, Some(false));
        let backup: Backup = read(json!({ "spec": { "datamover": "mine", "csiSnapshotTimeout": "1s" } }));
        assert_eq!(backup.spec.datamover.as_deref(), Some("mine"));
        assert_eq!(backup.spec.csi_snapshot_timeout, Some(GoDuration::from_secs(1)));
    }
}
