//! The valid set: every schedule, backup and restore spelled out.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::annotations::ScheduleRules;
use crate::cron;
use crate::duration::GoDuration;
use crate::model::hooks::BackupHook;
use crate::model::select::Select;
use crate::model::volumes::Volumes;
use crate::model::{Drift, RestorePolicySpec, SnapshotLocationSpec, StorageLocationSpec};
use crate::problem::Problems;

/// The documents of a source, checked and spelled out.
#[derive(Clone, Debug, Default)]
pub struct ValidPolicySet {
    pub(super) drift: Drift,
    pub(super) storage_locations: Vec<ValidLocation<StorageLocationSpec>>,
    pub(super) snapshot_locations: Vec<ValidLocation<SnapshotLocationSpec>>,
    pub(super) schedules: Vec<ValidSchedule>,
    pub(super) backups: Vec<ValidBackup>,
    pub(super) restores: Vec<ValidRestore>,
    pub(super) warnings: Problems,
}

impl ValidPolicySet {
    pub(crate) fn with_warnings(self, warnings: Problems) -> ValidPolicySet {
        ValidPolicySet { warnings, ..self }
    }

    /// Warnings and notes; there are no errors.
    pub fn warnings(&self) -> &Problems {
        &self.warnings
    }

    pub fn drift(&self) -> Drift {
        self.drift
    }

    pub fn storage_locations(&self) -> &[ValidLocation<StorageLocationSpec>] {
        &self.storage_locations
    }

    pub fn snapshot_locations(&self) -> &[ValidLocation<SnapshotLocationSpec>] {
        &self.snapshot_locations
    }

    pub fn schedules(&self) -> &[ValidSchedule] {
        &self.schedules
    }

    pub fn backups(&self) -> &[ValidBackup] {
        &self.backups
    }

    pub fn restores(&self) -> &[ValidRestore] {
        &self.restores
    }
}

/// A storage or snapshot location.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidLocation<S> {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub spec: S,
}

/// Which document, and which entry of it, something comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub policy: String,
    /// Name of the schedule or backup in its policy.
    pub entry: String,
}

/// What goes into a backup, and how long it stays.
#[derive(Clone, Debug, PartialEq)]
pub struct BackupContent {
    /// The user's labels, without those by which other tools track their objects.
    pub labels: BTreeMap<String, String>,
    pub location: Option<String>,
    pub select: Select,
    pub volumes: Volumes,
    pub hooks: Vec<BackupHook>,
    pub item_operation_timeout: Option<GoDuration>,
    pub ttl: GoDuration,
}

/// A schedule with all that it inherits.
#[derive(Clone, Debug)]
pub struct ValidSchedule {
    pub origin: Origin,
    /// Name of the Schedule.
    pub name: String,
    pub cron: cron::Schedule,
    /// Whether the policy names the zone, and doesn't leave it at UTC.
    pub zone_given: bool,
    pub suspend: bool,
    pub skip_immediately: bool,
    pub rules: ScheduleRules,
    pub content: BackupContent,
}

/// A backup that is made once.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidBackup {
    pub origin: Origin,
    /// Name of the Backup.
    pub name: String,
    pub content: BackupContent,
}

/// A restore policy.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidRestore {
    pub policy: String,
    /// Name of the Restore.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub spec: RestorePolicySpec,
    /// Name of the Schedule whose latest backup is restored, unless a backup is named.
    pub schedule: Option<String>,
    pub not_after: Option<DateTime<Utc>>,
    pub item_operation_timeout: Option<GoDuration>,
}
