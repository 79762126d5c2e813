//! BackupRepository: the repository that holds the volume data of one namespace in one location.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data_path::UploaderType;
use super::kind::kind;
use super::text_enum::text_enum;
use super::wire::{empty_as_none, is_default, null_as_default};
use crate::duration::GoDuration;

kind! {
    #[doc = "A repository for the volume data of one namespace in one storage location."]
    BackupRepository in "v1" as "backuprepositories" { spec: BackupRepositorySpec, status: BackupRepositoryStatus }
}

/// Which repository it is, and how it is looked after.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupRepositorySpec {
    /// Namespace whose volumes the repository holds.
    pub volume_namespace: String,
    /// Name of the BackupStorageLocation it is in.
    pub backup_storage_location: String,
    /// Format of the repository. Empty is restic.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["kopia", "restic", ""]))]
    pub repository_type: Option<UploaderType>,
    /// Address of a restic repository.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub restic_identifier: Option<String>,
    /// How often the repository is tidied up. Zero: as often as the server sees fit.
    pub maintenance_frequency: GoDuration,
    /// Settings of the repository.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub repository_config: BTreeMap<String, String>,
}

text_enum! {
    #[derive(Default)]
    BackupRepositoryPhase {
        #[default]
        #[serde(alias = "")]
        New = "New",
        Ready = "Ready",
        NotReady = "NotReady",
    }
}

text_enum! {
    MaintenanceResult {
        Succeeded = "Succeeded",
        Failed = "Failed",
    }
}

/// Whether the repository can be used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupRepositoryStatus {
    /// State of the repository. Empty is New.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub phase: Option<BackupRepositoryPhase>,
    /// Why the repository is not ready.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the repository was last tidied up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub last_maintenance_time: Option<Time>,
    /// The last few times that was tried.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub recent_maintenance: Vec<RepositoryMaintenance>,
}

/// One attempt to tidy up the repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RepositoryMaintenance {
    /// How it ended.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub result: Option<MaintenanceResult>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub start_timestamp: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub complete_timestamp: Option<Time>,
    /// Why it failed.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl BackupRepository {
    /// The phase, which is New until somebody sets it.
    pub fn status_phase(&self) -> BackupRepositoryPhase {
        self.status.phase.unwrap_or_default()
    }
}
