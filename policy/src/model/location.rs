//! Where backups and volume snapshots are kept.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape;
use crate::duration::GoDuration;

/// A bucket, or a folder of one, for backups. Becomes a BackupStorageLocation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StorageLocationSpec {
    /// Whether backups that name no location go here. One location at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub default: Option<bool>,
    /// aws (anything that speaks S3), azure, gcp or local; `velero.io/aws` and so on mean the same.
    #[schemars(schema_with = "shape::optional_text", example = &"aws")]
    pub provider: String,
    /// Name of the bucket (azure: container; local: a folder below `config.path`).
    #[schemars(schema_with = "shape::optional_text", example = &"backups")]
    pub bucket: String,
    /// Folder in the bucket; one per cluster that writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"prod-eu-1")]
    pub prefix: Option<String>,
    /// Settings of the provider, spelled as Velero's plug-ins spell them. All values are text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(example = serde_json::json!({"region": "eu-central-1"}))]
    pub config: BTreeMap<String, String>,
    /// The Secret that holds the credentials, in the daemon's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<SecretKey>,
    /// Whether anything is written to the location.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "ReadWrite"))]
    pub access_mode: Option<AccessMode>,
    /// How often backups in the bucket are looked for. Zero: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::duration", extend("default" = "1m"))]
    pub backup_sync_period: Option<GoDuration>,
    /// How often the location is tried. Zero: once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::duration", extend("default" = "1m"))]
    pub validation_frequency: Option<GoDuration>,
    /// Certificates that the server's certificate may be signed by: PEM text, or the same in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<String>,
    /// A Secret that holds such certificates. Does not mix with `caCert`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert_ref: Option<SecretKey>,
    /// Name of the cluster that used to write here and whose backups this cluster takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::optional_text")]
    pub take_over: Option<String>,
}

/// Where the snapshots of volumes are made. Becomes a VolumeSnapshotLocation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SnapshotLocationSpec {
    /// aws, azure, gcp or local; `velero.io/aws` and so on mean the same.
    #[schemars(schema_with = "shape::optional_text", example = &"aws")]
    pub provider: String,
    /// Settings of the provider. All values are text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(example = serde_json::json!({"region": "eu-central-1"}))]
    pub config: BTreeMap<String, String>,
    /// The Secret that holds the credentials, in the daemon's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<SecretKey>,
}

/// One key of a Secret in the daemon's namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(schema_with = "shape::object_name")]
    pub name: String,
    /// Key in its data.
    #[schemars(schema_with = "shape::optional_text")]
    pub key: String,
}

/// Whether anything is written to a location.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessMode {
    #[default]
    ReadWrite,
    ReadOnly,
}
