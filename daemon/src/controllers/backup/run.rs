//! One run of a backup, from a claimed Backup in progress to its files in the bucket.
//!
//! Takes a validated Backup and an open store, gives how it ended. Everything but `velero-backup.json` is written by the
//! engine; that file, which makes a backup of the others, is written when the run's end was noted in the cluster.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast_policy::velero;
use holdfast_policy::velero::BackupPhase;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::causes::with_causes;
use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::controllers::stores::{Stores, reason};
use crate::controllers::watched::Watched;
use crate::engine::backup::{BackupRun, Outcome, Progress, leftovers, move_leftovers};
use crate::engine::data_moves::Waiting;
use crate::engine::pod_volumes::PodVolumes;
use crate::engine::{self, RunOptions};
use crate::hooks::Turns;
use crate::store::{self, BackupStore};

use super::decide::is_cancelled;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything but `velero-backup.json` is in the bucket.
    Done {
        outcome: Outcome,
    },
    Failed {
        reason: String,
    },
    /// It was asked to end, and left nothing in the bucket.
    Stopped,
    /// What an interrupted attempt left was cleared away, and there is no other.
    GivenUp,
}

/// How the writing of `velero-backup.json` ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    Written { at: DateTime<Utc> },
    NotWritten { reason: String },
}

/// Whether an earlier attempt may have left files behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    AfterRestart,
    /// The one that was interrupted was the last: only what it left is cleared away.
    None,
}

pub(super) struct Work {
    pub(super) backup: Arc<velero::Backup>,
    pub(super) location: Arc<velero::BackupStorageLocation>,
    pub(super) attempt: Attempt,
    pub(super) stores: Stores,
    pub(super) cluster: Cluster,
    pub(super) backups: Arc<Watched<velero::Backup>>,
    pub(super) clock: Clock,
    pub(super) turns: Turns,
    pub(super) options: RunOptions,
    pub(super) pod_volumes: PodVolumes,
}

/// How often the progress of a run is written into its status.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(work: Work, cancel: CancellationToken) -> End {
    if work.attempt == Attempt::None {
        return match cancel.run_until_cancelled(clear(&work)).await {
            Some(()) => End::GivenUp,
            None => End::Stopped,
        };
    }
    match attempt(&work, cancel.clone()).await {
        Err(_) if cancel.is_cancelled() => End::Stopped,
        Ok(end) => end,
        Err(reason) => End::Failed { reason },
    }
}

async fn attempt(work: &Work, cancel: CancellationToken) -> Result<End, String> {
    let name = work.backup.metadata.name.clone().unwrap_or_default();
    let store = work.stores.open(&work.location).await.map_err(|error| reason(&error))?;
    if work.attempt == Attempt::AfterRestart {
        clear_unfinished(&store, &name).await.map_err(|error| reason(&error))?;
        let cleared = engine::backup::clear_snapshots(work.cluster.client(), &work.backup).await;
        cleared.map_err(|error| reason(&error))?;
        clear_moves(work).await.map_err(|error| with_causes(&error))?;
        clear_volume_snapshots(work).await.map_err(|error| with_causes(&error))?;
    }
    if is_cancelled(&work.backup) {
        return Ok(End::Stopped);
    }
    let (progress, seen) = watch::channel(Progress::default());
    let engine = engine::backup::run(BackupRun {
        backup: work.backup.as_ref().clone(),
        cluster: work.cluster.clone(),
        store,
        clock: work.clock.clone(),
        progress,
        cancel,
        turns: work.turns.clone(),
        options: work.options,
        pod_volumes: work.pod_volumes.clone(),
    });
    let outcome = tokio::select! {
        outcome = engine => outcome.map_err(|error| reason(&error))?,
        never = show(&work.backups, &work.backup, seen) => match never {},
    };
    Ok(End::Done { outcome })
}

/// Without `velero-backup.json` what is in the folder is what our earlier attempt left.
async fn clear_unfinished(store: &BackupStore, name: &str) -> Result<(), store::Error> {
    match store.backup_exists(name).await? {
        true => Ok(()),
        false => store.delete_backup_folder(name).await,
    }
}

/// The interrupted attempt may have been about to have snapshots taken.
async fn clear_volume_snapshots(work: &Work) -> Result<(), leftovers::Error> {
    let uid = work.backup.metadata.uid.as_deref().unwrap_or_default();
    leftovers::clear(work.cluster.client(), uid).await
}

/// Likewise to have their data moved.
async fn clear_moves(work: &Work) -> Result<(), move_leftovers::Error> {
    if work.backup.spec.snapshot_move_data != Some(true) {
        return Ok(());
    }
    let uid = work.backup.metadata.uid.as_deref().unwrap_or_default();
    move_leftovers::clear(work.cluster.client(), &work.pod_volumes.namespace, uid).await
}

async fn clear(work: &Work) {
    let name = work.backup.metadata.name.as_deref().unwrap_or_default();
    let cleared = match work.stores.open(&work.location).await {
        Ok(store) => clear_unfinished(&store, name).await.map_err(|error| reason(&error)),
        Err(error) => Err(reason(&error)),
    };
    if let Err(error) = engine::backup::clear_snapshots(work.cluster.client(), &work.backup).await {
        let error = reason(&error);
        tracing::warn!(backup = name, error, "left snapshots of an interrupted backup");
    }
    if let Err(error) = clear_moves(work).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(backup = name, error, "left DataUploads of an interrupted backup");
    }
    if let Err(error) = clear_volume_snapshots(work).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(backup = name, error, "left VolumeSnapshots of an interrupted backup");
    }
    if let Err(error) = cleared {
        // Without its metadata file nothing takes it for a backup.
        tracing::warn!(backup = name, error, "left files of an interrupted backup in the bucket");
    }
}

/// Writes progress into the status for as long as the run lasts.
async fn show(
    backups: &Watched<velero::Backup>,
    backup: &velero::Backup,
    mut seen: watch::Receiver<Progress>,
) -> std::convert::Infallible {
    let name = backup.metadata.name.as_deref().unwrap_or_default();
    loop {
        tokio::time::sleep(PROGRESS_EVERY).await;
        if seen.changed().await.is_err() {
            // The engine has dropped its end and is about to return.
            std::future::pending::<()>().await;
        }
        let progress = *seen.borrow_and_update();
        let Some(before) = backups.get(name).filter(|now| now.metadata.uid == backup.metadata.uid) else {
            continue;
        };
        let mut after = before.as_ref().clone();
        after.status.progress = Some(velero::BackupProgress {
            total_items: progress.total as i64,
            items_backed_up: progress.done as i64,
        });
        let is_running = matches!(
            before.status_phase(),
            BackupPhase::InProgress
                | BackupPhase::WaitingForPluginOperations
                | BackupPhase::WaitingForPluginOperationsPartiallyFailed
        );
        if let Some(Waiting { attempted, ended, has_errors }) = progress.moves.filter(|_| is_running) {
            after.status.phase = Some(match has_errors {
                true => BackupPhase::WaitingForPluginOperationsPartiallyFailed,
                false => BackupPhase::WaitingForPluginOperations,
            });
            after.status.backup_item_operations_attempted = attempted as i64;
            after.status.backup_item_operations_completed = ended as i64;
        }
        if let Err(error) = backups.patch(&before, &after).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(backup = name, error, "progress not written");
        }
    }
}
