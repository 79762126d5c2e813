//! Schedule: backups made again and again from a template.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backup::BackupSpec;
use super::kind::kind;
use super::text_enum::text_enum;
use super::wire::{empty_as_none, is_default, null_as_default};

kind! {
    #[doc = "Backups made from a template at the times of a cron expression."]
    Schedule in "v1" as "schedules" { spec: ScheduleSpec, status: ScheduleStatus }
}

/// When to back up, and what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleSpec {
    /// The spec of the backups.
    pub template: BackupSpec,
    /// When to make one, as a cron expression of five fields or a descriptor like @daily.
    pub schedule: String,
    /// Whether the backups belong to the Schedule, so that deleting it deletes them from the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub use_owner_references_in_backup: Option<bool>,
    /// Whether the Schedule makes no backups for now.
    #[serde(default, skip_serializing_if = "is_default")]
    pub paused: bool,
    /// Whether the run that is due when the Schedule is created or resumed is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_immediately: Option<bool>,
}

text_enum! {
    #[derive(Default)]
    SchedulePhase {
        #[default]
        #[serde(alias = "")]
        New = "New",
        Enabled = "Enabled",
        FailedValidation = "FailedValidation",
    }
}

/// What the Schedule has done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScheduleStatus {
    /// State of the Schedule. Empty is New.
    #[serde(deserialize_with = "empty_as_none", skip_serializing_if = "Option::is_none")]
    pub phase: Option<SchedulePhase>,
    /// When the Schedule last made a backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub last_backup: Option<Time>,
    /// When the Schedule last left out a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("nullable" = true))]
    pub last_skipped: Option<Time>,
    /// What is wrong with the spec.
    #[serde(deserialize_with = "null_as_default", skip_serializing_if = "is_default")]
    pub validation_errors: Vec<String>,
}

impl Schedule {
    /// The phase, which is New until somebody sets it.
    pub fn status_phase(&self) -> SchedulePhase {
        self.status.phase.unwrap_or_default()
    }
}
