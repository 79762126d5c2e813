//! Every Schedule with its backups, its location and what this process remembers about it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::velero;
use holdfast_policy::velero::{BackupPhase, LocationPhase, Mark, Summarized};

use crate::controllers::location::default;

use super::Controller;
use super::decide::{Bucket, Observed, Pause, Progress, Run};
use super::template::scheduled_at;

/// What no object says.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Uids of schedules that were paused at the last look.
    paused: HashSet<String>,
    /// By uid: the newest backup that the bucket held when the schedule was new.
    newest_in_bucket: HashMap<String, Option<DateTime<Utc>>>,
}

impl Memory {
    /// Notes whether the schedule was paused, after it was decided about.
    pub(super) fn saw(&mut self, schedule: &velero::Schedule) {
        let uid = schedule.metadata.uid.clone().unwrap_or_default();
        if schedule.spec.paused {
            self.paused.insert(uid);
        } else {
            self.paused.remove(&uid);
        }
    }

    pub(super) fn looked(&mut self, schedule: &velero::Schedule, newest: Option<DateTime<Utc>>) {
        self.newest_in_bucket.insert(schedule.metadata.uid.clone().unwrap_or_default(), newest);
    }
}

pub(super) fn observe(controller: &Controller, memory: &Memory) -> Vec<Observed> {
    let schedules = controller.schedules.all();
    let backups = controller.backups.all();
    let mut runs: HashMap<&str, Vec<Run>> = HashMap::new();
    for backup in &backups {
        if let Some((schedule, run)) = run(backup) {
            runs.entry(schedule).or_default().push(run);
        }
    }
    let locations = controller.locations.all();
    let default = default::choose(locations.iter().map(Arc::as_ref)).name;
    let default = default.unwrap_or_else(|| controller.default_location.clone());
    schedules
        .into_iter()
        .map(|schedule| {
            let name = schedule.metadata.name.as_deref().unwrap_or_default();
            let uid = schedule.metadata.uid.as_deref().unwrap_or_default();
            let location = schedule.spec.template.storage_location.as_ref().unwrap_or(&default);
            let bucket = match memory.newest_in_bucket.get(uid) {
                Some(newest) => Bucket::Looked { newest: *newest },
                None if readable(&locations, location) => Bucket::NotLooked,
                None => Bucket::NotReadable { location: location.clone() },
            };
            let pause = if memory.paused.contains(uid) { Pause::JustEnded } else { Pause::NotSeen };
            let backups = runs.remove(name).unwrap_or_default();
            Observed { backups, bucket, first_run: controller.first_run, pause, schedule }
        })
        .collect()
}

fn readable(locations: &[Arc<velero::BackupStorageLocation>], name: &str) -> bool {
    locations.iter().any(|location| {
        location.metadata.name.as_deref() == Some(name)
            && location.status.phase == Some(LocationPhase::Available)
    })
}

fn run(backup: &velero::BackupSummary) -> Option<(&str, Run)> {
    let run = Run {
        name: backup.name().to_owned(),
        // A Backup that was brought in from the bucket is as old as its run, not as its object.
        created: backup.started()?,
        scheduled_at: scheduled_at(backup),
        progress: progress(backup.phase()),
    };
    Some((backup.mark(Mark::Schedule)?, run))
}

fn progress(phase: BackupPhase) -> Progress {
    match phase {
        BackupPhase::New
        | BackupPhase::Queued
        | BackupPhase::ReadyToStart
        | BackupPhase::InProgress
        | BackupPhase::WaitingForPluginOperations
        | BackupPhase::WaitingForPluginOperationsPartiallyFailed
        | BackupPhase::Finalizing
        | BackupPhase::FinalizingPartiallyFailed => Progress::Unfinished,
        BackupPhase::FailedValidation
        | BackupPhase::Completed
        | BackupPhase::PartiallyFailed
        | BackupPhase::Failed
        | BackupPhase::Deleting => Progress::Finished,
    }
}
