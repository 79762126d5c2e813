//! Restore: what to bring back from a backup, and how far that has come.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::TypedLocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backup::HookStatus;
use super::hooks::RestoreHooks;
use super::kind::kind;
use super::parts;
use super::text_enum::text_enum;
use super::wire::{empty_as_none, is_default, null_as_default};
use crate::duration::GoDuration;

kind! {
    #[doc = "A restore of objects and volumes from a backup into this cluster."]
    Restore in "v1" as "restores" { spec: RestoreSpec, status: RestoreStatus }
}

/// What to restore, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreSpec {
    /// Name of the Backup to restore from. Either this or scheduleName is given.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub backup_name: Option<String>,
    /// Name of a Schedule whose newest completed backup is restored.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub schedule_name: Option<String>,
    /// Namespaces of the backup to restore, as names or globs. Empty or * for all.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub included_namespaces: Vec<String>,
    /// Namespaces of the backup to leave out, as names or globs.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub excluded_namespaces: Vec<String>,
    /// Resource types to restore. Empty or * for all.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub included_resources: Vec<String>,
    /// Resource types to leave out.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub excluded_resources: Vec<String>,
    /// For namespaces that are restored under another name: the name in the backup and the name here.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub namespace_mapping: BTreeMap<String, String>,
    /// Only objects with these labels. Not to be mixed with orLabelSelectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "parts::label_selector", extend("nullable" = true))]
    pub label_selector: Option<LabelSelector>,
    /// Only objects that at least one of these selects.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(schema_with = "parts::label_selectors", extend("nullable" = true))]
    pub or_label_selectors: Vec<LabelSelector>,
    /// Whether to restore volumes from their snapshots. Unset: yes.
    #[serde(rename = "restorePVs", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub restore_pvs: Option<bool>,
    /// Resource types whose status is restored too. Unset: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub restore_status: Option<RestoreStatusSpec>,
    /// Whether Services keep the node ports they had. Unset: only those that were chosen by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub preserve_node_ports: Option<bool>,
    /// Whether to restore cluster-scoped objects. Unset: those that the chosen namespaced objects need.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub include_cluster_resources: Option<bool>,
    /// Commands and init containers for restored pods.
    #[serde(skip_serializing_if = "is_default")]
    pub hooks: RestoreHooks,
    /// What happens to objects that exist already: none leaves them alone, update makes them like the backup.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub existing_resource_policy: Option<String>,
    /// How long to wait for operations that go on after an item is restored. Unset or zero: the server's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item_operation_timeout: Option<GoDuration>,
    /// ConfigMap with patches for restored objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "parts::typed_local_reference", extend("nullable" = true))]
    pub resource_modifier: Option<TypedLocalObjectReference>,
    /// ConfigMap with filters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "parts::typed_local_reference", extend("nullable" = true))]
    pub resource_policy: Option<TypedLocalObjectReference>,
    /// Settings of the uploader of files.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub uploader_config: Option<RestoreUploaderConfig>,
}

/// Of which resource types the status is restored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreStatusSpec {
    /// Resource types with their status. Empty or * for all.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub included_resources: Vec<String>,
    /// Resource types without their status.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub excluded_resources: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreUploaderConfig {
    /// Whether long runs of zeros become holes in files.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub write_sparse_files: Option<bool>,
    /// How many files to download at once.
    #[serde(skip_serializing_if = "is_default")]
    pub parallel_files_download: i64,
}

text_enum! {
    #[derive(Default)]
    RestorePhase {
        #[default]
        #[serde(alias = "")]
        New = "New",
        FailedValidation = "FailedValidation",
        InProgress = "InProgress",
        WaitingForPluginOperations = "WaitingForPluginOperations",
        WaitingForPluginOperationsPartiallyFailed = "WaitingForPluginOperationsPartiallyFailed",
        Completed = "Completed",
        PartiallyFailed = "PartiallyFailed",
        Failed = "Failed",
        Finalizing = "Finalizing",
        FinalizingPartiallyFailed = "FinalizingPartiallyFailed",
    }
}

/// How far the restore has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreStatus {
    /// State of the restore. Empty is New.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub phase: Option<RestorePhase>,
    /// What is wrong with the spec.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub validation_errors: Vec<String>,
    /// Number of warnings. Their texts are in the bucket.
    #[serde(skip_serializing_if = "is_default")]
    pub warnings: i64,
    /// Number of errors. Their texts are in the bucket.
    #[serde(skip_serializing_if = "is_default")]
    pub errors: i64,
    /// Why the restore as a whole failed.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
    /// When the restore began to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub start_timestamp: Option<Time>,
    /// When the restore ended, with or without success.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub completion_timestamp: Option<Time>,
    /// Items found and items done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub progress: Option<RestoreProgress>,
    /// Operations started that go on after an item is restored.
    #[serde(skip_serializing_if = "is_default")]
    pub restore_item_operations_attempted: i64,
    /// Those of them that succeeded.
    #[serde(skip_serializing_if = "is_default")]
    pub restore_item_operations_completed: i64,
    /// Those of them that failed.
    #[serde(skip_serializing_if = "is_default")]
    pub restore_item_operations_failed: i64,
    /// Hooks run and hooks failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub hook_status: Option<HookStatus>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreProgress {
    /// Items known so far.
    #[serde(skip_serializing_if = "is_default")]
    pub total_items: i64,
    /// Items done so far.
    #[serde(skip_serializing_if = "is_default")]
    pub items_restored: i64,
}

impl RestorePhase {
    /// Whether nothing more happens to the restore.
    pub fn has_ended(self) -> bool {
        match self {
            Self::FailedValidation | Self::Completed | Self::PartiallyFailed | Self::Failed => true,
            Self::New
            | Self::InProgress
            | Self::WaitingForPluginOperations
            | Self::WaitingForPluginOperationsPartiallyFailed
            | Self::Finalizing
            | Self::FinalizingPartiallyFailed => false,
        }
    }
}

impl Restore {
    /// The phase, which is New until somebody sets it.
    pub fn status_phase(&self) -> RestorePhase {
        self.status.phase.unwrap_or_default()
    }
}

impl RestoreSpec {
    pub fn item_operation_timeout_or(&self, default: GoDuration) -> GoDuration {
        GoDuration::set_or(self.item_operation_timeout, default)
    }
}
