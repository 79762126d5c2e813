//! One run of a restore, from a claimed Restore in progress to its files in the bucket; and the removal of those files.

use std::sync::Arc;
use std::time::Duration;

use holdfast_policy::velero;
use holdfast_policy::velero::RestorePhase;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::cluster::Cluster;
use crate::controllers::stores::{Stores, reason};
use crate::controllers::watched::Watched;
use crate::engine::data_moves::Waiting;
use crate::engine::pod_volumes::PodVolumes;
use crate::engine::restore::{Outcome, Progress, RestoreRun, Timeouts};
use crate::engine::{self, RunOptions};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It went through.
    Done {
        outcome: Outcome,
    },
    /// The backup holds data that can't be restored; nothing was created.
    Refused {
        problems: Vec<String>,
    },
    Failed {
        reason: String,
    },
    /// It was asked to end.
    Stopped,
}

/// How the removal of a restore's files ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removal {
    Removed,
    NotRemoved { reason: String },
}

pub(super) struct Work {
    pub(super) restore: Arc<velero::Restore>,
    pub(super) backup: Arc<velero::Backup>,
    pub(super) location: Arc<velero::BackupStorageLocation>,
    pub(super) stores: Stores,
    pub(super) cluster: Cluster,
    pub(super) restores: Arc<Watched<velero::Restore>>,
    pub(super) clock: Clock,
    pub(super) timeouts: Timeouts,
    pub(super) pod_volumes: PodVolumes,
    pub(super) options: RunOptions,
}

/// How often the progress of a run is written into its status.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn run(work: Work, cancel: CancellationToken) -> End {
    match attempt(&work, cancel.clone()).await {
        Err(_) if cancel.is_cancelled() => End::Stopped,
        Ok(end) => end,
        Err(reason) => End::Failed { reason },
    }
}

async fn attempt(work: &Work, cancel: CancellationToken) -> Result<End, String> {
    let store = work.stores.open(&work.location).await.map_err(|error| reason(&error))?;
    let (progress, seen) = watch::channel(Progress::default());
    let engine = engine::restore::run(RestoreRun {
        restore: work.restore.as_ref().clone(),
        backup: work.backup.as_ref().clone(),
        cluster: work.cluster.clone(),
        store,
        clock: work.clock.clone(),
        progress,
        cancel,
        timeouts: work.timeouts,
        options: work.options,
        pod_volumes: work.pod_volumes.clone(),
    });
    let ended = tokio::select! {
        ended = engine => ended,
        never = show(&work.restores, &work.restore, seen) => match never {},
    };
    match ended {
        Ok(outcome) => Ok(End::Done { outcome }),
        Err(engine::restore::Error::Refused { problems }) => Ok(End::Refused { problems }),
        Err(error) => Err(reason(&error)),
    }
}

/// Writes progress into the status for as long as the run lasts.
async fn show(
    restores: &Watched<velero::Restore>,
    restore: &velero::Restore,
    mut seen: watch::Receiver<Progress>,
) -> std::convert::Infallible {
    let name = restore.metadata.name.as_deref().unwrap_or_default();
    loop {
        tokio::time::sleep(PROGRESS_EVERY).await;
        if seen.changed().await.is_err() {
            // The engine has dropped its end and is about to return.
            std::future::pending::<()>().await;
        }
        let progress = *seen.borrow_and_update();
        let Some(before) = restores.get(name).filter(|now| now.metadata.uid == restore.metadata.uid) else {
            continue;
        };
        let mut after = before.as_ref().clone();
        after.status.progress = Some(velero::RestoreProgress {
            total_items: progress.total as i64,
            items_restored: progress.done as i64,
        });
        let is_running = matches!(
            before.status_phase(),
            RestorePhase::InProgress
                | RestorePhase::WaitingForPluginOperations
                | RestorePhase::WaitingForPluginOperationsPartiallyFailed
        );
        if let Some(Waiting { attempted, ended, has_errors }) = progress.moves.filter(|_| is_running) {
            after.status.phase = Some(match has_errors {
                true => RestorePhase::WaitingForPluginOperationsPartiallyFailed,
                false => RestorePhase::WaitingForPluginOperations,
            });
            after.status.restore_item_operations_attempted = attempted as i64;
            after.status.restore_item_operations_completed = ended as i64;
        }
        if let Err(error) = restores.patch(&before, &after).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(restore = name, error, "progress not written");
        }
    }
}

/// Removes what the restore left in the bucket.
pub(super) async fn remove_files(
    name: String,
    location: Arc<velero::BackupStorageLocation>,
    stores: Stores,
    cancel: CancellationToken,
) -> Removal {
    let remove = async {
        let store = stores.open(&location).await.map_err(|error| reason(&error))?;
        store.delete_restore_folder(&name).await.map_err(|error| reason(&error))
    };
    tokio::select! {
        outcome = remove => match outcome {
            Ok(()) => Removal::Removed,
            Err(reason) => Removal::NotRemoved { reason },
        },
        () = cancel.cancelled() => Removal::NotRemoved { reason: "the daemon was stopped".to_owned() },
    }
}
