//! One entry of the volume info file, in Velero's form: whoever restores reads from it how a volume was kept, and the
//! command line prints it (reference: velero-backup.md 1.10). Capitals that stand out are Velero's.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};

/// What became of one volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pvc_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pvc_namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pv_name: Option<String>,
    /// Absent where the volume was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backup_method: Option<Method>,
    pub(super) snapshot_data_moved: bool,
    pub(super) preserve_local_snapshot: bool,
    pub(super) skipped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) skipped_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "timestamp")]
    pub(super) start_timestamp: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "timestamp")]
    pub(super) completion_timestamp: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Success>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) csi_snapshot_info: Option<CsiSnapshotInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) native_snapshot_info: Option<NativeSnapshotInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshot_data_movement_info: Option<DataMovementInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pvb_info: Option<PodVolumeInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pv_info: Option<PersistentVolumeInfo>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Method {
    NativeSnapshot,
    PodVolumeBackup,
    #[serde(rename = "CSISnapshot")]
    CsiSnapshot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Success {
    Succeeded,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CsiSnapshotInfo {
    pub(super) snapshot_handle: String,
    /// Bytes that a volume needs to hold the snapshot.
    pub(super) size: i64,
    pub(super) driver: String,
    /// Of the VolumeSnapshotContent.
    pub(super) vsc_name: String,
    #[serde(rename = "operationID", skip_serializing_if = "Option::is_none")]
    pub(super) operation_id: Option<String>,
    #[serde(rename = "ReadyToUse")]
    pub(super) ready_to_use: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) volume_group_snapshot_handle: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NativeSnapshotInfo {
    pub(super) snapshot_handle: String,
    pub(super) volume_type: String,
    #[serde(rename = "volumeAZ")]
    pub(super) volume_az: String,
    /// A number, `0` where it is not known.
    pub(super) iops: String,
    #[serde(rename = "Phase")]
    pub(super) phase: String,
}

/// The data of a snapshot in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DataMovementInfo {
    pub(super) data_mover: String,
    pub(super) uploader_type: String,
    /// Name of the VolumeSnapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retained_snapshot: Option<String>,
    /// In the repository.
    pub(super) snapshot_handle: String,
    #[serde(rename = "operationID")]
    pub(super) operation_id: String,
    /// Bytes.
    pub(super) size: i64,
    /// Bytes that the repository did not have yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) incremental_size: Option<i64>,
    #[serde(rename = "Phase")]
    pub(super) phase: String,
}

/// Files of a pod's volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodVolumeInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshot_handle: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) incremental_size: Option<i64>,
    pub(super) uploader_type: String,
    pub(super) volume_name: String,
    pub(super) pod_name: String,
    pub(super) pod_namespace: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node_name: Option<String>,
    #[serde(rename = "Phase")]
    pub(super) phase: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PersistentVolumeInfo {
    pub(super) reclaim_policy: String,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

fn timestamp<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)).serialize(serializer)
}
