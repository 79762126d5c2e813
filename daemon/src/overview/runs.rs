//! Backups, restores and deletions: those that have not ended, and the newest of those that have.

use std::cmp::Reverse;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero::{
    BackupPhase, BackupSummary, DeleteBackupRequest, DeleteBackupRequestPhase, Mark, Restore, RestorePhase,
    Summarized as _,
};
use kube::ResourceExt as _;
use serde::Serialize;

/// A backup or restore that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub kind: RunKind,
    pub name: String,
    pub phase: String,
    pub items_done: i64,
    /// As far as is known.
    pub items: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<DateTime<Utc>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    Backup,
    Restore,
}

impl RunKind {
    pub fn word(self) -> &'static str {
        match self {
            RunKind::Backup => "backup",
            RunKind::Restore => "restore",
        }
    }
}

/// A backup that has ended, or is being deleted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupLine {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    pub phase: BackupPhase,
    pub items: i64,
    pub warnings: i64,
    pub errors: i64,
    /// Unknown of backups that others made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<DateTime<Utc>>,
}

/// A restore that has ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreLine {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    pub phase: RestorePhase,
    pub items: i64,
    pub warnings: i64,
    pub errors: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<DateTime<Utc>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deletions {
    /// Since when the oldest of those that are not done is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<DateTime<Utc>>,
    /// How many are asked for and not done.
    pub waiting: usize,
    /// How many were tried and left something undone.
    pub failed: usize,
    /// The first of them, with the first thing that went wrong.
    pub failures: Vec<Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    pub backup: String,
    pub error: String,
}

const FAILURES: usize = 5;

pub(super) fn running(backups: &[Arc<BackupSummary>], restores: &[Arc<Restore>]) -> Vec<Run> {
    let is_running = |phase: BackupPhase| !phase.has_ended() && phase != BackupPhase::Deleting;
    let backups = backups.iter().filter(|backup| is_running(backup.phase())).map(|backup| Run {
        kind: RunKind::Backup,
        name: backup.name().to_owned(),
        phase: backup.phase().to_string(),
        items_done: backup.items_backed_up(),
        items: backup.total_items(),
        started: backup.began(),
    });
    let restores = restores.iter().filter(|restore| !restore.status_phase().has_ended());
    let restores = restores.map(|restore| {
        let progress = restore.status.progress.unwrap_or_default();
        Run {
            kind: RunKind::Restore,
            name: restore.name_any(),
            phase: restore.status_phase().to_string(),
            items_done: progress.items_restored,
            items: progress.total_items,
            started: restore.status.start_timestamp.as_ref().map(to_chrono),
        }
    });
    backups.chain(restores).collect()
}

/// The newest first.
pub(super) fn newest_backups(backups: &[Arc<BackupSummary>], count: usize) -> Vec<BackupLine> {
    let shown = |phase: BackupPhase| phase.has_ended() || phase == BackupPhase::Deleting;
    let mut newest: Vec<&Arc<BackupSummary>> =
        backups.iter().filter(|backup| shown(backup.phase())).collect();
    newest.sort_by_key(|backup| Reverse(backup.started()));
    newest.into_iter().take(count).map(|backup| backup_line(backup)).collect()
}

fn backup_line(backup: &BackupSummary) -> BackupLine {
    BackupLine {
        name: backup.name().to_owned(),
        schedule: backup.mark(Mark::Schedule).map(str::to_owned),
        phase: backup.phase(),
        items: backup.total_items(),
        warnings: backup.warnings(),
        errors: backup.errors(),
        archive_bytes: backup.mark(Mark::ArchiveBytes).and_then(|text| text.parse().ok()),
        started: backup.began(),
        completed: backup.completed(),
        expires: backup.expiration(),
    }
}

/// The newest first.
pub(super) fn newest_restores(restores: &[Arc<Restore>], count: usize) -> Vec<RestoreLine> {
    let mut newest: Vec<&Arc<Restore>> =
        restores.iter().filter(|restore| restore.status_phase().has_ended()).collect();
    newest.sort_by_key(|restore| Reverse(restore.metadata.creation_timestamp.clone()));
    newest.into_iter().take(count).map(|restore| restore_line(restore)).collect()
}

fn restore_line(restore: &Restore) -> RestoreLine {
    let status = &restore.status;
    RestoreLine {
        name: restore.name_any(),
        backup: restore.spec.backup_name.clone(),
        phase: restore.status_phase(),
        items: status.progress.map_or(0, |progress| progress.items_restored),
        warnings: status.warnings,
        errors: status.errors,
        started: status.start_timestamp.as_ref().map(to_chrono),
        completed: status.completion_timestamp.as_ref().map(to_chrono),
    }
}

pub(crate) fn deletions(requests: &[Arc<DeleteBackupRequest>]) -> Deletions {
    let mut deletions = Deletions::default();
    for request in requests {
        let asked = request.metadata.creation_timestamp.as_ref().map(to_chrono);
        let is_done =
            request.status_phase() == DeleteBackupRequestPhase::Processed && request.status.errors.is_empty();
        if !is_done {
            deletions.oldest = deletions.oldest.into_iter().chain(asked).min();
        }
        match (request.status_phase(), request.status.errors.first()) {
            (DeleteBackupRequestPhase::New | DeleteBackupRequestPhase::InProgress, _) => {
                deletions.waiting += 1
            }
            // One that went well is deleted with its backup, or soon after.
            (DeleteBackupRequestPhase::Processed, None) => (),
            (DeleteBackupRequestPhase::Processed, Some(error)) => {
                deletions.failed += 1;
                if deletions.failures.len() < FAILURES {
                    let failure = Failure { backup: request.spec.backup_name.clone(), error: error.clone() };
                    deletions.failures.push(failure);
                }
            }
        }
    }
    deletions
}
