//! What the newest backups of a schedule say. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use holdfast_policy::velero::{BackupPhase, BackupSummary, Mark, Summarized};

/// The newest backups of one schedule.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Latest {
    /// Of those that have ended, whatever came out.
    pub(super) ended: Option<Ended>,
    /// Of those that are whole.
    pub(super) good: Option<Good>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    created: Option<DateTime<Utc>>,
    pub(super) phase: BackupPhase,
    pub(super) items: i64,
    pub(super) errors: i64,
    /// Unknown of backups that others made.
    pub(super) archive_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Good {
    /// What is in it is as old as this.
    pub(super) recovery_point: DateTime<Utc>,
    pub(super) completed: DateTime<Utc>,
}

/// By schedule.
pub(super) fn latest(backups: &[Arc<BackupSummary>]) -> BTreeMap<&str, Latest> {
    let mut found: BTreeMap<&str, Latest> = BTreeMap::new();
    for backup in backups {
        let Some(ended) = ended(backup) else { continue };
        let latest = found.entry(backup.mark(Mark::Schedule).unwrap_or_default()).or_default();
        if latest.ended.is_none_or(|newest| newest.created <= ended.created) {
            latest.ended = Some(ended);
        }
        if let Some(good) = good(backup)
            && latest.good.is_none_or(|newest| newest.completed <= good.completed)
        {
            latest.good = Some(good);
        }
    }
    found
}

fn ended(backup: &BackupSummary) -> Option<Ended> {
    let phase = backup.phase();
    match phase {
        BackupPhase::Completed
        | BackupPhase::PartiallyFailed
        | BackupPhase::Failed
        | BackupPhase::FailedValidation => (),
        BackupPhase::New
        | BackupPhase::Queued
        | BackupPhase::ReadyToStart
        | BackupPhase::InProgress
        | BackupPhase::WaitingForPluginOperations
        | BackupPhase::WaitingForPluginOperationsPartiallyFailed
        | BackupPhase::Finalizing
        | BackupPhase::FinalizingPartiallyFailed
        | BackupPhase::Deleting => return None,
    }
    Some(Ended {
        // A backup that was found in a bucket is younger as an object than as a backup.
        created: backup.started(),
        phase,
        items: backup.total_items(),
        errors: backup.errors(),
        archive_bytes: backup.mark(Mark::ArchiveBytes).and_then(|text| text.parse().ok()),
    })
}

fn good(backup: &BackupSummary) -> Option<Good> {
    let completed = backup.completed()?;
    (backup.phase() == BackupPhase::Completed)
        .then(|| Good { recovery_point: backup.began().unwrap_or(completed), completed })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn backup(name: &str, status: Value) -> Arc<BackupSummary> {
        let backup = serde_json::from_value(json!({
            "metadata": {
                "name": name, "labels": {"velero.io/schedule-name": "nightly"},
                "creationTimestamp": "2026-11-23T23:00:00Z",
            },
            "status": status,
        }));
        Arc::new(BackupSummary::of(&backup.unwrap()))
    }

    #[test]
    fn a_failure_since_does_not_hide_the_last_good_backup() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let backups = [
            backup("c", json!({"phase": "Failed", "errors": 2, "startTimestamp": "2026-11-23T03:00:00Z"})),
            backup(
                "b",
                json!({
                    "phase": "Completed", "progress": {"totalItems": 9},
                    "startTimestamp": "2026-11-22T03:00:00Z", "completionTimestamp": "2026-11-22T03:05:00Z",
                }),
            ),
            backup(
                "a",
                json!({
                    "phase": "Completed",
                    "startTimestamp": "2026-11-21T03:00:00Z", "completionTimestamp": "2026-11-21T03:05:00Z",
                }),
            ),
            backup("d", json!({"phase": "InProgress", "startTimestamp": "2026-11-23T04:00:00Z"})),
        ];
        let found = latest(&backups);
        let nightly = &found["nightly"];
        assert_eq!(
            nightly.good,
            Some(Good { recovery_point: at("2026-11-22T03:00:00Z"), completed: at("2026-11-22T03:05:00Z") })
        );
        let ended = nightly.ended.unwrap();
        assert_eq!((ended.phase, ended.errors, ended.items), (BackupPhase::Failed, 2, 0));
        assert_eq!(found.len(), 1);
    }
}
