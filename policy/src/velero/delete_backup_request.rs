//! DeleteBackupRequest: the wish that a backup be deleted with all that belongs to it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::kind;
use super::text_enum::text_enum;
use super::wire::{empty_as_none, is_default, null_as_default};

kind! {
    #[doc = "The wish to delete a backup: its files in the bucket, its snapshots, its restores and itself."]
    DeleteBackupRequest in "v1" as "deletebackuprequests" {
        spec: DeleteBackupRequestSpec,
        status: DeleteBackupRequestStatus
    }
}

/// Which backup to delete.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeleteBackupRequestSpec {
    /// Name of the Backup.
    pub backup_name: String,
}

text_enum! {
    /// There is no phase for a failure: it is Processed with errors.
    #[derive(Default)]
    DeleteBackupRequestPhase {
        #[default]
        #[serde(alias = "")]
        New = "New",
        InProgress = "InProgress",
        Processed = "Processed",
    }
}

/// How far the deletion has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteBackupRequestStatus {
    /// State of the deletion. Empty is New.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub phase: Option<DeleteBackupRequestPhase>,
    /// What could not be deleted, and why.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub errors: Vec<String>,
}

impl DeleteBackupRequest {
    /// The phase, which is New until somebody sets it.
    pub fn status_phase(&self) -> DeleteBackupRequestPhase {
        self.status.phase.unwrap_or_default()
    }
}
