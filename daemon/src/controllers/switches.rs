//! Which controllers run: the names that Velero gives them, and what is off. Pure.
//!
//! Holdfast cuts its controllers otherwise: one of ours may do the work of several of Velero's, and then it leaves alone
//! the phases that belong to those which are off.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use holdfast_policy::velero::{BackupPhase, RestorePhase};

/// A controller as Velero names it. The one of locations can't be disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    BackupQueue,
    Backup,
    BackupOperations,
    BackupDeletion,
    BackupFinalizer,
    BackupSync,
    DownloadRequest,
    Gc,
    BackupRepo,
    Restore,
    RestoreOperations,
    Schedule,
    ServerStatusRequest,
    RestoreFinalizer,
}

/// Whether the daemon only brings back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    BackupAndRestore,
    RestoreOnly,
}

/// The controllers that are off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switches {
    off: BTreeSet<Name>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("there is no controller {name:?}: known are {}", Name::ALL.map(Name::as_str).join(", "))]
    Unknown { name: String },
    #[error("controller {name} is disabled twice")]
    Repeated { name: Name },
    #[error("controller {name} is disabled by --restore-only already")]
    RestoreOnly { name: Name },
}

impl Name {
    pub const ALL: [Self; 14] = [
        Self::BackupQueue,
        Self::Backup,
        Self::BackupOperations,
        Self::BackupDeletion,
        Self::BackupFinalizer,
        Self::BackupSync,
        Self::DownloadRequest,
        Self::Gc,
        Self::BackupRepo,
        Self::Restore,
        Self::RestoreOperations,
        Self::Schedule,
        Self::ServerStatusRequest,
        Self::RestoreFinalizer,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::BackupQueue => "backup-queue",
            Self::Backup => "backup",
            Self::BackupOperations => "backup-operations",
            Self::BackupDeletion => "backup-deletion",
            Self::BackupFinalizer => "backup-finalizer",
            Self::BackupSync => "backup-sync",
            Self::DownloadRequest => "download-request",
            Self::Gc => "gc",
            Self::BackupRepo => "backup-repo",
            Self::Restore => "restore",
            Self::RestoreOperations => "restore-operations",
            Self::Schedule => "schedule",
            Self::ServerStatusRequest => "server-status-request",
            Self::RestoreFinalizer => "restore-finalizer",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| Error::Unknown { name: text.to_owned() })
    }
}

/// What a daemon that only brings back leaves to others.
const OFF_WHEN_RESTORING_ONLY: [Name; 6] = [
    Name::Backup,
    Name::BackupDeletion,
    Name::BackupFinalizer,
    Name::BackupOperations,
    Name::Gc,
    Name::Schedule,
];

impl Switches {
    pub fn new(disabled: &[Name], purpose: Purpose) -> Result<Self, Error> {
        let by_purpose: BTreeSet<Name> = match purpose {
            Purpose::BackupAndRestore => BTreeSet::new(),
            Purpose::RestoreOnly => OFF_WHEN_RESTORING_ONLY.into(),
        };
        let mut off = by_purpose.clone();
        for &name in disabled {
            if by_purpose.contains(&name) {
                return Err(Error::RestoreOnly { name });
            }
            if !off.insert(name) {
                return Err(Error::Repeated { name });
            }
        }
        Ok(Switches { off })
    }

    pub fn is_on(&self, name: Name) -> bool {
        !self.off.contains(&name)
    }

    /// Phases of Backups that nobody works on.
    pub fn backups_left_alone(&self) -> BTreeSet<BackupPhase> {
        self.left_alone(BackupPhase::ALL, worker_of_backup)
    }

    /// Phases of Restores that nobody works on.
    pub fn restores_left_alone(&self) -> BTreeSet<RestorePhase> {
        self.left_alone(RestorePhase::ALL, worker_of_restore)
    }

    fn left_alone<Phase: Copy + Ord>(
        &self,
        phases: &[Phase],
        worker: fn(Phase) -> Option<Name>,
    ) -> BTreeSet<Phase> {
        let is_off = |phase: &Phase| worker(*phase).is_some_and(|name| !self.is_on(name));
        phases.iter().copied().filter(is_off).collect()
    }
}

fn worker_of_backup(phase: BackupPhase) -> Option<Name> {
    match phase {
        BackupPhase::New | BackupPhase::Queued => Some(Name::BackupQueue),
        // What a run waits for, it waits for itself.
        BackupPhase::ReadyToStart
        | BackupPhase::InProgress
        | BackupPhase::WaitingForPluginOperations
        | BackupPhase::WaitingForPluginOperationsPartiallyFailed => Some(Name::Backup),
        BackupPhase::Finalizing | BackupPhase::FinalizingPartiallyFailed => Some(Name::BackupFinalizer),
        BackupPhase::FailedValidation
        | BackupPhase::Completed
        | BackupPhase::PartiallyFailed
        | BackupPhase::Failed
        | BackupPhase::Deleting => None,
    }
}

fn worker_of_restore(phase: RestorePhase) -> Option<Name> {
    match phase {
        RestorePhase::New
        | RestorePhase::InProgress
        | RestorePhase::WaitingForPluginOperations
        | RestorePhase::WaitingForPluginOperationsPartiallyFailed => Some(Name::Restore),
        RestorePhase::Finalizing | RestorePhase::FinalizingPartiallyFailed => Some(Name::RestoreFinalizer),
        // A finished one comes back when it is deleted: its files are the restore controller's.
        RestorePhase::FailedValidation
        | RestorePhase::Completed
        | RestorePhase::PartiallyFailed
        | RestorePhase::Failed => Some(Name::Restore),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_velero_s_and_others_are_refused() {
        for name in Name::ALL {
            assert_eq!(name.as_str().parse(), Ok(name));
        }
        let error = "backup-storage-location".parse::<Name>().unwrap_err().to_string();
        assert!(
            error.starts_with("there is no controller \"backup-storage-location\": known are"),
            "{error}"
        );
    }

    #[test]
    fn a_controller_is_disabled_once() {
        use Purpose::{BackupAndRestore, RestoreOnly};
        let off = |disabled: &[Name], purpose| Switches::new(disabled, purpose).map(|switches| switches.off);
        assert_eq!(off(&[Name::Gc], BackupAndRestore), Ok(BTreeSet::from([Name::Gc])));
        assert_eq!(
            off(&[Name::Gc, Name::Restore, Name::Gc], BackupAndRestore),
            Err(Error::Repeated { name: Name::Gc })
        );
        assert_eq!(off(&[Name::Gc], RestoreOnly), Err(Error::RestoreOnly { name: Name::Gc }));
        assert!(off(&[Name::BackupSync], RestoreOnly).unwrap().contains(&Name::BackupSync));
    }

    #[test]
    fn a_daemon_that_only_restores_queues_backups_and_starts_none() {
        let switches = Switches::new(&[], Purpose::RestoreOnly).unwrap();
        let left = switches.backups_left_alone();
        assert!(!left.contains(&BackupPhase::New) && !left.contains(&BackupPhase::Queued));
        assert!(left.contains(&BackupPhase::ReadyToStart) && left.contains(&BackupPhase::Finalizing));
        assert!(switches.restores_left_alone().is_empty());
        assert!(switches.is_on(Name::BackupSync) && !switches.is_on(Name::Schedule));
    }
}
