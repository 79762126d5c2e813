//! Which backups a location's bucket has and the cluster lacks, and which Backups have lost their files. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use holdfast_policy::annotations::LOCATION_ID;
use holdfast_policy::duration::GoDuration;
use holdfast_policy::time::to_chrono;
use holdfast_policy::velero;
use holdfast_policy::velero::{BackupPhase, LocationPhase, labels};

/// Where no marker tells that the bucket is the one it was, what is missing has to be missing for this long.
pub const SECOND_LOOK: Duration = Duration::minutes(10);

/// When a location is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    Now,
    At(DateTime<Utc>),
    /// `backupSyncPeriod` is zero.
    Never,
    /// It can't be reached.
    Unavailable,
}

/// What a look into the bucket found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Folders below `backups/`.
    pub folders: BTreeSet<String>,
    /// The id of the marker, if there is one.
    pub marker: Option<String>,
}

/// A Backup of the cluster, as it was before the bucket was listed: what ended since may have been listed too early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub location_label: Option<String>,
    pub phase: BackupPhase,
}

/// Everything that decides what a look leads to.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    pub location: &'a velero::BackupStorageLocation,
    pub look: Look,
    pub known: BTreeMap<String, Known>,
    /// Folders that were read and hold nothing to bring in, until when they are left alone.
    pub left_alone: BTreeMap<String, DateTime<Utc>>,
    /// Since when each Backup has been seen without files, in a place without a marker.
    pub missing_since: BTreeMap<String, DateTime<Utc>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Folders to read.
    pub read: Vec<String>,
    /// Backups whose files are gone.
    pub remove: Vec<String>,
    /// Why Backups without files stay, and which these are.
    pub brake: Option<Brake>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brake {
    pub reason: Reason,
    pub backups: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The marker that was there is not there any more.
    MarkerGone { expected: String },
    /// The marker is another place's.
    OtherMarker { expected: String, found: String },
    /// There never was a marker.
    SecondLook { at: DateTime<Utc> },
}

/// What is done with a backup that was read from the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it is.
    Import,
    /// It was left half done and has expired: brought in so that it is removed.
    ImportAsPartiallyFailed,
    Skip {
        phase: BackupPhase,
    },
}

pub fn turn(location: &velero::BackupStorageLocation, default: GoDuration, now: DateTime<Utc>) -> Turn {
    let period = match location.spec.backup_sync_period {
        Some(own) if own.is_zero() => return Turn::Never,
        Some(own) if !own.is_negative() => own,
        Some(_) | None => default,
    };
    match location.status.phase {
        Some(LocationPhase::Available) => (),
        Some(LocationPhase::Unavailable) | None => return Turn::Unavailable,
    }
    let Some(last) = location.status.last_synced_time.as_ref().map(to_chrono) else { return Turn::Now };
    let due = last + period.to_chrono();
    // A look noted by a clock that was ahead must not put off the next.
    if due <= now || last > now + period.to_chrono() { Turn::Now } else { Turn::At(due) }
}

pub fn decide(observed: &Observed<'_>, now: DateTime<Utc>) -> Plan {
    let Observed { location, look, known, left_alone, missing_since } = observed;
    let read = look.folders.iter().filter(|folder| {
        !known.contains_key(*folder) && left_alone.get(*folder).is_none_or(|until| *until <= now)
    });
    let read = read.cloned().collect();
    let missing = missing(observed);
    if missing.is_empty() {
        return Plan { read, ..Plan::default() };
    }
    let annotations = location.metadata.annotations.as_ref();
    let expected = annotations.and_then(|annotations| annotations.get(LOCATION_ID)).cloned();
    let brake = |reason, backups| Plan {
        read: Vec::clone(&read),
        remove: vec![],
        brake: Some(Brake { reason, backups }),
    };
    match (expected, look.marker.clone()) {
        (Some(expected), None) => brake(Reason::MarkerGone { expected }, missing),
        (Some(expected), Some(found)) if expected != found => {
            brake(Reason::OtherMarker { expected, found }, missing)
        }
        (Some(_), Some(_)) => Plan { read, remove: missing, brake: None },
        (None, _) => {
            let since = |backup: &String| missing_since.get(backup).copied().unwrap_or(now);
            let (remove, wait): (Vec<_>, Vec<_>) =
                missing.into_iter().partition(|backup| since(backup) + SECOND_LOOK <= now);
            let at = wait.iter().map(|backup| since(backup) + SECOND_LOOK).min();
            let brake = at.map(|at| Brake { reason: Reason::SecondLook { at }, backups: wait });
            Plan { read, remove, brake }
        }
    }
}

/// Backups of this location that ended well enough to have files, and have none. Others may never have had any.
pub fn missing(observed: &Observed<'_>) -> Vec<String> {
    let name = observed.location.metadata.name.as_deref().unwrap_or_default();
    let label = labels::short_name(name);
    let is_missing = |(backup, known): &(&String, &Known)| {
        known.location_label.as_deref() == Some(&label)
            && had_files(known.phase)
            && !observed.look.folders.contains(*backup)
    };
    observed.known.iter().filter(is_missing).map(|(backup, _)| backup.clone()).collect()
}

fn had_files(phase: BackupPhase) -> bool {
    match phase {
        BackupPhase::Completed | BackupPhase::PartiallyFailed => true,
        BackupPhase::New
        | BackupPhase::Queued
        | BackupPhase::ReadyToStart
        | BackupPhase::FailedValidation
        | BackupPhase::InProgress
        | BackupPhase::WaitingForPluginOperations
        | BackupPhase::WaitingForPluginOperationsPartiallyFailed
        | BackupPhase::Finalizing
        | BackupPhase::FinalizingPartiallyFailed
        | BackupPhase::Failed
        | BackupPhase::Deleting => false,
    }
}

/// By the phase that the bucket's copy of a Backup has.
pub fn judge(backup: &velero::Backup, now: DateTime<Utc>) -> Verdict {
    let phase = backup.status_phase();
    let expired = backup.status.expiration.as_ref().is_some_and(|at| to_chrono(at) <= now);
    match phase {
        BackupPhase::Completed | BackupPhase::PartiallyFailed | BackupPhase::Failed => Verdict::Import,
        BackupPhase::WaitingForPluginOperations
        | BackupPhase::WaitingForPluginOperationsPartiallyFailed
        | BackupPhase::Finalizing
        | BackupPhase::FinalizingPartiallyFailed
            if expired =>
        {
            Verdict::ImportAsPartiallyFailed
        }
        BackupPhase::WaitingForPluginOperations
        | BackupPhase::WaitingForPluginOperationsPartiallyFailed
        | BackupPhase::Finalizing
        | BackupPhase::FinalizingPartiallyFailed
        | BackupPhase::New
        | BackupPhase::Queued
        | BackupPhase::ReadyToStart
        | BackupPhase::FailedValidation
        | BackupPhase::InProgress
        | BackupPhase::Deleting => Verdict::Skip { phase },
    }
}

impl std::fmt::Display for Brake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.backups.len();
        let first = self.backups.first().map_or("none", String::as_str);
        write!(f, "{count} backups of the cluster have no files in the bucket (first {first}), and stay: ")?;
        match &self.reason {
            Reason::MarkerGone { expected } => write!(
                f,
                "the bucket has lost its marker {expected}. If it was emptied or changed on purpose, remove the \
                 annotation {LOCATION_ID} of the location"
            ),
            Reason::OtherMarker { expected, found } => write!(
                f,
                "the bucket has the marker {found} and not {expected}: it is another. If that is meant, remove the \
                 annotation {LOCATION_ID} of the location"
            ),
            Reason::SecondLook { at } => write!(
                f,
                "the bucket has no marker that tells it from another, so they are looked for again at {}",
                at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
            ),
        }
    }
}

#[cfg(test)]
mod tests;
