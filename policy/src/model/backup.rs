//! A backup policy: what is backed up, where to, and when.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hooks::BackupHook;
use super::retention::Retention;
use super::schedule::ScheduleEntry;
use super::select::Select;
use super::shape;
use super::volumes::Volumes;
use crate::duration::GoDuration;

/// What is backed up, where to and when: one Schedule per entry of `schedules`, one Backup per entry of `backups`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BackupPolicySpec {
    /// Whether the schedules pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub suspend: Option<bool>,
    /// Name of the StorageLocation to write to; that of Defaults, else the default one, when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::optional_text", example = &"default")]
    pub location: Option<String>,
    /// Several StorageLocations: one Schedule for each, its name appended. Does not mix with `location`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub locations: Option<Vec<String>>,
    /// What the backups take in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<Select>,
    /// How volumes are saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Volumes>,
    /// Commands that run in pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Vec<BackupHook>>,
    /// How long asynchronous work on an item, such as moving a snapshot's data, may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::positive_duration", extend("default" = "4h"))]
    pub item_operation_timeout: Option<GoDuration>,
    /// How long a backup stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::positive_duration", extend("default" = "720h"))]
    pub ttl: Option<GoDuration>,
    /// Which backups of a schedule stay until their ttl. All of them, when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// When backups are made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<ScheduleEntry>,
    /// Backups that are made once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<BackupEntry>,
}

/// A backup that is made once, and not again after it has expired. `location`, `select`, `volumes`, `hooks`, `ttl`
/// and `labels` replace what the policy says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BackupEntry {
    /// Name of the backup in its policy: the Backup is called `<policy>-<name>`, 48 characters at most.
    #[schemars(schema_with = "shape::object_name")]
    pub name: String,
    /// Name of the StorageLocation to write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::optional_text")]
    pub location: Option<String>,
    /// What the backup takes in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<Select>,
    /// How volumes are saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Volumes>,
    /// Commands that run in pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Vec<BackupHook>>,
    /// How long the backup stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::positive_duration", example = &"8760h")]
    pub ttl: Option<GoDuration>,
    /// Labels put on the Backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}
