//! Provider `local`: hostPath and local volumes, copied file by file into a folder of the machine, or one that is mounted there.
//!
//! The copies are in a repository of restic's format below `config.path`: compressed with zstd, deduplicated by content, and
//! encrypted with the password of volume data. `config.root` is where the daemon sees the node's file system (default `/`),
//! `config.node` the node that it is of, which a cluster of several nodes needs.
//!
//! A copy is not of one instant: what writes meanwhile is to be held still by hooks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use holdfast_policy::velero::BackupStorageLocationSpec;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    BACKUP_TAG, BACKUP_UID_TAG, Binding, Error, Needs, Opening, Provider, Snapshotter, Subject, VOLUME_TAG,
    VolumeFacts, VolumeSnapshotter, Wanted,
};
use crate::causes::with_causes;
use crate::repository::{self, Deletion, Progress, Repository, Sparse, Tags, VolumeBackup, VolumeRestore};
use crate::store::{BackupStore, LocationSettings};

mod affinity;
mod folder;
mod lock;
mod target;

use folder::Owner;
use lock::{Hold, Lock};
use target::Target;

pub(super) const PROVIDER: Provider = Provider {
    name: "local",
    keys: &["path", "root", "node"],
    needs: Needs::PasswordAndNodes,
    may_take: |volume| path_of(volume).is_some(),
    open,
};

/// No namespace's name, so that it is no repository of pods' volumes either.
const REPOSITORY: &str = "local.volumes";
const VOLUME_TYPE: &str = "local";

/// Copying takes some hundred MiB of memory.
static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);

struct Local {
    root: PathBuf,
    node: Option<String>,
    nodes: BTreeSet<String>,
    repository: Repository,
    lock: Lock,
}

fn open(opening: Opening) -> BoxFuture<'static, Result<Snapshotter, Error>> {
    Box::pin(async move {
        let path = absolute(&opening, "path")?
            .ok_or_else(|| Error("spec.config lacks the key \"path\"".to_owned()))?;
        let root = absolute(&opening, "root")?.unwrap_or_else(|| PathBuf::from("/"));
        let (Some(above), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Err(Error(format!("spec.config.path {} is no folder of its own", path.display())));
        };
        let mut spec = BackupStorageLocationSpec { provider: "local".to_owned(), ..Default::default() };
        spec.object_storage.bucket = name.to_owned();
        spec.config = BTreeMap::from([("path".to_owned(), above.display().to_string())]);
        let settings = LocationSettings::parse(&opening.name, &spec, None, None);
        let settings = settings.map_err(|error| Error(error.to_string()))?;
        // It is never created: a mount that is missing must be noticed.
        let store = BackupStore::open(&settings).await.map_err(|error| Error(error.with_causes()))?;
        let folder = store.restic_repository(REPOSITORY).map_err(|error| Error(error.with_causes()))?;
        let password = opening.password.clone();
        let password = password.ok_or_else(|| Error("there is no password of volume data".to_owned()))?;
        let snapshotter: Snapshotter = Arc::new(Local {
            root,
            node: opening.text("node").map(str::to_owned),
            nodes: opening.nodes,
            repository: Repository::new(folder, password),
            lock: Lock::new(&path),
        });
        Ok(snapshotter)
    })
}

fn absolute(opening: &Opening, key: &str) -> Result<Option<PathBuf>, Error> {
    match opening.text(key).map(PathBuf::from) {
        Some(path) if !path.is_absolute() => {
            Err(Error(format!("spec.config.{key} is {}, but has to be an absolute path", path.display())))
        }
        other => Ok(other),
    }
}

#[async_trait]
impl VolumeSnapshotter for Local {
    fn volume_id(&self, volume: &Value) -> Result<Option<String>, Error> {
        let Some(path) = path_of(volume) else { return Ok(None) };
        if volume.pointer("/spec/volumeMode").and_then(Value::as_str) == Some("Block") {
            return Err(Error(format!("{path} is a block device: only folders are copied")));
        }
        affinity::check(volume, self.node.as_deref(), &self.nodes)?;
        Ok(Some(path.to_owned()))
    }

    fn set_volume_id(&self, volume: &mut Value, id: &str) -> Result<(), Error> {
        for pointer in ["/spec/hostPath/path", "/spec/local/path"] {
            if let Some(path) = volume.pointer_mut(pointer) {
                *path = Value::String(id.to_owned());
                return Ok(());
            }
        }
        Err(Error("the PersistentVolume is neither a hostPath nor a local one".to_owned()))
    }

    async fn facts(&self, _subject: &Subject) -> Result<VolumeFacts, Error> {
        Ok(VolumeFacts { volume_type: VOLUME_TYPE.to_owned(), iops: None })
    }

    async fn create_snapshot(&self, subject: &Subject, binding: &Binding) -> Result<String, Error> {
        let found = folder::of(&self.root, &subject.volume)?;
        let owner = Owner::of(&found)?;
        let _turn = turn().await?;
        if !self.repository.exists().await.map_err(said)? {
            let _alone = self.lock.hold(Hold::Alone).await?;
            self.repository.create().await.map_err(said)?;
        }
        let _shared = self.lock.hold(Hold::Shared).await?;
        let tags = tags(binding);
        let made = self.repository.backup(VolumeBackup {
            folder: found,
            tags: Tags::new(tags.into_iter().chain(owner.tags()).collect()),
            progress: Progress::default(),
            cancel: CancellationToken::new(),
        });
        Ok(made.await.map_err(said)?.id)
    }

    async fn wait(&self, _snapshot: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn create_volume(&self, wanted: &Wanted) -> Result<String, Error> {
        let _turn = turn().await?;
        let _shared = self.lock.hold(Hold::Shared).await?;
        let tags = Tags::new(tags(&wanted.binding));
        let found = self.repository.tags_of(&wanted.snapshot, &tags).await.map_err(said)?;
        let target = Target::choose(&self.root, &wanted.subject.volume, &wanted.token)?;
        let Some(place) = target.begin()? else { return Ok(target.path()) };
        let restored = self.repository.restore(VolumeRestore {
            snapshot: wanted.snapshot.clone(),
            folder: place.to_owned(),
            sparse: Sparse::Written,
            progress: Progress::default(),
            cancel: CancellationToken::new(),
        });
        let restored = restored.await.map_err(said);
        let finished =
            restored.and_then(|()| Owner::from_tags(&found)?.give(&place)).and_then(|()| target.finish());
        if let Err(error) = finished {
            target.give_up();
            return Err(error);
        }
        Ok(target.path())
    }

    async fn delete_all_of(&self, backup_uid: &str) -> Result<(), Error> {
        let _turn = turn().await?;
        if !self.repository.exists().await.map_err(said)? {
            return Ok(());
        }
        {
            let _shared = self.lock.hold(Hold::Shared).await?;
            let forgotten = self.repository.forget_tagged(BACKUP_UID_TAG, backup_uid).await.map_err(said)?;
            if forgotten == 0 {
                return Ok(());
            }
        }
        self.prune().await
    }

    async fn delete_snapshot(&self, snapshot: &str, binding: &Binding) -> Result<(), Error> {
        let _turn = turn().await?;
        let tags = Tags::new(tags(binding));
        let _shared = self.lock.hold(Hold::Shared).await?;
        match self.repository.forget(snapshot, &tags).await {
            // With the repository the snapshot is gone, too.
            Ok(_) | Err(repository::Error::Missing { .. }) => Ok(()),
            Err(error) => Err(said(error)),
        }
    }

    async fn tidy(&self) -> Result<(), Error> {
        let _turn = turn().await?;
        match self.repository.exists().await.map_err(said)? {
            true => self.prune().await,
            false => Ok(()),
        }
    }
}

impl Local {
    /// Removes the data that no snapshot needs.
    async fn prune(&self) -> Result<(), Error> {
        match self.lock.try_alone().await? {
            Some(_alone) => self.repository.prune(Deletion::Now).await.map_err(said),
            // Somebody copies or restores: the next deletion removes this one's data, too.
            None => Ok(()),
        }
    }
}

fn path_of(volume: &Value) -> Option<&str> {
    let path = |pointer: &str| volume.pointer(pointer).and_then(Value::as_str);
    path("/spec/hostPath/path").or_else(|| path("/spec/local/path"))
}

fn tags(binding: &Binding) -> BTreeMap<String, String> {
    let Binding { backup, backup_uid, volume, labels: _ } = binding;
    let tags = [(BACKUP_TAG, backup), (BACKUP_UID_TAG, backup_uid), (VOLUME_TAG, volume)];
    tags.into_iter().map(|(key, value)| (key.to_owned(), value.clone())).collect()
}

async fn turn() -> Result<tokio::sync::SemaphorePermit<'static>, Error> {
    ONE_AT_A_TIME.acquire().await.map_err(|error| Error(error.to_string()))
}

fn said(error: repository::Error) -> Error {
    Error(with_causes(&error))
}

/// Where the daemon sees a path of the node.
fn seen(root: &Path, path: &str) -> Result<PathBuf, Error> {
    let inside = Path::new(path);
    let plain = inside.is_absolute()
        && inside
            .components()
            .all(|part| matches!(part, std::path::Component::RootDir | std::path::Component::Normal(_)));
    match inside.strip_prefix("/") {
        Ok(inside) if plain => Ok(root.join(inside)),
        Ok(_) | Err(_) => Err(Error(format!("{path} is no absolute path without `..`"))),
    }
}

#[cfg(test)]
mod tests;
