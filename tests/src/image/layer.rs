//! One layer: files and folders as a tar whose bytes depend on nothing else.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

/// What lies where; paths are relative to the root.
pub(super) struct Layer {
    entries: BTreeMap<String, Entry>,
}

enum Entry {
    Folder { mode: u32 },
    File { content: Vec<u8>, mode: u32 },
}

impl Layer {
    pub(super) fn new() -> Layer {
        Layer { entries: BTreeMap::new() }
    }

    pub(super) fn folder(&mut self, path: &str, mode: u32) {
        self.entries.insert(path.to_owned(), Entry::Folder { mode });
    }

    /// The folders above it come along.
    pub(super) fn file(&mut self, path: &str, content: &[u8], mode: u32) {
        for folder in Path::new(path).ancestors().skip(1).filter(|folder| *folder != Path::new("")) {
            let folder = folder.display().to_string();
            self.entries.entry(folder).or_insert(Entry::Folder { mode: 0o755 });
        }
        self.entries.insert(path.to_owned(), Entry::File { content: content.to_vec(), mode });
    }

    /// Sorted by path, owned by root, of 1970.
    pub(super) fn tar(&self) -> anyhow::Result<Vec<u8>> {
        let mut archive = Builder::new(Vec::new());
        for (path, entry) in &self.entries {
            let mut header = Header::new_gnu();
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            let appended = match entry {
                Entry::Folder { mode } => {
                    header.set_entry_type(EntryType::Directory);
                    header.set_size(0);
                    header.set_mode(*mode);
                    archive.append_data(&mut header, format!("{path}/"), std::io::empty())
                }
                Entry::File { content, mode } => {
                    header.set_size(content.len() as u64);
                    header.set_mode(*mode);
                    archive.append_data(&mut header, path, content.as_slice())
                }
            };
            appended.with_context(|| format!("adding {path} to a layer"))?;
        }
        archive.into_inner().context("ending a layer")
    }
}

/// Without a name and a time in its head.
pub(super) fn gzip(bytes: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut encoder: GzEncoder<Vec<u8>> = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).context("compressing a layer")
}
