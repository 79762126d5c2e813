//! What a person wants to know first: policies and their problems, locations, how each schedule fares, what runs, what
//! ran last, and what needs attention. Pure.
//!
//! Takes objects of the API server, wherever they were read, and `now`; gives plain values. The command line and the page
//! show the same ones. How they look is left to them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::velero::{
    BackupStorageLocation, BackupSummary, DeleteBackupRequest, Restore, Schedule as VeleroSchedule,
};
use serde::Serialize;

mod attention;
mod calendar;
mod locations;
mod policies;
mod runs;
mod schedules;
pub mod words;

pub use attention::{Attention, attention};
pub use calendar::{Day, calendar};
pub use locations::Location;
pub use policies::{Problem, Source};
pub use runs::{BackupLine, Deletions, RestoreLine, Run, RunKind};
pub use schedules::{Schedule, State};
pub(crate) use {policies::sources, runs::deletions, schedules::schedules};

/// How many backups and restores are told one by one.
const NEWEST: usize = 20;

/// What was read, each kind in the order of names.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub namespace: String,
    pub policy_sets: Vec<Arc<PolicySet>>,
    pub locations: Vec<Arc<BackupStorageLocation>>,
    pub schedules: Vec<Arc<VeleroSchedule>>,
    pub backups: Vec<Arc<BackupSummary>>,
    pub restores: Vec<Arc<Restore>>,
    pub deletion_requests: Vec<Arc<DeleteBackupRequest>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    pub sources: Vec<Source>,
    pub locations: Vec<Location>,
    pub schedules: Vec<Schedule>,
    /// Backups and restores that have not ended.
    pub running: Vec<Run>,
    /// The newest that have.
    pub backups: Vec<BackupLine>,
    /// How many backups there are.
    pub backup_count: usize,
    pub restores: Vec<RestoreLine>,
    pub deletions: Deletions,
}

pub fn overview(facts: &Facts, now: DateTime<Utc>) -> Overview {
    let Facts { namespace, policy_sets, locations, schedules, backups, restores, deletion_requests } = facts;
    Overview {
        sources: policies::sources(policy_sets),
        locations: locations::locations(locations, backups),
        schedules: schedules::schedules(namespace, schedules, policy_sets, backups, now),
        running: runs::running(backups, restores),
        backups: runs::newest_backups(backups, NEWEST),
        backup_count: backups.len(),
        restores: runs::newest_restores(restores, NEWEST),
        deletions: runs::deletions(deletion_requests),
    }
}

#[cfg(test)]
pub(crate) mod fixtures;
