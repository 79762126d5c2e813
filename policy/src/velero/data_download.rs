//! DataDownload: the data of a snapshot on its way from a repository into a new volume.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data_path::{DataPathPhase, DataPathProgress, NodeOs};
use super::kind::kind;
use super::wire::{empty_as_none, is_default, null_as_default};
use crate::duration::GoDuration;

kind! {
    #[doc = "A transfer of a snapshot's data from its repository into a new volume."]
    DataDownload in "v2alpha1" as "datadownloads" { spec: DataDownloadSpec, status: DataDownloadStatus }
}

/// Which snapshot, and which volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataDownloadSpec {
    /// The volume to fill.
    pub target_volume: TargetVolumeSpec,
    /// Name of the BackupStorageLocation to read from.
    pub backup_storage_location: String,
    /// Who moves the data. Unset or velero: the built-in data mover.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub datamover: Option<String>,
    /// The snapshot in the repository.
    #[serde(rename = "snapshotID")]
    pub snapshot_id: String,
    /// Namespace that the volume was backed up from.
    pub source_namespace: String,
    /// Settings of the data mover.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub data_mover_config: BTreeMap<String, String>,
    /// Whether the transfer is to be given up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cancel: bool,
    /// How long the preparation of the transfer may take.
    pub operation_timeout: GoDuration,
    /// Operating system of the node to do the transfer.
    #[serde(
        default,
        rename = "nodeOS",
        deserialize_with = "empty_as_none",
        skip_serializing_if = "Option::is_none"
    )]
    pub node_os: Option<NodeOs>,
    /// Size of the snapshot in bytes.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("x-int64" = true))]
    pub snapshot_size: i64,
}

/// A volume that gets data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetVolumeSpec {
    /// Name of the volume claim.
    pub pvc: String,
    /// Name of the volume. May be empty, as there is none yet.
    pub pv: String,
    /// Namespace of the volume claim.
    pub namespace: String,
}

/// How far the transfer has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DataDownloadStatus {
    /// State of the transfer. Empty is New.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub phase: Option<DataPathPhase>,
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
    /// Name of the node that does the transfer.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Name of the node that took the transfer on.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub accepted_by_node: Option<String>,
    /// When that node took the transfer on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub accepted_timestamp: Option<Time>,
}

impl DataDownload {
    /// The phase, which is New until somebody sets it.
    pub fn status_phase(&self) -> DataPathPhase {
        self.status.phase.unwrap_or_default()
    }
}
