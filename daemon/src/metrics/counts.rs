//! What is counted for one schedule. Pure.

use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{Backup, BackupPhase, Restore, RestorePhase};

use super::durations::Durations;
use super::stage::Event;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts {
    pub(super) backup: Runs,
    pub(super) restore: Runs,
    pub(super) deletion: Tries,
    pub(super) volume_snapshots: Tries,
    pub(super) csi_snapshots: Tries,
    pub(super) backup_durations: Durations,
}

/// Ends of backups or restores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Runs {
    pub(super) attempts: u64,
    pub(super) successes: u64,
    pub(super) partial_failures: u64,
    pub(super) failures: u64,
    pub(super) validation_failures: u64,
    /// How many had warnings, however many.
    pub(super) with_warnings: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tries {
    pub(super) attempts: u64,
    pub(super) successes: u64,
    pub(super) failures: u64,
}

impl Tries {
    fn add(&mut self, attempted: i64, completed: i64) {
        let (attempted, completed) = (attempted.max(0).unsigned_abs(), completed.max(0).unsigned_abs());
        self.attempts += attempted;
        self.successes += completed;
        self.failures += attempted.saturating_sub(completed);
    }
}

impl Counts {
    pub(super) fn count_backup(&mut self, backup: &Backup, event: Event) {
        match event {
            Event::Started => self.backup.attempts += 1,
            Event::Refused => self.backup.validation_failures += 1,
            Event::Ended => self.backup_ended(backup),
            Event::DeletionStarted => self.deletion.attempts += 1,
            Event::DeletionDone => self.deletion.successes += 1,
            Event::DeletionFailed => self.deletion.failures += 1,
        }
    }

    fn backup_ended(&mut self, backup: &Backup) {
        let status = &backup.status;
        match backup.status_phase() {
            BackupPhase::Completed => self.backup.successes += 1,
            BackupPhase::PartiallyFailed => self.backup.partial_failures += 1,
            BackupPhase::Failed => self.backup.failures += 1,
            BackupPhase::New
            | BackupPhase::Queued
            | BackupPhase::ReadyToStart
            | BackupPhase::FailedValidation
            | BackupPhase::InProgress
            | BackupPhase::WaitingForPluginOperations
            | BackupPhase::WaitingForPluginOperationsPartiallyFailed
            | BackupPhase::Finalizing
            | BackupPhase::FinalizingPartiallyFailed
            | BackupPhase::Deleting => (),
        }
        if status.warnings > 0 {
            self.backup.with_warnings += 1;
        }
        self.volume_snapshots.add(status.volume_snapshots_attempted, status.volume_snapshots_completed);
        self.csi_snapshots.add(status.csi_volume_snapshots_attempted, status.csi_volume_snapshots_completed);
        if let (Some(start), Some(end)) = (&status.start_timestamp, &status.completion_timestamp) {
            let seconds = (to_chrono(end) - to_chrono(start)).num_seconds().max(0);
            self.backup_durations.observe(seconds as f64);
        }
    }

    pub(super) fn count_restore(&mut self, restore: &Restore, event: Event) {
        match event {
            Event::Started => self.restore.attempts += 1,
            Event::Refused => self.restore.validation_failures += 1,
            Event::Ended => match restore.status_phase() {
                RestorePhase::Completed => self.restore.successes += 1,
                RestorePhase::PartiallyFailed => self.restore.partial_failures += 1,
                RestorePhase::Failed => self.restore.failures += 1,
                RestorePhase::New
                | RestorePhase::FailedValidation
                | RestorePhase::InProgress
                | RestorePhase::WaitingForPluginOperations
                | RestorePhase::WaitingForPluginOperationsPartiallyFailed
                | RestorePhase::Finalizing
                | RestorePhase::FinalizingPartiallyFailed => (),
            },
            Event::DeletionStarted | Event::DeletionDone | Event::DeletionFailed => (),
        }
    }
}
