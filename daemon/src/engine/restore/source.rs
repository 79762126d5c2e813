//! What a restore reads of its backup before anything is created: the archive, checked whole, and what became of
//! the volumes.
//!
//! In: the store and the backup's name. Out: an [`Index`] over one spool file, a first look into each object, the
//! volumes. A damaged archive is an error of the whole restore.

use holdfast_policy::velero::PodVolumeBackup;
use holdfast_policy::velero::labels::PVC_NAME;
use serde_json::Value;

use super::first_look::{Head, Kinds};
use super::run::place;
use super::selection::Details;
use super::versions::Choice;
use super::volumes::{PodVolumeInfo, VolumeInfo};
use crate::archive::{self, EntryProblem, Index, Kept, Limits, ProblemReason};
use crate::engine::native::SnapshotRecord;
use crate::store::{self, BackupFile, BackupStore};

/// Volume files name a handful of volumes each; this is room for a hundred thousand.
const LARGEST_VOLUME_FILE: u64 = 64 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("reading backup {backup} from the bucket failed")]
    Store { backup: String, source: store::Error },
    #[error("backup {backup} has no archive in the bucket")]
    NoArchive { backup: String },
    #[error("creating the spool file of the archive failed")]
    Spool(#[source] std::io::Error),
    #[error("archive of backup {backup} can't be restored")]
    Archive { backup: String, source: archive::Error },
    #[error("file {file:?} of backup {backup} can't be read")]
    File { backup: String, file: BackupFile, source: archive::Error },
    #[error("reading the spool file of the archive failed")]
    ReadSpool(#[source] archive::Error),
    #[error("indexing the archive ended before its time")]
    Interrupted,
}

/// An archive whose objects were looked into; those that can't be understood have no head.
pub(crate) struct Looked {
    pub(crate) index: Index,
    pub(crate) heads: Vec<Option<Head>>,
    pub(crate) kinds: Kinds,
}

/// Downloads the archive once and checks all of it; without a choice every item is what the source preferred.
pub(crate) async fn index(
    store: &BackupStore,
    backup: &str,
    asked: Details,
    choice: Option<Choice>,
) -> Result<Looked, Error> {
    let archive = store.read_archive(backup).await;
    let archive = archive.map_err(|source| Error::Store { backup: backup.to_owned(), source })?;
    let archive = archive.ok_or_else(|| Error::NoArchive { backup: backup.to_owned() })?;
    let spool = tempfile::tempfile().map_err(Error::Spool)?;
    let compression = archive.compression;
    let reader = archive.into_blocking_read();
    let owned_name = backup.to_owned();
    let looking = tokio::task::spawn_blocking(move || {
        let copies = if choice.is_some() { Kept::EveryVersion } else { Kept::One };
        let mut index = archive::index_copies(reader, compression, spool, Limits::default(), copies)
            .map_err(|source| Error::Archive { backup: owned_name, source })?;
        if let Some(choice) = choice {
            index.take_versions(&choice.choose(&index.twins));
        }
        first_look(index, &asked).map_err(Error::ReadSpool)
    });
    looking.await.map_err(|_| Error::Interrupted)?
}

/// Looks into every object; what can't be understood becomes a problem of its entry, and has no head.
fn first_look(mut index: Index, asked: &Details) -> Result<Looked, archive::Error> {
    let mut kinds = Kinds::default();
    let mut heads = Vec::with_capacity(index.items.len());
    let mut problems = Vec::new();
    for item in &index.items {
        let json = index.read(item)?;
        heads.push(match kinds.look_at(item, &json, asked) {
            Ok(head) => Some(head),
            Err(error) => {
                problems.push(EntryProblem {
                    entry: item.entry(None),
                    reason: ProblemReason::NotJson(error.to_string()),
                });
                None
            }
        });
    }
    index.problems.extend(problems);
    Ok(Looked { index, heads, kinds })
}

/// Positions of all objects, ordered by their place in the backup.
pub(crate) fn by_place(index: &Index) -> Vec<u32> {
    let mut positions: Vec<u32> = (0..u32::try_from(index.items.len()).unwrap_or(u32::MAX)).collect();
    positions.sort_unstable_by_key(|position| place(&index.items[*position as usize]));
    positions
}

/// The transfers of the backup's pod volumes, those that failed among them.
pub(crate) async fn pod_volumes(store: &BackupStore, backup: &str) -> Result<Vec<PodVolumeBackup>, Error> {
    Ok(file(store, backup, BackupFile::PodVolumeBackups).await?.unwrap_or_default())
}

/// The snapshots that providers' own interfaces made.
pub(crate) async fn native_snapshots(
    store: &BackupStore,
    backup: &str,
) -> Result<Vec<SnapshotRecord>, Error> {
    Ok(file(store, backup, BackupFile::VolumeSnapshots).await?.unwrap_or_default())
}

/// What the backup says of its volumes; backups before Velero 1.13 say it in two other files.
pub(crate) async fn volumes(store: &BackupStore, backup: &str) -> Result<Vec<VolumeInfo>, Error> {
    if let Some(volumes) = file::<Vec<VolumeInfo>>(store, backup, BackupFile::VolumeInfo).await? {
        return Ok(volumes);
    }
    let snapshots: Vec<Value> = file(store, backup, BackupFile::VolumeSnapshots).await?.unwrap_or_default();
    let files: Vec<Value> = file(store, backup, BackupFile::PodVolumeBackups).await?.unwrap_or_default();
    let files = files.iter().filter(|file| is_complete(file)).map(of_pod_volume_backup);
    Ok(snapshots.iter().map(of_snapshot).chain(files).collect())
}

async fn file<T: serde::de::DeserializeOwned>(
    store: &BackupStore,
    backup: &str,
    file: BackupFile,
) -> Result<Option<T>, Error> {
    let packed = store.get_backup_file(backup, file).await;
    let packed = packed.map_err(|source| Error::Store { backup: backup.to_owned(), source })?;
    let Some(packed) = packed else { return Ok(None) };
    archive::gunzip_json::<Option<T>>(&packed, LARGEST_VOLUME_FILE).map_err(|source| Error::File {
        backup: backup.to_owned(),
        file,
        source,
    })
}

fn of_snapshot(snapshot: &Value) -> VolumeInfo {
    VolumeInfo {
        pv_name: text(snapshot, "/spec/persistentVolumeName"),
        backup_method: "NativeSnapshot".to_owned(),
        ..VolumeInfo::default()
    }
}

fn is_complete(backup: &Value) -> bool {
    text(backup, "/status/phase") == "Completed" && !text(backup, "/status/snapshotID").is_empty()
}

/// The name of the persistent volume is not told: it is found by its claim.
fn of_pod_volume_backup(backup: &Value) -> VolumeInfo {
    let annotations = backup.pointer("/metadata/annotations");
    let claim = annotations.and_then(|annotations| annotations.get(PVC_NAME)).and_then(Value::as_str);
    let namespace = text(backup, "/spec/pod/namespace");
    let in_its_pod =
        || format!("{namespace}/{}/{}", text(backup, "/spec/pod/name"), text(backup, "/spec/volume"));
    VolumeInfo {
        pvc_name: claim.unwrap_or_default().to_owned(),
        pv_name: claim.map_or_else(in_its_pod, |claim| format!("{namespace}/{claim}")),
        pvc_namespace: namespace,
        backup_method: "PodVolumeBackup".to_owned(),
        pvb_info: Some(PodVolumeInfo {
            uploader_type: text(backup, "/spec/uploaderType"),
            pod_namespace: text(backup, "/spec/pod/namespace"),
        }),
        ..VolumeInfo::default()
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
