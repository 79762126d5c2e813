//! Hooks of backups and restores: commands in pods, and init containers for restored pods.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::parts;
use super::text_enum::text_enum;
use super::wire::{empty_as_none, is_default, null_as_default};
use crate::duration::GoDuration;

text_enum! {
    /// What a failed hook means for the item it belongs to.
    HookErrorMode {
        Continue = "Continue",
        Fail = "Fail",
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupHooks {
    /// Hooks, each for the pods it selects.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub resources: Vec<BackupHookSpec>,
}

/// Hooks for the pods that one set of filters selects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupHookSpec {
    /// Name of the hook, for logs.
    pub name: String,
    /// Namespaces the hook applies to. Empty for all.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub included_namespaces: Vec<String>,
    /// Namespaces the hook does not apply to.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub excluded_namespaces: Vec<String>,
    /// Resource types the hook applies to. Only pods have hooks.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub included_resources: Vec<String>,
    /// Resource types the hook does not apply to.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub excluded_resources: Vec<String>,
    /// Labels of the objects the hook applies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "parts::label_selector", extend("nullable" = true))]
    pub label_selector: Option<LabelSelector>,
    /// Hooks to run before the item is stored.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub pre: Vec<BackupHook>,
    /// Hooks to run after the item and what belongs to it are stored.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub post: Vec<BackupHook>,
}

/// One hook of a backup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupHook {
    /// The command to run.
    pub exec: ExecHook,
}

/// A command in a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecHook {
    /// Container to run it in. Unset: the pod's first.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The command and its arguments, without a shell around them.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// What happens when the command fails.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub on_error: Option<HookErrorMode>,
    /// How long the command may take. Unset or zero: the server's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<GoDuration>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreHooks {
    /// Hooks, each for the pods it selects.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub resources: Vec<RestoreHookSpec>,
}

/// Hooks for the restored pods that one set of filters selects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreHookSpec {
    /// Name of the hook, for logs.
    pub name: String,
    /// Namespaces of the target cluster the hook applies to. Empty for all.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub included_namespaces: Vec<String>,
    /// Namespaces of the target cluster the hook does not apply to.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub excluded_namespaces: Vec<String>,
    /// Resource types the hook applies to. Without effect, as only pods have hooks.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub included_resources: Vec<String>,
    /// Resource types the hook does not apply to. Without effect, as only pods have hooks.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(extend("nullable" = true))]
    pub excluded_resources: Vec<String>,
    /// Labels of the pods the hook applies to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "parts::label_selector", extend("nullable" = true))]
    pub label_selector: Option<LabelSelector>,
    /// Hooks for a restored pod.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub post_hooks: Vec<RestoreHook>,
}

/// One hook of a restore: a command or init containers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreHook {
    /// A command to run in the restored pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<ExecRestoreHook>,
    /// Init containers to put into the pod before it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<InitRestoreHook>,
}

/// A command in a container of a restored pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExecRestoreHook {
    /// Container to run it in. Unset: the pod's first.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The command and its arguments, without a shell around them.
    #[schemars(length(min = 1))]
    pub command: Vec<String>,
    /// What happens when the command fails.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub on_error: Option<HookErrorMode>,
    /// How long the command may take. Unset or zero: the server's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_timeout: Option<GoDuration>,
    /// How long to wait for the container to run. Unset or zero: without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_timeout: Option<GoDuration>,
    /// Whether to wait until the container is ready, not only running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub wait_for_ready: Option<bool>,
}

/// Init containers for a restored pod.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InitRestoreHook {
    /// The containers, in the form a pod has them, to run before the pod's own.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    #[schemars(schema_with = "init_containers")]
    pub init_containers: Vec<serde_json::Value>,
    /// Accepted for compatibility, without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<GoDuration>,
}

fn init_containers(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-preserve-unknown-fields": true,
        "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
    })
}
