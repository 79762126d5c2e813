//! Commands that run in pods around a backup and after a restore.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::select::HookSelect;
use super::shape;
use crate::duration::GoDuration;

/// Commands that run in pods before and after they are backed up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BackupHook {
    /// Name of the hook, for logs and results.
    #[schemars(schema_with = "shape::optional_text")]
    pub name: String,
    /// The pods. All that the backup takes, when nothing is said.
    #[serde(default)]
    pub select: HookSelect,
    /// Run in order before the pod and its volumes are backed up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre: Vec<BackupCommand>,
    /// Run in order after the pod and its volumes are backed up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post: Vec<BackupCommand>,
}

/// One command of a backup hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BackupCommand {
    /// The command and how it runs.
    pub exec: BackupExec,
}

/// A command in a container of the pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BackupExec {
    /// Container to run in; the pod's first one, when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The command and its arguments. There is no shell unless the command names one.
    #[schemars(schema_with = "shape::command", example = ["/bin/sh", "-c", "sync"])]
    pub command: Vec<String>,
    /// Fail: the pod is left out of the archive and its other hooks don't run. Continue: it is backed up all the
    /// same. The backup is PartiallyFailed in both cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Fail"))]
    pub on_error: Option<OnError>,
    /// How long the command may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::positive_duration", extend("default" = "30s"))]
    pub timeout: Option<GoDuration>,
}

/// What a failing command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnError {
    Fail,
    Continue,
}

/// What runs in restored pods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RestoreHook {
    /// Name of the hook, for logs and results.
    #[schemars(schema_with = "shape::optional_text")]
    pub name: String,
    /// The pods, by the namespace they are restored into. All restored ones, when nothing is said.
    #[serde(default)]
    pub select: HookSelect,
    /// Run in order once the pod exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_hooks: Vec<RestoreCommand>,
}

/// One step of a restore hook: `exec` or `init`, not both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RestoreCommand {
    /// A command in a container of the restored pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<RestoreExec>,
    /// Init containers added to the pod before it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init: Option<RestoreInit>,
}

/// A command in a container of a restored pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RestoreExec {
    /// Container to run in; the pod's first one, when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The command and its arguments. There is no shell unless the command names one.
    #[schemars(schema_with = "shape::command", example = ["/bin/sh", "-c", "pg_isready"])]
    pub command: Vec<String>,
    /// Fail: the pod's other hooks don't run. Continue: they do. The restore is PartiallyFailed in both cases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Fail"))]
    pub on_error: Option<OnError>,
    /// How long the command may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::positive_duration", extend("default" = "30s"))]
    pub exec_timeout: Option<GoDuration>,
    /// How long to wait for the container; for ever, when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::duration")]
    pub wait_timeout: Option<GoDuration>,
    /// Whether to wait until the container is ready, and not just running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub wait_for_ready: Option<bool>,
}

/// Init containers added to a restored pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RestoreInit {
    /// Kubernetes containers; each needs a name, an image and a command.
    #[schemars(length(min = 1), with = "Vec<std::collections::BTreeMap<String, Value>>")]
    pub init_containers: Vec<Value>,
    /// Accepted as Velero accepts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::duration")]
    pub timeout: Option<GoDuration>,
}
