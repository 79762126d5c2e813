//! Whether a restored file is as the snapshot has it, but for its content, which the library checks itself.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustic_core::repofile::{Node, NodeType};

use super::Error;

const PERMISSIONS: u32 = 0o777;

#[derive(Debug, Default)]
pub(super) struct Differences {
    count: usize,
    first: Option<String>,
}

impl Differences {
    pub(super) fn look(&mut self, path: &Path, node: &Node) {
        if let Err(difference) = compare(path, node) {
            self.count += 1;
            self.first.get_or_insert(format!("{} ({difference})", path.display()));
        }
    }

    pub(super) fn into_result(self) -> Result<(), Error> {
        match self.first {
            None => Ok(()),
            Some(first) => Err(Error::Differs { count: self.count, first }),
        }
    }
}

fn compare(path: &Path, node: &Node) -> Result<(), String> {
    let found = std::fs::symlink_metadata(path).map_err(|error| error.to_string())?;
    let kind = found.file_type();
    let same_kind = match &node.node_type {
        NodeType::File => kind.is_file(),
        NodeType::Dir => kind.is_dir(),
        NodeType::Symlink { .. } => kind.is_symlink(),
        NodeType::Dev { .. } => kind.is_block_device(),
        NodeType::Chardev { .. } => kind.is_char_device(),
        NodeType::Fifo => kind.is_fifo(),
        NodeType::Socket => kind.is_socket(),
    };
    if !same_kind {
        return Err("another kind of file".to_owned());
    }
    if kind.is_file() && found.len() != node.meta.size {
        return Err(format!("{} bytes instead of {}", found.len(), node.meta.size));
    }
    let owner = (found.uid(), found.gid());
    let wanted = (node.meta.uid.unwrap_or(owner.0), node.meta.gid.unwrap_or(owner.1));
    if owner != wanted {
        return Err(format!("owner {}:{} instead of {}:{}", owner.0, owner.1, wanted.0, wanted.1));
    }
    let mode = node.meta.mode.filter(|_| !kind.is_symlink()).map(|mode| mode & PERMISSIONS);
    if let Some(mode) = mode
        && mode != found.mode() & PERMISSIONS
    {
        return Err(format!("mode {:o} instead of {mode:o}", found.mode() & PERMISSIONS));
    }
    Ok(())
}
