//! Tests of policies: given objects, times and backups, and what is expected of the policies beside them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::shape;

/// What is expected of the policies beside this file. Stands in files whose name ends in `_test.yaml`, is read by
/// `holdfast test` and by nothing else, and makes nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PolicyTestSpec {
    /// All objects of the cluster that the test is about. Namespaces exist when they are here or an object is in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<GivenObject>,
    /// Which of the objects backups would hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selection: Vec<SelectionCase>,
    /// When schedules run, and what the backups are called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunsCase>,
    /// Which backups of a schedule stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retention: Vec<RetentionCase>,
}

/// An object of the cluster: kind, namespace, name and labels, or a whole one as `manifest`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GivenObject {
    /// Its kind, or what kubectl takes for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::optional_text", example = &"Pod")]
    pub kind: Option<String>,
    /// Group and version; needed for custom resources only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::optional_text", example = &"example.org/v1")]
    pub api_version: Option<String>,
    /// Its namespace; none for cluster-scoped objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::optional_text", example = &"shop-eu")]
    pub namespace: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::optional_text", example = &"db-0")]
    pub name: Option<String>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(example = serde_json::json!({"tier": "db"}))]
    pub labels: BTreeMap<String, String>,
    /// The whole object as kubectl prints it, where other objects come along with it. Does not mix with the other
    /// fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        schema_with = "shape::any_object",
        example = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop-eu", "name": "db-0"}})
    )]
    pub manifest: Option<Value>,
}

/// What backups would do with some of the objects. Exactly one of `policy`, `schedule` and `backup` is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SelectionCase {
    /// Name of a BackupPolicy: all of its schedules and backups must agree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::object_name", example = &"shop")]
    pub policy: Option<String>,
    /// Name of a Schedule, as `holdfast next` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::object_name", example = &"shop-nightly")]
    pub schedule: Option<String>,
    /// Name of a Backup that a policy makes once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::object_name", example = &"shop-before-1-37")]
    pub backup: Option<String>,
    /// Objects among those given, as KIND/NAMESPACE/NAME or KIND/NAME.
    #[schemars(length(min = 1), example = ["Pod/shop-eu/db-0", "PersistentVolume/vol-1"])]
    pub objects: Vec<String>,
    /// Whether backups would hold them.
    #[schemars(example = &"Included")]
    pub expect: Selected,
    /// The rule that decides. Any will do, where this is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"NamespaceExcluded")]
    pub because: Option<SelectedBecause>,
}

/// Whether a backup would hold an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Selected {
    Included,
    LeftOut,
}

/// By which rule a backup would hold an object or not; `holdfast explain` tells it in words. The first five include.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectedBecause {
    Chosen,
    WithTheCluster,
    WithItsObjects,
    BroughtByAnother,
    DefinitionOfIncluded,
    NamespaceExcluded,
    NamespaceNotIncluded,
    NamespaceLabelled,
    CannotBeStored,
    ForeignSnapshot,
    TypeExcluded,
    TypeNotIncluded,
    NoClusterResources,
    SomeNamespaces,
    SomeTypes,
    Twin,
    LabelSelector,
    Labelled,
    Deleting,
    NamespaceWithoutObjects,
    Unreadable,
}

/// The runs of a schedule after an instant, the next ones first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RunsCase {
    /// Name of a Schedule, as `holdfast next` prints it.
    #[schemars(schema_with = "shape::object_name", example = &"shop-nightly")]
    pub schedule: String,
    /// The instant after which runs are looked for.
    #[schemars(schema_with = "shape::time_of_day", example = &"2026-11-23T12:00:00Z")]
    pub after: DateTime<Utc>,
    /// When the next runs are due, jitter included. An empty list expects a suspended schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::times_of_day", example = ["2026-11-24T00:00:00Z"])]
    pub due: Option<Vec<DateTime<Utc>>>,
    /// What the backups of these runs are called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::texts", example = ["shop-nightly-20261124000000"])]
    pub backups: Option<Vec<String>>,
}

/// Backups of a schedule, and which of them retention and ttl leave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RetentionCase {
    /// Name of a Schedule, as `holdfast next` prints it.
    #[schemars(schema_with = "shape::object_name", example = &"shop-nightly")]
    pub schedule: String,
    /// What time it is.
    #[schemars(schema_with = "shape::time_of_day", example = &"2026-11-23T12:00:00Z")]
    pub now: DateTime<Utc>,
    /// All backups of the schedule.
    #[schemars(length(min = 1))]
    pub backups: Vec<GivenBackup>,
}

/// A backup, and what is expected to become of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct GivenBackup {
    /// When it was started.
    #[schemars(schema_with = "shape::time_of_day", example = &"2026-11-22T00:00:00Z")]
    pub started: DateTime<Utc>,
    /// How it ended.
    #[serde(default)]
    pub phase: GivenPhase,
    /// What becomes of it.
    #[schemars(example = &"Kept")]
    pub expect: Kept,
    /// The rule that decides; among several that keep a backup, one of them. Any will do, where this is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"Daily")]
    pub because: Option<KeptBecause>,
}

/// How a backup ended, or that it did not yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum GivenPhase {
    #[default]
    Completed,
    PartiallyFailed,
    Failed,
    InProgress,
}

/// What becomes of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Kept {
    Kept,
    Deleted,
}

/// Why a backup stays or goes: a rule of `retention`; InProgress for one that has not ended; UntilTtl for one that no
/// rule is about and whose ttl is not over; Ttl for one whose ttl is over; NoRule for a good one that no rule keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KeptBecause {
    KeepLast,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
    MinimumGood,
    KeepFailed,
    InProgress,
    UntilTtl,
    Ttl,
    NoRule,
}
