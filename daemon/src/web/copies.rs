//! The watched copies that the page looks at.

use std::sync::Arc;

use holdfast_policy::holdfast::PolicySet;
use holdfast_policy::velero::{Backup, BackupStorageLocation, DeleteBackupRequest, Restore, Schedule};

use crate::controllers::watched::Watched;
use crate::overview::Facts;

/// Cheap to clone.
#[derive(Clone)]
pub struct Copies {
    pub policy_sets: Arc<Watched<PolicySet>>,
    pub locations: Arc<Watched<BackupStorageLocation>>,
    pub schedules: Arc<Watched<Schedule>>,
    pub backups: Arc<Watched<Backup>>,
    pub restores: Arc<Watched<Restore>>,
    pub deletion_requests: Arc<Watched<DeleteBackupRequest>>,
}

impl Copies {
    pub(super) fn facts(&self, namespace: &str) -> Facts {
        let Copies { policy_sets, locations, schedules, backups, restores, deletion_requests } = self;
        Facts {
            namespace: namespace.to_owned(),
            policy_sets: policy_sets.all(),
            locations: locations.all(),
            schedules: schedules.all(),
            backups: backups.all(),
            restores: restores.all(),
            deletion_requests: deletion_requests.all(),
        }
    }
}
