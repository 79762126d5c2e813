//! The end of a backup: the metadata file that makes a backup of what is in its folder, written last. When it is there, the
//! VolumeSnapshots of the backup leave the cluster; the snapshots themselves stay with their storage.

use std::sync::Arc;

use holdfast_policy::time::from_chrono;
use holdfast_policy::velero;
use holdfast_policy::velero::BackupPhase;
use tokio_util::sync::CancellationToken;

use crate::causes::with_causes;
use crate::clock::Clock;
use crate::controllers::stores::{Stores, reason};
use crate::engine::backup::leftovers;
use crate::store::Write;

use super::run::Completion;

pub(super) struct Work {
    pub(super) backup: Arc<velero::Backup>,
    pub(super) location: Arc<velero::BackupStorageLocation>,
    pub(super) stores: Stores,
    pub(super) client: kube::Client,
    pub(super) clock: Clock,
}

pub(super) async fn run(work: Work, cancel: CancellationToken) -> Completion {
    tokio::select! {
        completion = write(&work) => completion,
        () = cancel.cancelled() => Completion::NotWritten { reason: "the daemon was stopped".to_owned() },
    }
}

async fn write(work: &Work) -> Completion {
    let at = (work.clock)();
    let backup = completed(&work.backup, at);
    let store = match work.stores.open(&work.location).await {
        Ok(store) => store,
        Err(error) => return Completion::NotWritten { reason: reason(&error) },
    };
    // Overwrites what this backup wrote itself when the daemon ended before it could note that.
    if let Err(error) = store.put_backup(&backup, Write::Overwrite).await {
        return Completion::NotWritten { reason: reason(&error) };
    }
    match release_snapshots(work).await {
        Ok(()) => Completion::Written { at },
        // A VolumeSnapshot that stays would take the data along when its namespace is deleted: it is tried again.
        Err(error) => Completion::NotWritten { reason: with_causes(&error) },
    }
}

async fn release_snapshots(work: &Work) -> Result<(), leftovers::Error> {
    if work.backup.status.csi_volume_snapshots_attempted == 0 {
        return Ok(());
    }
    leftovers::release(&work.client, work.backup.metadata.uid.as_deref().unwrap_or_default()).await
}

/// The backup as it is once it has ended.
pub(super) fn completed(backup: &velero::Backup, at: chrono::DateTime<chrono::Utc>) -> velero::Backup {
    let mut completed = backup.clone();
    let phase = match backup.status_phase() {
        BackupPhase::FinalizingPartiallyFailed => BackupPhase::PartiallyFailed,
        BackupPhase::Finalizing => BackupPhase::Completed,
        phase @ (BackupPhase::WaitingForPluginOperations
        | BackupPhase::WaitingForPluginOperationsPartiallyFailed
        | BackupPhase::New
        | BackupPhase::Queued
        | BackupPhase::ReadyToStart
        | BackupPhase::FailedValidation
        | BackupPhase::InProgress
        | BackupPhase::Completed
        | BackupPhase::PartiallyFailed
        | BackupPhase::Failed
        | BackupPhase::Deleting) => phase,
    };
    completed.status.phase = Some(phase);
    completed.status.completion_timestamp = Some(from_chrono(at));
    completed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_with_errors_ends_partially_failed() {
        let at = "2026-11-23T10:05:00Z".parse().unwrap();
        for (phase, end) in [
            (BackupPhase::Finalizing, BackupPhase::Completed),
            (BackupPhase::FinalizingPartiallyFailed, BackupPhase::PartiallyFailed),
        ] {
            let mut backup = velero::Backup::new("a", velero::BackupSpec::default());
            backup.status.phase = Some(phase);
            let completed = completed(&backup, at);
            assert_eq!(completed.status.phase, Some(end));
            assert_eq!(completed.status.completion_timestamp, Some(from_chrono(at)));
        }
    }
}
