//! One schedule of a backup policy: when, and what it does differently.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hooks::BackupHook;
use super::retention::Retention;
use super::select::Select;
use super::shape;
use super::volumes::Volumes;
use crate::duration::GoDuration;

/// When backups are made. `suspend`, `location`, `select`, `volumes`, `hooks`, `ttl`, `retention` and `labels`
/// replace what the policy says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ScheduleEntry {
    /// Name of the schedule in its policy: the Schedule is called `<policy>-<name>`, 48 characters at most.
    #[schemars(schema_with = "shape::object_name")]
    pub name: String,
    /// Name of the Schedule where it is not `<policy>-<name>`: that of one that was there before its policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::object_name", example = &"daily")]
    pub schedule_name: Option<String>,
    /// Five fields (minute, hour, day of month, month, day of week), a descriptor such as `@daily`, or
    /// `@every 1h30m`.
    #[schemars(example = &"0 1 * * *")]
    pub cron: String,
    /// IANA name of the time zone in which `cron` is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"Europe/Berlin", extend("default" = "UTC"))]
    pub time_zone: Option<String>,
    /// A run that could not start within this time counts as missed. Wins over `catchUp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::positive_duration", example = &"1h")]
    pub starting_deadline: Option<GoDuration>,
    /// What to do with missed runs after downtime. None: nothing. Last: one late run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Last"))]
    pub catch_up: Option<CatchUp>,
    /// When a run is due while one of this schedule is not finished. Forbid: the run is left out. Queue: it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = "Forbid"))]
    pub concurrency_policy: Option<ConcurrencyPolicy>,
    /// An unfinished run older than this no longer blocks the next one, and is reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::positive_duration", example = &"6h")]
    pub max_runtime: Option<GoDuration>,
    /// Runs are late by up to this much; by how much is the same for every run of the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::duration", example = &"5m")]
    pub jitter: Option<GoDuration>,
    /// The first backup is made when the schedule first appears, unless this is true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub skip_immediately: Option<bool>,
    /// Whether this schedule pauses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// Name of the StorageLocation to write to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::optional_text")]
    pub location: Option<String>,
    /// What the backups take in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub select: Option<Select>,
    /// How volumes are saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volumes: Option<Volumes>,
    /// Commands that run in pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Vec<BackupHook>>,
    /// How long a backup stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::positive_duration", example = &"720h")]
    pub ttl: Option<GoDuration>,
    /// Which backups stay until their ttl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Labels put on the Schedule and its Backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// What to do with missed runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CatchUp {
    None,
    #[default]
    Last,
}

/// What to do with a run that is due while another is not finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    #[default]
    Forbid,
    Queue,
}
