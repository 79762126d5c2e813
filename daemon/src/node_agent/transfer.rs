//! One transfer from its begin to its end: finds the volume's folder and the repository, moves the files, and tells how
//! far it is meanwhile.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use holdfast_policy::velero;
use holdfast_policy::velero::DataPathProgress;
use kube::Client;
use tokio_util::sync::CancellationToken;

use super::task::Task;
use super::{done_file, volume};
use crate::clock::Clock;
use crate::controllers::stores::{self, Stores};
use crate::controllers::watched::Watched;
use crate::engine::repositories::{self, Key, pruning, secret};
use crate::repository::{
    self, Progress, Repository, Snapshot, Sparse, Tags, Transferred, VolumeBackup, VolumeRestore,
};

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    BackedUp {
        snapshot: Snapshot,
        folder: PathBuf,
    },
    Restored {
        transferred: Transferred,
    },
    Failed {
        reason: String,
    },
    /// It was asked to end.
    Stopped,
}

/// Whether an earlier process may have left a snapshot that nobody noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    Again,
}

pub(super) struct Work {
    pub(super) task: Task,
    pub(super) attempt: Attempt,
    pub(super) location: Arc<velero::BackupStorageLocation>,
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) clock: Clock,
    pub(super) pods: PathBuf,
    pub(super) stores: Stores,
    pub(super) backups: Arc<Watched<velero::PodVolumeBackup>>,
    pub(super) restores: Arc<Watched<velero::PodVolumeRestore>>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Volume(#[from] volume::Error),
    #[error("cannot open the location")]
    Open(#[from] stores::Error),
    #[error(transparent)]
    Store(#[from] crate::store::Error),
    #[error(transparent)]
    Password(#[from] secret::SecretError),
    #[error(transparent)]
    Repository(#[from] repository::Error),
    #[error("cannot learn whether the repository is being tidied up")]
    Pruning(#[from] repositories::Error),
    #[error("cannot tell the pod that its volume is complete")]
    Done(#[source] std::io::Error),
    #[error("the restore that it belongs to is not known")]
    NoRestore,
}

const PROGRESS_EVERY: Duration = Duration::from_secs(2);

pub(super) async fn run(work: Work, cancel: CancellationToken) -> End {
    let progress = Progress::default();
    let moved = cancel.run_until_cancelled(move_files(&work, &progress, &cancel));
    let ended = tokio::select! {
        moved = moved => moved,
        never = tell(&work, &progress) => match never {},
    };
    match ended {
        None => End::Stopped,
        Some(Ok(end)) => end,
        Some(Err(Error::Repository(repository::Error::Cancelled))) => End::Stopped,
        Some(Err(error)) => End::Failed { reason: stores::reason(&error) },
    }
}

async fn move_files(work: &Work, progress: &Progress, cancel: &CancellationToken) -> Result<End, Error> {
    let folder = volume::folder(&work.client, &work.pods, work.task.pod(), work.task.volume()).await?;
    let store = work.stores.open(&work.location).await?;
    let password = secret::read_password(&work.client, &work.namespace).await?;
    let repository = Repository::new(store.restic_repository(work.task.volume_namespace())?, password);
    // It is in progress by now, which keeps others from beginning to delete data that it may count on.
    let key = Key {
        volume_namespace: work.task.volume_namespace().to_owned(),
        location: work.task.location().to_owned(),
    };
    pruning::wait_until_over(&work.client, &work.namespace, &key, &work.clock).await?;
    let (progress, cancel) = (progress.clone(), cancel.clone());
    match &work.task {
        Task::Backup(backup) => {
            let tags = Tags::new(backup.spec.tags.clone());
            if work.attempt == Attempt::Again {
                repository.forget_all(&tags).await?;
            }
            let read = VolumeBackup { folder: folder.clone(), tags, progress, cancel };
            let snapshot = repository.backup(read).await?;
            Ok(End::BackedUp { snapshot, folder })
        }
        Task::Restore(restore) => {
            let owner =
                restore.metadata.labels.as_ref().and_then(|labels| labels.get(velero::labels::RESTORE_UID));
            let owner = owner.ok_or(Error::NoRestore)?;
            let holes =
                restore.spec.uploader_settings.get("WriteSparseFiles").is_some_and(|value| value == "true");
            let written = VolumeRestore {
                snapshot: restore.spec.snapshot_id.clone(),
                folder: folder.clone(),
                sparse: if holes { Sparse::Holes } else { Sparse::Written },
                progress: progress.clone(),
                cancel,
            };
            repository.restore(written).await?;
            done_file::write(&folder, owner).map_err(Error::Done)?;
            Ok(End::Restored { transferred: progress.read() })
        }
    }
}

/// Writes progress into the status for as long as the transfer lasts.
async fn tell(work: &Work, progress: &Progress) -> std::convert::Infallible {
    let mut told = Transferred::default();
    loop {
        tokio::time::sleep(PROGRESS_EVERY).await;
        let now = progress.read();
        if now == told {
            continue;
        }
        told = now;
        if let Err(error) = write(work, now).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(name = work.task.name(), error, "progress not written");
        }
    }
}

async fn write(work: &Work, now: Transferred) -> Result<(), crate::controllers::watched::Error> {
    let name = work.task.name();
    match &work.task {
        Task::Backup(_) => {
            let Some(before) = work.backups.get(&name) else { return Ok(()) };
            let mut after = before.as_ref().clone();
            after.status.progress = in_status(now);
            work.backups.patch(&before, &after).await.map(drop)
        }
        Task::Restore(_) => {
            let Some(before) = work.restores.get(&name) else { return Ok(()) };
            let mut after = before.as_ref().clone();
            after.status.progress = in_status(now);
            work.restores.patch(&before, &after).await.map(drop)
        }
    }
}

pub(super) fn in_status(transferred: Transferred) -> DataPathProgress {
    let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    DataPathProgress { total_bytes: signed(transferred.total), bytes_done: signed(transferred.done) }
}
