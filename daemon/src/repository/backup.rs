//! One volume into a repository.

use std::path::PathBuf;

use rustic_core::repofile::SnapshotFile;
use rustic_core::{BackupOptions, SnapshotOptions};
use tokio_util::sync::CancellationToken;

use super::error::Cause;
use super::open::{Opened, Work};
use super::source::{Source, Unread};
use super::{Error, Progress, Repository, Tags};

/// Velero's, for all nodes: a volume that moves to another node is the same volume.
const HOST: &str = "velero";
/// What is below the volume's folder stands at the top of the snapshot, as restores of Velero's expect it.
const TOP: &str = "/";

/// What is to be read, and as what.
#[derive(Debug, Clone)]
pub struct VolumeBackup {
    pub folder: PathBuf,
    pub tags: Tags,
    pub progress: Progress,
    pub cancel: CancellationToken,
}

/// A snapshot that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub id: String,
    /// Of all files.
    pub bytes: u64,
    /// That the repository did not have.
    pub added_bytes: u64,
}

impl Repository {
    /// Reads all files, or leaves no snapshot.
    pub async fn backup(&self, backup: VolumeBackup) -> Result<Snapshot, Error> {
        let VolumeBackup { folder, tags, progress, cancel } = backup;
        let work = Work { progress, cancel };
        self.work(work, Error::Backup, move |opened| {
            // An unreadable top would be an empty snapshot.
            std::fs::read_dir(&folder)
                .and_then(|mut entries| entries.next().transpose())
                .map_err(|source| Error::Folder { path: folder.clone(), source })?;
            let parent = parent(&opened, &tags).map_err(Error::Backup)?;
            let unread = Unread::default();
            let source = Source::new(&folder, unread.clone()).map_err(failed)?;
            let snapshot = describe(&tags)?;
            let mut options = BackupOptions::default().as_path(PathBuf::from(TOP));
            options.parent_opts.force = parent.is_none();
            options.parent_opts.parents = parent.into_iter().collect();
            let indexed = opened.to_indexed_ids().map_err(failed)?;
            let made = indexed.archive(&options, &source, snapshot, &[folder]).map_err(failed)?;
            if let Some((count, first)) = unread.found() {
                indexed.delete_snapshots(&[made.id]).map_err(failed)?;
                return Err(Error::Unreadable { count, first });
            }
            Ok(Snapshot::of(&made))
        })
        .await
    }
}

impl Snapshot {
    fn of(made: &SnapshotFile) -> Self {
        let (bytes, added_bytes) =
            made.summary.as_ref().map_or((0, 0), |it| (it.total_bytes_processed, it.data_added));
        Self { id: made.id.to_hex().to_string(), bytes, added_bytes }
    }
}

fn describe(tags: &Tags) -> Result<SnapshotFile, Error> {
    let mut snapshot = SnapshotOptions::default().host(HOST.to_owned()).to_snapshot().map_err(failed)?;
    for tag in tags.texts() {
        snapshot.tags.add(tag);
    }
    Ok(snapshot)
}

/// The newest snapshot of the volume: files that are as it has them are not read again.
fn parent(opened: &Opened, tags: &Tags) -> Result<Option<String>, Cause> {
    let volume = tags.of_the_volume();
    let same = |snapshot: &SnapshotFile| {
        snapshot.paths.contains(TOP) && volume.iter().all(|tag| snapshot.tags.contains(tag))
    };
    let snapshots = opened.get_matching_snapshots(same)?;
    let newest = snapshots.into_iter().max_by(|a, b| a.time.cmp(&b.time));
    Ok(newest.map(|snapshot| snapshot.id.to_hex().to_string()))
}

fn failed(error: Box<rustic_core::RusticError>) -> Error {
    Error::Backup(Cause::from(error))
}
