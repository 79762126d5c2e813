//! VolumeSnapshotLocation: where a provider keeps volume snapshots.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::SecretKeySelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backup_storage_location::LocationPhase;
use super::kind::kind;
use super::parts;
use super::wire::{empty_as_none, is_default, null_as_default};

kind! {
    #[doc = "A place that volume snapshots are kept in."]
    VolumeSnapshotLocation in "v1" as "volumesnapshotlocations" {
        spec: VolumeSnapshotLocationSpec,
        status: VolumeSnapshotLocationStatus
    }
}

/// Where the place is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSnapshotLocationSpec {
    /// Kind of storage that makes the snapshots.
    pub provider: String,
    /// Settings that only this provider knows.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub config: BTreeMap<String, String>,
    /// Secret with the credentials. Unset: those of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "parts::secret_key")]
    pub credential: Option<SecretKeySelector>,
}

/// Nothing that a server of today writes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeSnapshotLocationStatus {
    /// Whether the location can be reached.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub phase: Option<LocationPhase>,
}
