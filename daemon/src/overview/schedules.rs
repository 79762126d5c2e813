//! How each schedule fares: its newest good backup, its next run, and whether its policy's promise is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::annotations::{POLICY, jitter_offset};
use holdfast_policy::cron;
use holdfast_policy::duration::GoDuration;
use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::holdfast::policy_set::{RecoveryPoint, ScheduleHealth};
use holdfast_policy::objective::Objective;
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{self, BackupPhase, BackupSummary, Mark, SchedulePhase, Summarized as _};
use serde::Serialize;

use crate::controllers::schedule::settings::Settings;
use crate::intake::health::{Promised, health};
use crate::intake::runs::{Good, Ran};

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Schedule {
    pub name: String,
    /// The policy that asks for it; a schedule that a person made has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// As it is written.
    pub cron: String,
    pub state: State,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub validation_errors: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_good_backup: Option<String>,
    /// When that was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_good_time: Option<DateTime<Utc>>,
    /// Where the newest good one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_good_location: Option<String>,
    /// Of the newest that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_phase: Option<BackupPhase>,
    /// Jitter included. None while it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_run: Option<DateTime<Utc>>,
    pub recovery_point: RecoveryPoint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    New,
    Enabled,
    Paused,
    FailedValidation,
}

pub(crate) fn schedules(
    namespace: &str,
    schedules: &[Arc<velero::Schedule>],
    policy_sets: &[Arc<PolicySet>],
    backups: &[Arc<BackupSummary>],
    now: DateTime<Utc>,
) -> Vec<Schedule> {
    let newest = Newest::of(backups);
    let told: BTreeMap<&str, &ScheduleHealth> = policy_sets
        .iter()
        .filter_map(|set| set.status.as_ref())
        .flat_map(|status| &status.schedules)
        .map(|health| (health.name.as_str(), health))
        .collect();
    schedules
        .iter()
        .map(|schedule| {
            let name = schedule.metadata.name.as_deref().unwrap_or_default();
            one(namespace, schedule, told.get(name).copied(), &newest, now)
        })
        .collect()
}

fn one(
    namespace: &str,
    schedule: &velero::Schedule,
    told: Option<&ScheduleHealth>,
    newest: &Newest<'_>,
    now: DateTime<Utc>,
) -> Schedule {
    let name = schedule.metadata.name.clone().unwrap_or_default();
    let labels = schedule.metadata.labels.as_ref();
    let good = newest.good.get(name.as_str());
    let own = objective(namespace, schedule).map(|objective| {
        let promised = Promised {
            name: name.clone(),
            policy: String::new(),
            suspended: schedule.spec.paused,
            objective,
        };
        let ran = Ran {
            created: schedule.metadata.creation_timestamp.as_ref().map(to_chrono),
            last: None,
            paused: schedule.spec.paused,
        };
        let good =
            good.and_then(|good| Some(Good { started: good.started()?, name: good.name().to_owned() }));
        health(&promised, &ran, good, now)
    });
    let health = told.cloned().or_else(|| own.clone()).unwrap_or_default();
    Schedule {
        policy: told.map(|told| told.policy.clone()).or_else(|| labels?.get(POLICY).cloned()),
        cron: schedule.spec.schedule.clone(),
        state: state(schedule),
        validation_errors: schedule.status.validation_errors.clone(),
        last_good_backup: health.last_good_backup,
        last_good_time: health.last_good_time.as_ref().map(to_chrono),
        last_good_location: good.and_then(|good| good.storage_location()).map(str::to_owned),
        last_phase: newest.ended.get(name.as_str()).map(|backup| backup.phase()),
        // What the PolicySet says of it may be a moment old.
        next_run: own.and_then(|own| own.next_run).as_ref().map(to_chrono),
        recovery_point: health.recovery_point,
        name,
    }
}

pub(super) fn state(schedule: &velero::Schedule) -> State {
    match (schedule.status_phase(), schedule.spec.paused) {
        (SchedulePhase::FailedValidation, _) => State::FailedValidation,
        (SchedulePhase::New | SchedulePhase::Enabled, true) => State::Paused,
        (SchedulePhase::New, false) => State::New,
        (SchedulePhase::Enabled, false) => State::Enabled,
    }
}

/// What a Schedule promises, as it says itself; none where it can't be read, and so makes no backups.
pub(super) fn objective(namespace: &str, schedule: &velero::Schedule) -> Option<Objective> {
    let cron = cron::Schedule::parse(&schedule.spec.schedule, None).ok()?;
    let settings = Settings::read(schedule.metadata.annotations.as_ref().unwrap_or(&BTreeMap::new())).ok()?;
    let name = schedule.metadata.name.as_deref().unwrap_or_default();
    Some(Objective {
        cron,
        jitter: jitter_offset(namespace, name, settings.jitter.unwrap_or(GoDuration::ZERO)),
        starting_deadline: settings.starting_deadline,
        max_runtime: settings.max_runtime,
    })
}

/// The newest backups by schedule.
struct Newest<'a> {
    good: BTreeMap<&'a str, &'a BackupSummary>,
    ended: BTreeMap<&'a str, &'a BackupSummary>,
}

impl<'a> Newest<'a> {
    fn of(backups: &'a [Arc<BackupSummary>]) -> Self {
        let mut newest = Newest { good: BTreeMap::new(), ended: BTreeMap::new() };
        for backup in backups {
            let Some(schedule) = backup.mark(Mark::Schedule) else { continue };
            if backup.phase().has_ended() {
                keep_newer(&mut newest.ended, schedule, backup);
            }
            if backup.phase() == BackupPhase::Completed && backup.mark(Mark::Suspect).is_none() {
                keep_newer(&mut newest.good, schedule, backup);
            }
        }
        newest
    }
}

fn keep_newer<'a>(
    newest: &mut BTreeMap<&'a str, &'a BackupSummary>,
    schedule: &'a str,
    backup: &'a BackupSummary,
) {
    let kept = newest.entry(schedule).or_insert(backup);
    if kept.started() < backup.started() {
        *kept = backup;
    }
}
