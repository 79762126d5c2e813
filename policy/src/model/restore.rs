//! A restore policy: which backup, what of it, into which clusters and namespaces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hooks::RestoreHook;
use super::modifiers::ModifierRule;
use super::remap::Remap;
use super::select::{Patterns, RestoreSelect};
use super::shape;
use super::volumes::{ConfigMapReference, RestoreVolumes};
use crate::duration::GoDuration;

/// A restore that happens when its `run` text changes. Becomes a Restore.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RestorePolicySpec {
    /// The restore happens when this text changes, and only then.
    #[schemars(schema_with = "shape::optional_text", example = &"2026-11-23 drill")]
    pub run: String,
    /// Manual waits for the annotation `holdfast.dev/approve: <plan hash>` on the PolicySet of this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Manual"))]
    pub approval: Option<Approval>,
    /// Names of the clusters (`--cluster-name`) that may run it.
    #[schemars(length(min = 1), example = ["staging-eu-1"])]
    pub clusters: Vec<String>,
    /// The restore does not start after this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::time_of_day", example = &"2026-12-01T00:00:00Z")]
    pub not_after: Option<String>,
    /// The backup to restore.
    pub from: RestoreFrom,
    /// What of the backup is restored.
    #[serde(default)]
    pub select: RestoreSelect,
    /// What is called differently in the cluster.
    #[serde(default)]
    pub remap: Remap,
    /// Velero's resource modifier rules. Does not mix with `modifiersRef`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modifiers: Vec<ModifierRule>,
    /// A ConfigMap in the daemon's namespace that holds resource modifier rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::config_map", example = &"staging-modifiers")]
    pub modifiers_ref: Option<ConfigMapReference>,
    /// What happens to objects that exist and differ. None: they stay. Update: they are patched; this always needs
    /// approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "None"))]
    pub existing_resource_policy: Option<ExistingResourcePolicy>,
    /// How volumes are restored.
    #[serde(default)]
    pub volumes: RestoreVolumes,
    /// Resources whose status is restored: none, when `include` is empty; `"*"` is all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_status: Option<Patterns>,
    /// What runs in restored pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<RestoreHook>,
    /// How long asynchronous work on an item may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::positive_duration", extend("default" = "4h"))]
    pub item_operation_timeout: Option<GoDuration>,
}

/// The backup to restore: `backup`, or `policy` and `schedule` for the latest completed one of that schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RestoreFrom {
    /// Name of a backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::object_name", example = &"shop-nightly-20261123000000")]
    pub backup: Option<String>,
    /// Name of a BackupPolicy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::object_name", example = &"shop")]
    pub policy: Option<String>,
    /// Name of one of its schedules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::object_name", example = &"nightly")]
    pub schedule: Option<String>,
    /// One of the policy's locations, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::optional_text")]
    pub location: Option<String>,
}

/// Whether somebody has to agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    #[default]
    Manual,
    Automatic,
}

/// What happens to objects that exist and differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExistingResourcePolicy {
    #[default]
    None,
    Update,
}
