//! DataUpload: the data of a snapshot on its way into a repository.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data_path::{DataPathPhase, DataPathProgress, NodeOs};
use super::kind::kind;
use super::wire::{empty_as_none, is_default, null_as_default};
use crate::duration::GoDuration;

kind! {
    #[doc = "A transfer of a snapshot's data into the repository of its namespace."]
    DataUpload in "v2alpha1" as "datauploads" { spec: DataUploadSpec, status: DataUploadStatus }
}

/// Which snapshot, and where to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataUploadSpec {
    /// Kind of snapshot. CSI is the only one.
    pub snapshot_type: String,
    /// The snapshot, if it is one of CSI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub csi_snapshot: Option<CsiSnapshotSpec>,
    /// Name of the volume claim that was snapshotted.
    #[serde(rename = "sourcePVC")]
    pub source_pvc: String,
    /// Who moves the data. Unset or velero: the built-in data mover.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub datamover: Option<String>,
    /// Name of the BackupStorageLocation to write to.
    pub backup_storage_location: String,
    /// Namespace of the volume claim.
    pub source_namespace: String,
    /// Settings of the data mover.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub data_mover_config: BTreeMap<String, String>,
    /// Whether the transfer is to be given up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cancel: bool,
    /// How long the preparation of the transfer may take.
    pub operation_timeout: GoDuration,
}

/// A snapshot made through CSI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CsiSnapshotSpec {
    /// Name of the VolumeSnapshot.
    pub volume_snapshot: String,
    /// Name of the StorageClass for the volume that the snapshot is read from.
    pub storage_class: String,
    /// Name of the VolumeSnapshotClass.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub snapshot_class: Option<String>,
    /// Name of the CSI driver.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
}

/// How far the transfer has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DataUploadStatus {
    /// State of the transfer. Empty is New.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub phase: Option<DataPathPhase>,
    /// Path of the volume in the pod that reads it.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The snapshot in the repository.
    #[serde(
        rename = "snapshotID",
        deserialize_with = "empty_as_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub snapshot_id: Option<String>,
    /// What the data mover wants to know again at the restore.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub data_mover_result: BTreeMap<String, String>,
    /// What went wrong.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the transfer began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub start_timestamp: Option<Time>,
    /// When the transfer ended, with or without success.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub completion_timestamp: Option<Time>,
    /// Bytes to move and bytes moved.
    #[serde(skip_serializing_if = "is_default")]
    pub progress: DataPathProgress,
    /// Bytes that the repository did not have yet.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(extend("x-int64" = true))]
    pub incremental_bytes: i64,
    /// Name of the node that does the transfer.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Operating system of that node.
    #[serde(rename = "nodeOS", deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub node_os: Option<NodeOs>,
    /// Name of the node that took the transfer on.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub accepted_by_node: Option<String>,
    /// When that node took the transfer on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub accepted_timestamp: Option<Time>,
}

impl DataUpload {
    /// The phase, which is New until somebody sets it.
    pub fn status_phase(&self) -> DataPathPhase {
        self.status.phase.unwrap_or_default()
    }
}
