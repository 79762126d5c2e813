//! The index of an archive: one pass over the whole stream, plain copies into one spool file, everything else checked and
//! left behind.
//!
//! In: a stream that nobody vouches for. Out: the items that hold together, and what is wrong with the other entries; or the
//! reason why the archive as a whole can't be used. Nothing is ever unpacked to a path.

mod twins;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use holdfast_policy::compression::Compression;

use super::agreement::{self, shortened};
use super::path::{EntryPath, Form, Location};
use super::problem::{EntryProblem, ProblemReason};
use super::tar_stream::{EntryKind, Limits, TarStream};
use super::{Damage, Error};

pub use twins::{StoredVersions, Twins};

use twins::Twin;

/// An entry's content stays in memory while it is checked; the buffer of a large one is not kept for the next.
const KEPT_BUFFER: usize = 256 * 1024;

/// What an archive holds. The contents are in the spool file, which lives as long as the index.
#[derive(Debug)]
pub struct Index {
    /// In the archive's order.
    pub items: Vec<IndexedItem>,
    pub problems: Vec<EntryProblem>,
    /// Empty unless [`Kept::EveryVersion`] are asked for.
    pub twins: Twins,
    spool: File,
}

/// What is kept of items that an archive has in several versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The one that stands for the item.
    One,
    EveryVersion,
}

/// One item. Names that many items share are shared in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedItem {
    pub group_resource: Arc<str>,
    pub namespace: Option<Arc<str>>,
    pub name: Box<str>,
    pub offset: u64,
    pub len: u32,
}

impl Index {
    /// The item's JSON, which was checked when the index was made.
    pub fn read(&self, item: &IndexedItem) -> Result<Vec<u8>, Error> {
        let mut json = vec![0; item.len as usize];
        let read = self.spool.read_exact_at(&mut json, item.offset);
        read.map_err(|source| Error::ReadSpool { item: item.to_string(), source })?;
        Ok(json)
    }
}

impl fmt::Display for IndexedItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.group_resource, self.name),
            None => write!(f, "{} {}", self.group_resource, self.name),
        }
    }
}

/// [`index_copies`] of one version of each item.
pub fn index(
    input: impl Read,
    compression: Compression,
    spool: File,
    limits: Limits,
) -> Result<Index, Error> {
    index_copies(input, compression, spool, limits, Kept::One)
}

/// Reads all of `input` and indexes it. Blocks: call it from a thread that may wait.
///
/// `spool` is an empty file of the caller's, best one that has no name any more.
pub fn index_copies(
    input: impl Read,
    compression: Compression,
    spool: File,
    limits: Limits,
    copies: Kept,
) -> Result<Index, Error> {
    let mut stream = TarStream::open(input, compression, limits)?;
    let mut indexer = Indexer::new(&spool, limits, copies);
    while let Some(kind) = stream.next_entry()? {
        indexer.take(kind, &mut stream)?;
    }
    let (items, problems, twins) = indexer.finish()?;
    Ok(Index { items, problems, twins, spool })
}

struct Indexer<'a> {
    limits: Limits,
    spool: BufWriter<&'a File>,
    spooled: u64,
    content: Vec<u8>,
    names: HashSet<Arc<str>>,
    items: Vec<IndexedItem>,
    /// For each item the copy that it stands for.
    standings: Vec<Standing>,
    /// Hash of an item's identity to its place in `items`; where two identities share a hash, the later one is one further.
    places: HashMap<u64, usize>,
    hasher: RandomState,
    problems: Vec<EntryProblem>,
    copies: Kept,
    twins: Twins,
}

/// Which copy of an item counts: the plain one wherever it stands in the archive, for it is what Velero restores; without it
/// the preferred version's, and without that the first one there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Plain,
    Preferred,
    OtherVersion,
    /// The plain copy was bad; its twin must not stand in for it unnoticed.
    Refused,
}

/// Where an item stands in the index, or would.
#[derive(Clone, Copy)]
struct Place {
    hash: u64,
    known: Option<usize>,
}

#[derive(Clone, Copy, Default)]
struct Spooled {
    offset: u64,
    len: u32,
}

impl<'a> Indexer<'a> {
    fn new(spool: &'a File, limits: Limits, copies: Kept) -> Self {
        Self {
            limits,
            spool: BufWriter::with_capacity(KEPT_BUFFER, spool),
            spooled: 0,
            content: Vec::new(),
            names: HashSet::new(),
            items: Vec::new(),
            standings: Vec::new(),
            places: HashMap::new(),
            hasher: RandomState::new(),
            problems: Vec::new(),
            copies,
            twins: Twins::default(),
        }
    }

    fn take<R: Read>(&mut self, kind: EntryKind, stream: &mut TarStream<R>) -> Result<(), Error> {
        let name = stream.name().to_vec();
        let Ok(name) = str::from_utf8(&name) else {
            let shown = String::from_utf8_lossy(&name).into_owned();
            return self.report(&shown, ProblemReason::NameNotText, stream);
        };
        let path = match kind {
            EntryKind::Folder => name.strip_suffix('/').unwrap_or(name),
            EntryKind::File | EntryKind::Link | EntryKind::Other => name,
        };
        match (EntryPath::parse(path), kind) {
            (EntryPath::Unsafe, _) => self.report(name, ProblemReason::UnsafeName, stream),
            (_, EntryKind::Folder) => Ok(()),
            (EntryPath::Item(location), kind) => self.take_item(name, &location, kind, stream),
            (_, EntryKind::Link) => self.report(name, ProblemReason::Link, stream),
            (_, EntryKind::Other) => self.report(name, ProblemReason::NotAFile, stream),
            (EntryPath::FormatVersion, EntryKind::File) => Ok(()),
            (EntryPath::Stray, EntryKind::File) => self.report(name, ProblemReason::Stray, stream),
        }
    }

    fn take_item<R: Read>(
        &mut self,
        name: &str,
        location: &Location<'_>,
        kind: EntryKind,
        stream: &mut TarStream<R>,
    ) -> Result<(), Error> {
        let place = self.find(location);
        if self.copies == Kept::EveryVersion {
            match location.form {
                Form::OtherVersion(version) => {
                    return self.take_twin(name, location, version, kind, stream);
                }
                Form::Preferred(version) => {
                    let (group_resource, version) =
                        (self.shared(location.group_resource), self.shared(version));
                    self.twins.preferred.entry(group_resource).or_insert(version);
                }
                Form::Plain => {}
            }
        }
        match (location.form, place.known.map(|known| self.standings[known])) {
            (Form::Plain, Some(Standing::Plain | Standing::Refused))
            | (Form::Preferred(_), Some(Standing::Preferred)) => {
                return self.report(name, ProblemReason::Duplicate, stream);
            }
            // A copy of what is known already: its path is in order, and it is not used.
            (Form::Preferred(_), Some(Standing::Plain | Standing::Refused))
            | (Form::OtherVersion(_), Some(_)) => return Ok(()),
            (Form::Plain, None | Some(Standing::Preferred | Standing::OtherVersion))
            | (Form::Preferred(_), None | Some(Standing::OtherVersion))
            | (Form::OtherVersion(_), None) => {}
        }
        match self.checked_content(location, kind, stream)? {
            Ok(()) => self.keep(place, location),
            Err(reason) => {
                if location.form == Form::Plain {
                    self.set(place, location, Standing::Refused, Spooled::default());
                }
                self.report(name, reason, stream)
            }
        }
    }

    /// A copy that may yet be chosen; it stands for its item as long as there is no other.
    fn take_twin<R: Read>(
        &mut self,
        name: &str,
        location: &Location<'_>,
        version: &str,
        kind: EntryKind,
        stream: &mut TarStream<R>,
    ) -> Result<(), Error> {
        if let Err(reason) = self.checked_content(location, kind, stream)? {
            return self.report(name, reason, stream);
        }
        let spooled = self.spool()?;
        let place = self.find(location);
        if place.known.is_none() {
            self.set(place, location, Standing::OtherVersion, spooled);
        }
        let (version, item) = (self.shared(version), self.item(location, spooled));
        self.twins.copies.push(Twin { version, item });
        Ok(())
    }

    fn checked_content<R: Read>(
        &mut self,
        location: &Location<'_>,
        kind: EntryKind,
        stream: &mut TarStream<R>,
    ) -> Result<Result<(), ProblemReason>, Error> {
        match kind {
            EntryKind::Link => return Ok(Err(ProblemReason::Link)),
            EntryKind::Other | EntryKind::Folder => return Ok(Err(ProblemReason::NotAFile)),
            EntryKind::File => {}
        }
        self.content.shrink_to(KEPT_BUFFER);
        stream.read_content(&mut self.content)?;
        Ok(agreement::check(location, &self.content))
    }

    fn keep(&mut self, place: Place, location: &Location<'_>) -> Result<(), Error> {
        let standing = match location.form {
            Form::Plain => Standing::Plain,
            Form::Preferred(_) => Standing::Preferred,
            Form::OtherVersion(_) => Standing::OtherVersion,
        };
        let spooled = self.spool()?;
        self.set(place, location, standing, spooled);
        Ok(())
    }

    fn spool(&mut self) -> Result<Spooled, Error> {
        self.spool.write_all(&self.content).map_err(Error::Spool)?;
        let offset = self.spooled;
        self.spooled += self.content.len() as u64;
        // `Limits::entry_bytes` is far below 4 GiB, whoever sets it.
        let len = u32::try_from(self.content.len()).unwrap_or(u32::MAX);
        Ok(Spooled { offset, len })
    }

    fn item(&mut self, location: &Location<'_>, spooled: Spooled) -> IndexedItem {
        let Spooled { offset, len } = spooled;
        IndexedItem {
            group_resource: self.shared(location.group_resource),
            namespace: location.namespace.map(|namespace| self.shared(namespace)),
            name: location.name.into(),
            offset,
            len,
        }
    }

    fn set(&mut self, place: Place, location: &Location<'_>, standing: Standing, spooled: Spooled) {
        if let Some(known) = place.known {
            let item = &mut self.items[known];
            (item.offset, item.len) = (spooled.offset, spooled.len);
            self.standings[known] = standing;
            return;
        }
        let item = self.item(location, spooled);
        self.places.insert(place.hash, self.items.len());
        self.items.push(item);
        self.standings.push(standing);
    }

    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = name.into();
        self.names.insert(Arc::clone(&shared));
        shared
    }

    fn find(&self, location: &Location<'_>) -> Place {
        let identity = (location.group_resource, location.namespace, location.name);
        let mut hash = self.hasher.hash_one(identity);
        loop {
            match self.places.get(&hash) {
                Some(known) if identity == self.items[*known].identity() => {
                    return Place { hash, known: Some(*known) };
                }
                Some(_) => hash = hash.wrapping_add(1),
                None => return Place { hash, known: None },
            }
        }
    }

    fn report<R: Read>(
        &mut self,
        name: &str,
        reason: ProblemReason,
        stream: &TarStream<R>,
    ) -> Result<(), Error> {
        if self.problems.len() >= self.limits.problems {
            return Err(stream.damaged(Damage::TooManyProblems { limit: self.limits.problems }));
        }
        self.problems.push(EntryProblem { entry: shortened(name), reason });
        Ok(())
    }

    fn finish(mut self) -> Result<(Vec<IndexedItem>, Vec<EntryProblem>, Twins), Error> {
        self.spool.flush().map_err(Error::Spool)?;
        let mut standings = self.standings.iter();
        self.items.retain(|_| standings.next() != Some(&Standing::Refused));
        self.items.shrink_to_fit();
        Ok((self.items, self.problems, self.twins))
    }
}

impl IndexedItem {
    fn identity(&self) -> (&str, Option<&str>, &str) {
        (&self.group_resource, self.namespace.as_deref(), &self.name)
    }
}

#[cfg(test)]
mod tests;
