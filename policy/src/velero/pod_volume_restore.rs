//! PodVolumeRestore: the files of one volume on their way from a repository into a restored pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data_path::{DataPathPhase, DataPathProgress, UploaderType};
use super::kind::kind;
use super::parts;
use super::wire::{empty_as_none, is_default, null_as_default};

kind! {
    #[doc = "A restore of the files of one volume of a pod."]
    PodVolumeRestore in "v1" as "podvolumerestores" { spec: PodVolumeRestoreSpec, status: PodVolumeRestoreStatus }
}

/// Which volume, and where from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodVolumeRestoreSpec {
    /// The restored pod.
    #[schemars(schema_with = "parts::object_reference")]
    pub pod: ObjectReference,
    /// Name of the volume, as the pod calls it.
    pub volume: String,
    /// Name of the BackupStorageLocation to read from.
    pub backup_storage_location: String,
    /// Address of the repository.
    pub repo_identifier: String,
    /// What writes the files.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["kopia", "restic", ""]))]
    pub uploader_type: Option<UploaderType>,
    /// The snapshot in the repository.
    #[serde(rename = "snapshotID")]
    pub snapshot_id: String,
    /// Namespace that the volume was backed up from.
    pub source_namespace: String,
    /// Settings of the uploader.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub uploader_settings: BTreeMap<String, String>,
    /// Whether the transfer is to be given up.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cancel: bool,
    /// Size of the snapshot in bytes.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(extend("x-int64" = true))]
    pub snapshot_size: i64,
}

/// How far the transfer has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodVolumeRestoreStatus {
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
    /// When a node took the transfer on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub accepted_timestamp: Option<Time>,
    /// Name of the node that does the transfer.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl PodVolumeRestore {
    /// The phase, which is New until somebody sets it.
    pub fn status_phase(&self) -> DataPathPhase {
        self.status.phase.unwrap_or_default()
    }
}
