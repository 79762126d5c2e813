//! Whether a restored file is as the snapshot has it, but for its content, which has its own check.

use std::path::Path;

use rustic_core::repofile::{Node, NodeType};
use rustix::fs::{FileType, Stat};

use super::super::Error;
use super::attributes::{PERMISSIONS, mode};

#[derive(Debug, Default)]
pub(super) struct Differences {
    count: usize,
    first: Option<String>,
}

impl Differences {
    pub(super) fn add(&mut self, path: &Path, difference: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| format!("{} ({difference})", path.display()));
    }

    pub(super) fn into_result(self) -> Result<(), Error> {
        match self.first {
            None => Ok(()),
            Some(first) => Err(Error::Differs { count: self.count, first }),
        }
    }
}

pub(super) fn compare(found: &Stat, node: &Node) -> Result<(), String> {
    let kind = FileType::from_raw_mode(found.st_mode);
    if kind != kind_of(node) {
        return Err("another kind of file".to_owned());
    }
    if kind == FileType::RegularFile && u64::try_from(found.st_size) != Ok(node.meta.size) {
        return Err(format!("{} bytes instead of {}", found.st_size, node.meta.size));
    }
    let owner = (found.st_uid, found.st_gid);
    let wanted = (node.meta.uid.unwrap_or(owner.0), node.meta.gid.unwrap_or(owner.1));
    if owner != wanted {
        return Err(format!("owner {}:{} instead of {}:{}", owner.0, owner.1, wanted.0, wanted.1));
    }
    let has = found.st_mode & PERMISSIONS;
    match mode(node).filter(|_| kind != FileType::Symlink) {
        Some(wanted) if wanted.bits() != has => Err(format!("mode {has:o} instead of {:o}", wanted.bits())),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn kind_of(node: &Node) -> FileType {
    match node.node_type {
        NodeType::File => FileType::RegularFile,
        NodeType::Dir => FileType::Directory,
        NodeType::Symlink { .. } => FileType::Symlink,
        NodeType::Dev { .. } => FileType::BlockDevice,
        NodeType::Chardev { .. } => FileType::CharacterDevice,
        NodeType::Fifo => FileType::Fifo,
        NodeType::Socket => FileType::Socket,
    }
}
