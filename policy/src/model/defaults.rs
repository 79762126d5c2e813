//! What the policies of a source don't say themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape;
use crate::duration::GoDuration;

/// What the policies of this source don't say. At most one such document per source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DefaultsSpec {
    /// Name of the StorageLocation for policies that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::optional_text", example = &"default")]
    pub location: Option<String>,
    /// How long backups stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::positive_duration", extend("default" = "720h"))]
    pub ttl: Option<GoDuration>,
    /// How long asynchronous work on an item may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::positive_duration", extend("default" = "4h"))]
    pub item_operation_timeout: Option<GoDuration>,
    /// What to do when somebody changes a field that this source applied. Revert: put it back. Report: say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Revert"))]
    pub drift: Option<Drift>,
}

/// What to do with a change that somebody made to what a source applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Drift {
    #[default]
    Revert,
    Report,
}
