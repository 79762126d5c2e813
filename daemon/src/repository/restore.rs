//! One volume out of a repository, into a folder that may have files already: those of the snapshot are made as they are
//! there, others stay.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustic_core::repofile::{Node, NodeType, SnapshotFile};
use rustic_core::{LocalDestination, LsOptions, RestoreOptions};
use tokio_util::sync::CancellationToken;

use super::error::Cause;
use super::open::{Opened, Work};
use super::verify::Differences;
use super::{Error, Progress, Repository};

/// What is to be restored, and where.
#[derive(Debug, Clone)]
pub struct VolumeRestore {
    pub snapshot: String,
    pub folder: PathBuf,
    pub sparse: Sparse,
    pub progress: Progress,
    pub cancel: CancellationToken,
}

/// What becomes of blocks of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sparse {
    Holes,
    Written,
}

impl Repository {
    pub async fn restore(&self, restore: VolumeRestore) -> Result<(), Error> {
        let VolumeRestore { snapshot, folder, sparse, progress, cancel } = restore;
        self.work(Work { progress, cancel }, Error::Restore, move |opened| {
            let snapshot = find(&opened, &snapshot)?;
            let opened = opened.to_indexed().map_err(failed)?;
            let top = opened.node_from_snapshot_and_path(&snapshot, "").map_err(failed)?;
            let listed = opened.ls(&top, &LsOptions::default()).map_err(failed)?;
            for entry in listed.clone() {
                let (path, node) = entry.map_err(failed)?;
                make_way(&folder, &path, &node)?;
            }
            let target = folder.display().to_string();
            let destination = LocalDestination::new(&target, false, false).map_err(failed)?;
            // Names of users mean others on the node than in the pod; sizes and times may agree where contents don't.
            let mut options = RestoreOptions::default().numeric_id(true).verify_existing(true);
            options.sparse = match sparse {
                // The library has the type of this value for itself.
                Sparse::Holes => serde_json::from_value("ByContent".into()).ok(),
                Sparse::Written => None,
            };
            let plan =
                opened.prepare_restore(&options, listed.clone(), &destination, false).map_err(failed)?;
            opened.restore(plan, &options, listed.clone(), &destination).map_err(failed)?;
            // Owners, modes and links that could not be set are only logged by the library.
            let mut differences = Differences::default();
            for entry in listed {
                let (path, node) = entry.map_err(failed)?;
                differences.look(&folder.join(&path), &node);
            }
            differences.into_result()
        })
        .await
    }
}

pub(super) fn find(opened: &Opened, id: &str) -> Result<SnapshotFile, Error> {
    // A shortened ID might name another snapshot tomorrow.
    if id.len() != 64 || id.parse::<rustic_core::Id>().is_err() {
        return Err(Error::SnapshotId { text: id.to_owned() });
    }
    opened
        .get_snapshot_from_str(id, |_| true)
        .map_err(|error| Error::Snapshot { id: id.to_owned(), source: Cause::from(error) })
}

/// Removes what is of another kind than what the snapshot has there. Above all links: the library would write through
/// them, to wherever on the node they lead.
fn make_way(folder: &Path, path: &Path, node: &Node) -> Result<(), Error> {
    if !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(Error::Escape { path: path.to_owned() });
    }
    let full = folder.join(path);
    let in_the_way = |source| Error::InTheWay { path: path.to_owned(), source };
    let metadata = match std::fs::symlink_metadata(&full) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(in_the_way(error)),
    };
    let found = metadata.file_type();
    let same = match node.node_type {
        NodeType::Dir => found.is_dir(),
        // A file of several names is written once and linked then.
        NodeType::File => found.is_file() && node.meta.links <= 1 && metadata.nlink() == 1,
        // The library makes these, and never over one that is there.
        NodeType::Symlink { .. }
        | NodeType::Dev { .. }
        | NodeType::Chardev { .. }
        | NodeType::Fifo
        | NodeType::Socket => false,
    };
    if same {
        return Ok(());
    }
    // A folder with contents is not taken away for something that isn't one.
    let removed = if found.is_dir() { std::fs::remove_dir(&full) } else { std::fs::remove_file(&full) };
    removed.map_err(in_the_way)
}

fn failed(error: Box<rustic_core::RusticError>) -> Error {
    Error::Restore(Cause::from(error))
}
