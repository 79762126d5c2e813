//! Velero's resource modifier rules: how restored objects are patched.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::select::LabelSelector;
use super::shape;

/// One rule: which objects, and one kind of patch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ModifierRule {
    /// Which objects are patched.
    pub conditions: ModifierConditions,
    /// JSON patches (RFC 6902).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<JsonPatch>,
    /// Merge patches (RFC 7386).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merge_patches: Vec<PatchData>,
    /// Kubernetes' strategic merge patches, for core, apps, batch and Velero's kinds only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strategic_patches: Vec<PatchData>,
}

/// Which objects a rule patches; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ModifierConditions {
    /// Full plural name with its group, or a glob of it whose `*` stops at dots.
    #[schemars(schema_with = "shape::optional_text", example = &"deployments.apps")]
    pub group_resource: String,
    /// Regular expression found in the object's name; any name, when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"^web-.*$")]
    pub resource_name_regex: Option<String>,
    /// Namespaces as they are called in the backup, or globs. All, when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Labels of the objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Values that the object must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<ValueMatch>,
}

/// A value that the object must have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ValueMatch {
    /// JSON pointer.
    #[schemars(schema_with = "shape::optional_text", example = &"/spec/storageClassName")]
    pub path: String,
    /// The value as text; `"null"` is the absence of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// One operation of a JSON patch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct JsonPatch {
    /// What to do.
    pub operation: PatchOperation,
    /// Source of `move` and `copy`, as a JSON pointer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where, as a JSON pointer.
    #[schemars(schema_with = "shape::optional_text", example = &"/spec/replicas")]
    pub path: String,
    /// The value as text: what looks like a number, true, false, null, an object or a list is one, and text in
    /// double quotes stays text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// The operations of RFC 6902.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PatchOperation {
    Add,
    Remove,
    Replace,
    Move,
    Copy,
    Test,
}

/// One patch as YAML or JSON text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PatchData {
    /// The patch, YAML or JSON.
    #[schemars(schema_with = "shape::optional_text", example = &"{\"metadata\": {\"annotations\": {\"old\": null}}}")]
    pub patch_data: String,
}
