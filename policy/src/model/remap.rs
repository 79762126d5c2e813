//! What is called differently where a backup is restored.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is called differently in the restored objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Remap {
    /// Namespace in the backup to namespace in the cluster. References to services, accounts and namespaces follow;
    /// what still names the old one is listed in the restore's results.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(example = serde_json::json!({"shop-eu": "staging-eu"}))]
    pub namespaces: BTreeMap<String, String>,
    /// Storage class in the backup to storage class in the cluster, which must be there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(example = serde_json::json!({"gp2": "gp3"}))]
    pub storage_classes: BTreeMap<String, String>,
    /// Part of an image's name to what stands there instead. The longest part that fits counts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(example = serde_json::json!({"registry.old/": "registry.new/"}))]
    pub images: BTreeMap<String, String>,
    /// Node in the backup to node in the cluster: in node selectors and affinities of pods and volumes, and for claims
    /// whose volume was made for a node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, String>,
}
