//! The storage behind the driver: volumes and snapshots as folders, with what is known of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;

use super::grpc::{Code, Status};

mod groups;

pub(super) use groups::Group;

/// What a volume has that asks for none.
const DEFAULT_BYTES: i64 = 1 << 20;
/// More than anybody has.
const LARGEST_BYTES: i64 = 1 << 40;

/// A snapshot as the storage knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub id: String,
    pub name: String,
    /// Id of the volume.
    pub source: String,
    pub bytes: i64,
    pub is_ready: bool,
    pub created: i64,
    /// Id of the group that it was taken with.
    pub group: Option<String>,
}

/// What is wrong with the snapshots of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They are cut, and cannot be used yet.
    NotReady,
    /// They cannot be cut, for this reason.
    Refused(String),
    /// They are cut only when so many of volumes with this fault are asked for at the same time.
    OnlyTogether(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Volume {
    pub(super) id: String,
    pub(super) bytes: i64,
    /// Id of the snapshot or volume that it was made from.
    pub(super) origin: Option<Origin>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Snapshot(String),
    Volume(String),
}

pub(super) struct State {
    directory: PathBuf,
    content: Mutex<Content>,
    /// Somebody has come to wait for others.
    together: Condvar,
}

/// How long one waits for others.
const TOGETHER_WITHIN: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Content {
    /// By the name that was asked for.
    volumes: BTreeMap<String, Volume>,
    snapshots: BTreeMap<String, Snapshot>,
    /// Ids of groups, likewise.
    groups: BTreeMap<String, String>,
    /// By id of the volume.
    faults: BTreeMap<String, Fault>,
    waiting: usize,
}

impl Content {
    fn is_ready(&self, volume: &str) -> bool {
        self.faults.get(volume) != Some(&Fault::NotReady)
    }
}

impl State {
    pub(super) fn new(directory: &Path) -> anyhow::Result<State> {
        for folder in ["volumes", "snapshots"] {
            std::fs::create_dir(directory.join(folder)).context("creating a folder of the driver")?;
        }
        Ok(State { directory: directory.to_owned(), content: Mutex::default(), together: Condvar::new() })
    }

    pub(super) fn snapshots(&self) -> Vec<Snapshot> {
        let content = self.content();
        let ready = |snapshot: &Snapshot| Snapshot {
            is_ready: content.is_ready(&snapshot.source),
            ..snapshot.clone()
        };
        content.snapshots.values().map(ready).collect()
    }

    pub(super) fn volumes(&self) -> Vec<String> {
        self.content().volumes.values().map(|volume| volume.id.clone()).collect()
    }

    pub(super) fn set_fault(&self, volume: &str, fault: Option<Fault>) {
        let mut content = self.content();
        match fault {
            Some(fault) => content.faults.insert(volume.to_owned(), fault),
            None => content.faults.remove(volume),
        };
    }

    pub(super) fn has_volume(&self, id: &str) -> bool {
        self.content().volumes.values().any(|volume| volume.id == id)
    }

    pub(super) fn volume_folder(&self, id: &str) -> PathBuf {
        self.directory.join("volumes").join(id)
    }

    pub(super) fn create_volume(
        &self,
        name: &str,
        required: i64,
        limit: i64,
        origin: Option<Origin>,
    ) -> Result<Volume, Status> {
        let mut content = self.content();
        if let Some(found) = content.volumes.get(name) {
            let fits =
                found.bytes >= required && (limit == 0 || found.bytes <= limit) && found.origin == origin;
            return match fits {
                true => Ok(found.clone()),
                false => Err(Status::new(Code::AlreadyExists, format!("volume {name} is another one"))),
            };
        }
        let folder = match &origin {
            None => None,
            Some(Origin::Snapshot(id)) => {
                content.snapshots.values().find(|snapshot| snapshot.id == *id).ok_or_else(|| missing(id))?;
                Some(self.directory.join("snapshots").join(id))
            }
            Some(Origin::Volume(id)) => {
                content.volumes.values().find(|volume| volume.id == *id).ok_or_else(|| missing(id))?;
                Some(self.volume_folder(id))
            }
        };
        if required > LARGEST_BYTES {
            return Err(Status::new(Code::InvalidArgument, "there is not so much room"));
        }
        let id = format!("vol-{}", uuid::Uuid::new_v4());
        let volume =
            Volume { id: id.clone(), bytes: required.max(DEFAULT_BYTES.min(limit_or(limit))), origin };
        fill(&self.volume_folder(&id), folder.as_deref())?;
        content.volumes.insert(name.to_owned(), volume.clone());
        Ok(volume)
    }

    pub(super) fn delete_volume(&self, id: &str) -> Result<(), Status> {
        let mut content = self.content();
        content.volumes.retain(|_, volume| volume.id != id);
        remove(&self.volume_folder(id))
    }

    pub(super) fn create_snapshot(&self, name: &str, source: &str) -> Result<Snapshot, Status> {
        let mut content = self.content();
        match content.faults.get(source).cloned() {
            Some(Fault::Refused(reason)) => return Err(Status::new(Code::Internal, reason)),
            Some(Fault::OnlyTogether(number)) => content = self.wait_for_others(content, number)?,
            Some(Fault::NotReady) | None => {}
        }
        let is_ready = content.is_ready(source);
        if let Some(found) = content.snapshots.get(name) {
            return match found.source == source {
                true => Ok(Snapshot { is_ready, ..found.clone() }),
                false => {
                    Err(Status::new(Code::AlreadyExists, format!("snapshot {name} is of another volume")))
                }
            };
        }
        self.copy(&mut content, name, source, None)
    }

    /// Copies what a volume holds.
    fn copy(
        &self,
        content: &mut Content,
        name: &str,
        source: &str,
        group: Option<String>,
    ) -> Result<Snapshot, Status> {
        let is_ready = content.is_ready(source);
        let volume = content.volumes.values().find(|volume| volume.id == source);
        let bytes = volume.ok_or_else(|| missing(source))?.bytes;
        let id = format!("snap-{}", uuid::Uuid::new_v4());
        fill(&self.directory.join("snapshots").join(&id), Some(&self.volume_folder(source)))?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let snapshot = Snapshot {
            id,
            name: name.to_owned(),
            source: source.to_owned(),
            bytes,
            is_ready,
            created: i64::try_from(since.as_secs()).unwrap_or_default(),
            group,
        };
        content.snapshots.insert(name.to_owned(), snapshot.clone());
        Ok(snapshot)
    }

    fn wait_for_others<'a>(
        &'a self,
        mut content: MutexGuard<'a, Content>,
        number: usize,
    ) -> Result<MutexGuard<'a, Content>, Status> {
        content.waiting += 1;
        self.together.notify_all();
        let alone = |content: &mut Content| content.waiting < number;
        let waited = self.together.wait_timeout_while(content, TOGETHER_WITHIN, alone);
        let (content, end) = waited.unwrap_or_else(PoisonError::into_inner);
        match end.timed_out() {
            true => Err(Status::new(Code::Aborted, "nobody else has asked for a snapshot")),
            false => Ok(content),
        }
    }

    pub(super) fn delete_snapshot(&self, id: &str) -> Result<(), Status> {
        let mut content = self.content();
        if content.snapshots.values().any(|snapshot| snapshot.id == id && snapshot.group.is_some()) {
            return Err(Status::new(
                Code::InvalidArgument,
                format!("snapshot {id} goes with its group only"),
            ));
        }
        content.snapshots.retain(|_, snapshot| snapshot.id != id);
        remove(&self.directory.join("snapshots").join(id))
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn limit_or(limit: i64) -> i64 {
    if limit == 0 { i64::MAX } else { limit }
}

fn missing(id: &str) -> Status {
    Status::new(Code::NotFound, format!("there is no {id}"))
}

/// Makes a folder with what another one holds.
fn fill(folder: &Path, from: Option<&Path>) -> Result<(), Status> {
    let failed = |error: String| Status::new(Code::Internal, error);
    std::fs::create_dir(folder).map_err(|error| failed(error.to_string()))?;
    let Some(from) = from else { return Ok(()) };
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(folder).stdin(Stdio::null()).status();
    match copied {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("copying {} failed ({status})", from.display()))),
        Err(error) => Err(failed(format!("running cp: {error}"))),
    }
}

fn remove(folder: &Path) -> Result<(), Status> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Status::new(Code::Internal, error.to_string()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
