//! The files of a volume as the library reads them. It leaves out what it cannot read and only logs it; here that is
//! remembered, so that a snapshot never lacks a file in silence.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustic_core::{
    Excludes, LocalSource, LocalSourceFilterOptions, LocalSourceSaveOptions, ReadSource, ReadSourceEntry,
    ReadSourceOpen, RusticError, RusticResult,
};

use super::error::Cause;

type Entry = ReadSourceEntry<<LocalSource as ReadSource>::Open>;

/// Everything below a folder.
pub(super) struct Source {
    files: LocalSource,
    unread: Unread,
}

/// What could not be read.
#[derive(Debug, Clone, Default)]
pub(super) struct Unread(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    count: usize,
    first: Option<String>,
}

pub(super) struct Entries {
    entries: <LocalSource as ReadSource>::Iter,
    unread: Unread,
}

pub(super) struct Open {
    path: PathBuf,
    open: <LocalSource as ReadSource>::Open,
    unread: Unread,
}

pub(super) struct Reader {
    path: PathBuf,
    reader: std::fs::File,
    unread: Unread,
}

impl Source {
    pub(super) fn new(folder: &Path, unread: Unread) -> RusticResult<Self> {
        let files = LocalSource::new(
            LocalSourceSaveOptions::default(),
            &Excludes::default(),
            &LocalSourceFilterOptions::default(),
            &[folder],
        )?;
        Ok(Self { files, unread })
    }
}

impl Unread {
    pub(super) fn found(&self) -> Option<(usize, String)> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.first.clone().map(|first| (found.count, first))
    }

    fn add(&self, what: String) {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        found.count += 1;
        found.first.get_or_insert(what);
    }
}

impl ReadSource for Source {
    type Open = Open;
    type Iter = Entries;

    fn size(&self) -> RusticResult<Option<u64>> {
        self.files.size()
    }

    fn entries(&self) -> Entries {
        Entries { entries: self.files.entries(), unread: self.unread.clone() }
    }
}

impl Iterator for Entries {
    type Item = RusticResult<ReadSourceEntry<Open>>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.entries.next()?.map(|entry| self.remembering(entry)).inspect_err(|error| {
            // Deleted between the look at its folder and the look at itself: it isn't part of the volume any more.
            if !is_gone(error) {
                self.unread.add(Cause::of(error).to_string());
            }
        }))
    }
}

impl Entries {
    fn remembering(&self, entry: Entry) -> ReadSourceEntry<Open> {
        let Entry { path, node, open } = entry;
        let open = open.map(|open| Open { path: path.clone(), open, unread: self.unread.clone() });
        ReadSourceEntry { path, node, open }
    }
}

impl ReadSourceOpen for Open {
    type Reader = Reader;

    fn open(self) -> RusticResult<Reader> {
        let Self { path, open, unread } = self;
        match open.open() {
            Ok(reader) => Ok(Reader { path, reader, unread }),
            Err(error) => {
                if !is_gone(&error) {
                    unread.add(Cause::of(&error).to_string());
                }
                Err(error)
            }
        }
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.unread.add(format!("{}: {error}", self.path.display()));
            }
        })
    }
}

fn is_gone(error: &RusticError) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return true;
        }
        cause = error.source();
    }
    false
}
