//! One volume out of a repository, into a folder that may have files already: those of the snapshot are made as they are
//! there, others stay.
//!
//! Three passes: over the snapshot's tree, to make folders and way and to learn what is to be read; over the packs, for the
//! contents of files; and over the tree again, for what has no content, and for owners, modes and times.

mod attributes;
mod contents;
mod differences;
mod plan;
mod target;
mod unpack;

use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustic_core::repofile::{Node, NodeType, SnapshotFile};
use rustic_core::{Id, LsOptions};
use tokio_util::sync::CancellationToken;

pub use self::unpack::Damage;

use self::contents::Contents;
use self::differences::{Differences, kind_of};
use self::plan::{Content, Piece, Place, Plan};
use self::target::{Spot, Target, Walk};
use super::backend::Backend;
use super::error::Cause;
use super::open::{Opened, Work};
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

/// Files of several names are one on their device.
type Inode = (u64, u64);

type Indexed = rustic_core::Repository<rustic_core::IndexedFullStatus>;

/// What the first pass leaves for the others.
#[derive(Default)]
struct Survey {
    plan: Plan,
    /// The first name of each file that has several.
    names: HashMap<Inode, PathBuf>,
}

impl Repository {
    pub async fn restore(&self, restore: VolumeRestore) -> Result<(), Error> {
        let VolumeRestore { snapshot, folder, sparse, progress, cancel } = restore;
        let counted = progress.clone();
        self.work_on(Work { progress, cancel }, Error::Restore, move |opened, backend| {
            let snapshot = find(&opened, &snapshot)?;
            let opened = opened.to_indexed().map_err(failed)?;
            let target = Target::open(&folder).map_err(|source| Error::Folder { path: folder, source })?;
            let top = opened.node_from_snapshot_and_path(&snapshot, "").map_err(failed)?;
            let mut survey = Survey::default();
            let mut walk = target.walk();
            for entry in opened.ls(&top, &LsOptions::default()).map_err(failed)? {
                let (path, node) = entry.map_err(failed)?;
                survey.take(&opened, &mut walk, &path, &node, &counted)?;
            }
            let Survey { mut plan, names } = survey;
            write_contents(&opened, &backend, &target, &mut plan, sparse, &counted)?;
            drop(plan);
            let listed = opened.ls(&top, &LsOptions::default()).map_err(failed)?;
            finish(listed.map(|entry| entry.map_err(failed)), &target, &names)
        })
        .await
    }
}

pub(super) fn find(opened: &Opened, id: &str) -> Result<SnapshotFile, Error> {
    // A shortened ID might name another snapshot tomorrow.
    if id.len() != 64 || id.parse::<Id>().is_err() {
        return Err(Error::SnapshotId { text: id.to_owned() });
    }
    opened
        .get_snapshot_from_str(id, |_| true)
        .map_err(|error| Error::Snapshot { id: id.to_owned(), source: Cause::from(error) })
}

impl Survey {
    fn take(
        &mut self,
        opened: &Indexed,
        walk: &mut Walk<'_>,
        path: &Path,
        node: &Node,
        progress: &Progress,
    ) -> Result<(), Error> {
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(Error::Escape { path: path.to_owned() });
        }
        let in_the_way = |source| Error::InTheWay { path: path.to_owned(), source };
        let written = |source| Error::Write { path: path.to_owned(), source };
        let spot = walk.to(path).map_err(in_the_way)?;
        let stays = make_way(spot, node).map_err(in_the_way)?;
        match node.node_type {
            NodeType::Dir if !stays => spot.make_folder().map_err(written),
            NodeType::File => {
                if let Some(inode) = inode(node) {
                    if self.names.contains_key(&inode) {
                        return Ok(());
                    }
                    self.names.insert(inode, path.to_owned());
                }
                self.add_file(opened, spot, path, node, progress)
            }
            NodeType::Dir
            | NodeType::Symlink { .. }
            | NodeType::Dev { .. }
            | NodeType::Chardev { .. }
            | NodeType::Fifo
            | NodeType::Socket => Ok(()),
        }
    }

    /// What of the file is there already is not read again: an earlier attempt may have come this far.
    fn add_file(
        &mut self,
        opened: &Indexed,
        spot: Spot<'_>,
        path: &Path,
        node: &Node,
        progress: &Progress,
    ) -> Result<(), Error> {
        let written = |source| Error::Write { path: path.to_owned(), source };
        progress.expect(node.meta.size);
        let before = match spot.look().map_err(written)? {
            Some(found) if u64::try_from(found.st_size) == Ok(node.meta.size) && found.st_size > 0 => {
                Some(spot.read().map_err(written)?.0)
            }
            Some(_) => spot.write_anew().map(|_| None).map_err(written)?,
            None if node.meta.size == 0 => spot.write_anew().map(|_| None).map_err(written)?,
            None => None,
        };
        let file = self.plan.files.len();
        let mut start = 0;
        let mut buffer = Vec::new();
        for id in node.content.iter().flatten() {
            let entry = opened.get_index_entry(id).map_err(failed)?;
            let length = entry.data_length();
            let there = before.as_ref().is_some_and(|before| {
                buffer.resize(length as usize, 0);
                before.read_exact_at(&mut buffer, start).is_ok() && unpack::is(&buffer, **id)
            });
            if there {
                progress.add(u64::from(length));
            } else {
                let place = Place {
                    pack: self.plan.pack(entry.pack),
                    offset: entry.location.offset,
                    length: entry.location.length,
                    unpacked: entry.location.uncompressed_length,
                };
                self.plan.pieces.push(Piece { place, file, start, id: **id });
            }
            start += u64::from(length);
        }
        self.plan.files.push(Content {
            path: path.to_owned(),
            size: node.meta.size,
            blank: before.is_none(),
        });
        Ok(())
    }
}

/// Removes what is of another kind than what the snapshot has there, links above all. Says whether something stays.
fn make_way(spot: Spot<'_>, node: &Node) -> std::io::Result<bool> {
    let Some(found) = spot.look()? else { return Ok(false) };
    let stays = match node.node_type {
        NodeType::Dir => target::is_folder(&found),
        // A file of several names is written once and linked then.
        NodeType::File => target::is_file(&found) && node.meta.links <= 1 && found.st_nlink == 1,
        // These are made, and never over one that is there.
        NodeType::Symlink { .. }
        | NodeType::Dev { .. }
        | NodeType::Chardev { .. }
        | NodeType::Fifo
        | NodeType::Socket => false,
    };
    if !stays {
        spot.remove(&found)?;
    }
    Ok(stays)
}

fn inode(node: &Node) -> Option<Inode> {
    let several = node.node_type == NodeType::File && node.meta.links > 1;
    let inode = (node.meta.device_id, node.meta.inode);
    (several && inode.0 != 0 && inode.1 != 0).then_some(inode)
}

fn write_contents(
    opened: &Indexed,
    backend: &Arc<Backend>,
    target: &Target,
    plan: &mut Plan,
    sparse: Sparse,
    progress: &Progress,
) -> Result<(), Error> {
    let cipher = unpack::cipher(&opened.key()).map_err(Error::Key)?;
    let reads = plan.reads();
    let (plan, reads, source) = (&*plan, reads.as_slice(), &**backend);
    Contents { plan, reads, source, cipher, target, sparse, progress }.write()
}

/// The last pass. A folder's own comes behind that of everything in it, which changes its time.
fn finish(
    listed: impl Iterator<Item = Result<(PathBuf, Node), Error>>,
    target: &Target,
    names: &HashMap<Inode, PathBuf>,
) -> Result<(), Error> {
    let mut differences = Differences::default();
    let mut folders = Vec::new();
    let (mut walk, mut other_walk) = (target.walk(), target.walk());
    for entry in listed {
        let (path, node) = entry?;
        let first = inode(&node).and_then(|inode| names.get(&inode)).filter(|first| **first != path);
        let done = match (kind_of(&node), first) {
            (rustix::fs::FileType::Directory, _) => {
                folders.push((path, node));
                continue;
            }
            (_, Some(first)) => link(&mut walk, &path, &mut other_walk, first),
            (rustix::fs::FileType::RegularFile, None) => finish_file(&mut walk, &path, &node),
            (_, None) => walk
                .to(&path)
                .map_err(|error| error.to_string())
                .and_then(|spot| attributes::make(spot, &node)),
        };
        if let Err(difference) = done {
            differences.add(&path, &difference);
        }
    }
    for (path, node) in folders.iter().rev() {
        if let Err(difference) = finish_folder(&mut walk, path, node) {
            differences.add(path, &difference);
        }
    }
    differences.into_result()
}

fn link(walk: &mut Walk<'_>, path: &Path, other: &mut Walk<'_>, first: &Path) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    other.to(first).map_err(text)?.link_as(walk.to(path).map_err(text)?).map_err(text)
}

fn finish_file(walk: &mut Walk<'_>, path: &Path, node: &Node) -> Result<(), String> {
    let (file, found) = walk.to(path).and_then(Spot::read).map_err(|error| error.to_string())?;
    attributes::of_opened(file, &found, node)
}

fn finish_folder(walk: &mut Walk<'_>, path: &Path, node: &Node) -> Result<(), String> {
    let (folder, found) = walk.to(path).and_then(Spot::read_folder).map_err(|error| error.to_string())?;
    attributes::of_opened(folder, &found, node)
}

fn failed(error: Box<rustic_core::RusticError>) -> Error {
    Error::Restore(Cause::from(error))
}
