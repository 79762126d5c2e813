//! Which objects: namespaces, resources, labels.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a backup takes in. Everything, when nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Select {
    /// Namespaces, by name or glob (`*`, `?`, `[a-z]`). All of them, when `include` is empty.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub namespaces: Patterns,
    /// Resources of both scopes, as `kubectl api-resources` names them, with the group where it is not the core
    /// one. Does not mix with `namespacedResources` and `clusterResources`.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub resources: Patterns,
    /// Resources that live in namespaces. Does not mix with `resources` and `includeClusterResources`.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub namespaced_resources: Patterns,
    /// Resources that live outside namespaces. Does not mix with `resources` and `includeClusterResources`.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub cluster_resources: Patterns,
    /// Whether cluster-scoped resources come along. Auto: all of them with all namespaces, otherwise those that
    /// the selected objects need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Auto"))]
    pub include_cluster_resources: Option<ClusterResources>,
    /// Only objects with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Only objects that match at least one of these selectors. Does not mix with `labelSelector`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub or_label_selectors: Vec<LabelSelector>,
    /// Objects of a resource that are taken first and in this order, as `namespace/name` or, outside namespaces,
    /// `name`. The key is the plural of the resource without its group.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(example = serde_json::json!({"pods": ["shop-eu/db-0", "shop-eu/db-1"]}))]
    pub ordered_resources: BTreeMap<String, Vec<String>>,
}

/// What a restore takes out of a backup. Everything, when nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RestoreSelect {
    /// Namespaces as they are called in the backup, by name or glob.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub namespaces: Patterns,
    /// Resources of both scopes.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub resources: Patterns,
    /// Whether cluster-scoped resources come along. Auto: with all namespaces, and what the restored objects need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Auto"))]
    pub include_cluster_resources: Option<ClusterResources>,
    /// Only objects with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Only objects that match at least one of these selectors. Does not mix with `labelSelector`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub or_label_selectors: Vec<LabelSelector>,
}

/// Which pods a hook runs in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HookSelect {
    /// Namespaces of the pods. All that the backup or restore takes, when `include` is empty.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub namespaces: Patterns,
    /// Resources; hooks run in pods only.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub resources: Patterns,
    /// Only pods with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
}

/// Names or globs to take and to leave out. Exclusion wins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Patterns {
    /// What to take; everything, when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// What to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

impl Patterns {
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether every name is included, before anything is excluded.
    pub fn includes_all(&self) -> bool {
        self.include.is_empty() || self.include.iter().any(|pattern| pattern == "*")
    }
}

/// Whether cluster-scoped resources come along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClusterResources {
    Auto,
    Always,
    Never,
}

/// A Kubernetes label selector. All its parts must match.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must have these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(example = serde_json::json!({"tier": "db"}))]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelExpression>,
}

/// One condition on a label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LabelExpression {
    /// The label.
    pub key: String,
    /// How the label's value is compared with `values`.
    pub operator: LabelOperator,
    /// The values, for In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// How a label's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}
