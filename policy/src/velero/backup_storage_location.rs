//! BackupStorageLocation: a bucket for backups, and whether it can be reached.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::SecretKeySelector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::kind;
use super::parts;
use super::text_enum::text_enum;
use super::wire::{empty_as_none, is_default, null_as_default};
use crate::annotations::OWNED_BY;
use crate::duration::GoDuration;

kind! {
    #[doc = "A place that backups are stored in."]
    BackupStorageLocation in "v1" as "backupstoragelocations" {
        spec: BackupStorageLocationSpec,
        status: BackupStorageLocationStatus
    }
}

/// Where the place is, and how it is used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStorageLocationSpec {
    /// Kind of object storage, like aws, azure or gcp.
    pub provider: String,
    /// Settings that only this provider knows.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub config: BTreeMap<String, String>,
    /// Secret with the credentials. Unset: those of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "parts::secret_key")]
    pub credential: Option<SecretKeySelector>,
    /// The bucket and the place in it.
    pub object_storage: ObjectStorageLocation,
    /// Whether backups that name no location go here.
    #[serde(default, skip_serializing_if = "is_default")]
    pub default: bool,
    /// Whether backups may be written. Unset: yes.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub access_mode: Option<AccessMode>,
    /// How often backups found in the bucket are brought into the cluster. Zero: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub backup_sync_period: Option<GoDuration>,
    /// How often the location is checked. Zero: once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub validation_frequency: Option<GoDuration>,
}

/// A bucket and the place in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStorageLocation {
    /// Name of the bucket.
    pub bucket: String,
    /// Folder of the bucket that everything is in. Unset: its root.
    #[serde(default, deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Certificates to trust, in PEM form. Prefer caCertRef.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "parts::base64_bytes")]
    pub ca_cert: Option<ByteString>,
    /// Secret with the certificates to trust. Wins over caCert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "parts::secret_key")]
    pub ca_cert_ref: Option<SecretKeySelector>,
}

text_enum! {
    #[derive(Default)]
    AccessMode {
        ReadOnly = "ReadOnly",
        #[default]
        #[serde(alias = "")]
        ReadWrite = "ReadWrite",
    }
}

text_enum! {
    /// The phase of storage and snapshot locations. It has no word for "not yet checked": then there is no phase.
    LocationPhase {
        Available = "Available",
        Unavailable = "Unavailable",
    }
}

/// Whether the place can be reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupStorageLocationStatus {
    /// Whether the location could be reached at the last check. Empty before the first.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub phase: Option<LocationPhase>,
    /// When backups found in the bucket were last brought into the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub last_synced_time: Option<Time>,
    /// When the location was last checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub last_validation_time: Option<Time>,
    /// Why the location is unavailable.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// No longer used.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub last_synced_revision: Option<String>,
    /// No longer used. See the spec.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub access_mode: Option<AccessMode>,
}

impl BackupStorageLocation {
    /// What this cluster may do there: as the spec says, and only read while another cluster owns the place.
    pub fn access_mode(&self) -> AccessMode {
        let owned_by = self.metadata.annotations.as_ref().and_then(|annotations| annotations.get(OWNED_BY));
        match owned_by {
            Some(cluster) if !cluster.is_empty() => AccessMode::ReadOnly,
            Some(_) | None => self.spec.access_mode_or_default(),
        }
    }
}

impl BackupStorageLocationSpec {
    pub fn access_mode_or_default(&self) -> AccessMode {
        self.access_mode.unwrap_or_default()
    }
}
