//! What decisions about all backups of a cluster read of each of them.
//!
//! A [`Backup`] takes four kilobytes of memory, and a cluster may have tens of thousands that have ended long ago; a
//! [`BackupSummary`] takes a tenth of that.

use chrono::{DateTime, Utc};

use super::{Backup, BackupPhase, labels};
use crate::annotations;
use crate::time::to_chrono;

/// A label or annotation of a Backup that decisions about all backups go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The Schedule that made it.
    Schedule,
    /// Its location, shortened to the length of a label.
    StorageLocation,
    /// Why it could not be deleted.
    DeletionFailure,
    Cluster,
    Hold,
    Retention,
    Suspect,
    TimeZone,
    ScheduledAt,
    ArchiveBytes,
    /// It was brought in from the bucket, and not all that belongs to it.
    Importing,
    /// It was brought in from the bucket.
    Synced,
}

enum Kept {
    Label,
    Annotation,
}

impl Mark {
    const ALL: [Mark; 12] = [
        Mark::Schedule,
        Mark::StorageLocation,
        Mark::DeletionFailure,
        Mark::Cluster,
        Mark::Hold,
        Mark::Retention,
        Mark::Suspect,
        Mark::TimeZone,
        Mark::ScheduledAt,
        Mark::ArchiveBytes,
        Mark::Importing,
        Mark::Synced,
    ];

    fn key(self) -> (Kept, &'static str) {
        match self {
            Mark::Schedule => (Kept::Label, labels::SCHEDULE_NAME),
            Mark::StorageLocation => (Kept::Label, labels::STORAGE_LOCATION),
            Mark::DeletionFailure => (Kept::Label, labels::GC_FAILURE),
            Mark::Cluster => (Kept::Annotation, annotations::CLUSTER),
            Mark::Hold => (Kept::Annotation, annotations::HOLD),
            Mark::Retention => (Kept::Annotation, annotations::RETENTION),
            Mark::Suspect => (Kept::Annotation, annotations::SUSPECT),
            Mark::TimeZone => (Kept::Annotation, annotations::TIME_ZONE),
            Mark::ScheduledAt => (Kept::Annotation, annotations::SCHEDULED_AT),
            Mark::ArchiveBytes => (Kept::Annotation, annotations::ARCHIVE_BYTES),
            Mark::Importing => (Kept::Annotation, annotations::IMPORTING),
            Mark::Synced => (Kept::Annotation, annotations::SYNCED),
        }
    }
}

/// A Backup, or its summary.
pub trait Summarized {
    /// Empty where it has none.
    fn name(&self) -> &str;
    fn phase(&self) -> BackupPhase;
    /// When it began; when it was made, where it has not.
    fn started(&self) -> Option<DateTime<Utc>>;
    fn expiration(&self) -> Option<DateTime<Utc>>;
    /// Velero leaves a count of zero out.
    fn items_backed_up(&self) -> i64;
    fn mark(&self, mark: Mark) -> Option<&str>;
}

impl Summarized for Backup {
    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    fn phase(&self) -> BackupPhase {
        self.status_phase()
    }

    fn started(&self) -> Option<DateTime<Utc>> {
        let started = self.status.start_timestamp.as_ref().or(self.metadata.creation_timestamp.as_ref());
        started.map(to_chrono)
    }

    fn expiration(&self) -> Option<DateTime<Utc>> {
        self.status.expiration.as_ref().map(to_chrono)
    }

    fn items_backed_up(&self) -> i64 {
        self.status.progress.map_or(0, |progress| progress.items_backed_up)
    }

    fn mark(&self, mark: Mark) -> Option<&str> {
        let (kept, key) = mark.key();
        let map = match kept {
            Kept::Label => self.metadata.labels.as_ref(),
            Kept::Annotation => self.metadata.annotations.as_ref(),
        };
        map?.get(key).map(String::as_str)
    }
}

/// What is left of a Backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    name: Box<str>,
    uid: Option<Box<str>>,
    phase: BackupPhase,
    /// Where it is, or is to be.
    storage_location: Option<Box<str>>,
    started: Option<DateTime<Utc>>,
    /// When it began.
    began: Option<DateTime<Utc>>,
    completed: Option<DateTime<Utc>>,
    expiration: Option<DateTime<Utc>>,
    items_backed_up: i64,
    total_items: i64,
    warnings: i64,
    errors: i64,
    marks: Box<[(Mark, Box<str>)]>,
}

impl BackupSummary {
    pub fn of(backup: &Backup) -> BackupSummary {
        let marks = Mark::ALL.into_iter().filter_map(|mark| Some((mark, backup.mark(mark)?.into())));
        BackupSummary {
            name: backup.name().into(),
            uid: backup.metadata.uid.as_deref().map(Into::into),
            phase: backup.phase(),
            storage_location: backup.spec.storage_location.as_deref().map(Into::into),
            started: backup.started(),
            began: backup.status.start_timestamp.as_ref().map(to_chrono),
            completed: backup.status.completion_timestamp.as_ref().map(to_chrono),
            expiration: backup.expiration(),
            items_backed_up: backup.items_backed_up(),
            total_items: backup.status.progress.map_or(0, |progress| progress.total_items),
            warnings: backup.status.warnings,
            errors: backup.status.errors,
            marks: marks.collect(),
        }
    }

    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    pub fn storage_location(&self) -> Option<&str> {
        self.storage_location.as_deref()
    }

    /// When it began to run.
    pub fn began(&self) -> Option<DateTime<Utc>> {
        self.began
    }

    pub fn completed(&self) -> Option<DateTime<Utc>> {
        self.completed
    }

    pub fn total_items(&self) -> i64 {
        self.total_items
    }

    pub fn warnings(&self) -> i64 {
        self.warnings
    }

    pub fn errors(&self) -> i64 {
        self.errors
    }
}

impl Summarized for BackupSummary {
    fn name(&self) -> &str {
        &self.name
    }

    fn phase(&self) -> BackupPhase {
        self.phase
    }

    fn started(&self) -> Option<DateTime<Utc>> {
        self.started
    }

    fn expiration(&self) -> Option<DateTime<Utc>> {
        self.expiration
    }

    fn items_backed_up(&self) -> i64 {
        self.items_backed_up
    }

    fn mark(&self, mark: Mark) -> Option<&str> {
        self.marks.iter().find(|(candidate, _)| *candidate == mark).map(|(_, value)| value.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_summary_says_what_the_backup_says() {
        let marks: Vec<(&str, &str)> =
            Mark::ALL.map(|mark| mark.key().1).into_iter().zip(["v"; 12]).collect();
        let both: serde_json::Map<String, serde_json::Value> =
            marks.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let whole: Backup = serde_json::from_value(json!({
            "metadata": {
                "name": "b", "uid": "u", "labels": both, "annotations": both,
                "creationTimestamp": "2026-11-22T00:00:00Z",
            },
            "spec": {"storageLocation": "default"},
            "status": {
                "phase": "Completed", "startTimestamp": "2026-11-22T00:01:00Z",
                "completionTimestamp": "2026-11-22T00:02:00Z", "expiration": "2026-12-22T00:00:00Z",
                "progress": {"totalItems": 9, "itemsBackedUp": 8}, "errors": 3,
            },
        }))
        .unwrap();
        for backup in [whole, Backup::default()] {
            let summary = BackupSummary::of(&backup);
            assert_eq!(summary.name(), backup.name());
            assert_eq!(summary.phase(), backup.phase());
            assert_eq!(summary.started(), backup.started());
            assert_eq!(summary.expiration(), backup.expiration());
            assert_eq!(summary.items_backed_up(), backup.items_backed_up());
            for mark in Mark::ALL {
                assert_eq!(summary.mark(mark), backup.mark(mark), "{mark:?}");
            }
        }
    }
}
