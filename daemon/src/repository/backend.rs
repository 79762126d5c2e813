//! The bucket as the library sees it: its blocking calls, from threads of its own, carried out on the runtime.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use object_store::PutPayload;
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::path;
use crate::store::{self, RepositoryFolder};

/// Folders of a snapshot are read by each of the passes over it; what fits is fetched once.
const KEPT_BYTES: usize = 32 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Backend {
    folder: RepositoryFolder,
    runtime: Handle,
    /// From here on every request fails, and with it what asked.
    cancel: CancellationToken,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    pieces: HashMap<(Id, u32), Bytes>,
    bytes: usize,
}

impl Backend {
    /// Called on the runtime; used outside of it.
    pub(super) fn new(folder: RepositoryFolder, cancel: CancellationToken) -> Self {
        Self { folder, runtime: Handle::current(), cancel, kept: Mutex::default() }
    }

    fn wait<T>(&self, act: impl Future<Output = Result<T, store::Error>>) -> RusticResult<T> {
        match self.runtime.block_on(self.cancel.run_until_cancelled(act)) {
            Some(done) => done.map_err(|error| RusticError::new(ErrorKind::Backend, error.with_causes())),
            None => Err(RusticError::new(ErrorKind::Backend, "the transfer was cancelled")),
        }
    }
}

impl ReadBackend for Backend {
    fn location(&self) -> String {
        self.folder.key().to_owned()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        if kind == FileType::Config {
            let size = self.wait(self.folder.size(path::CONFIG))?;
            return Ok(size.map(|size| (Id::default(), capped(size))).into_iter().collect());
        }
        let listed = self.wait(self.folder.list(path::folder(kind)))?;
        let known = |(name, size): (String, u64)| Some((Id::parse_some(&name, kind)?, capped(size)));
        Ok(listed.into_iter().filter_map(known).collect())
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        self.wait(self.folder.get(&path::name(kind, id)))
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        let key = (*id, offset);
        if cacheable
            && let Some(piece) = self.kept().pieces.get(&key).filter(|it| it.len() == length as usize)
        {
            return Ok(piece.clone());
        }
        let range = u64::from(offset)..u64::from(offset) + u64::from(length);
        let piece = self.wait(self.folder.get_range(&path::name(kind, id), range))?;
        if cacheable {
            let mut kept = self.kept();
            if kept.bytes + piece.len() <= KEPT_BYTES {
                kept.bytes += piece.len();
                kept.pieces.insert(key, piece.clone());
            }
        }
        Ok(piece)
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        path::name(kind, id)
    }
}

impl WriteBackend for Backend {
    fn write_bytes(&self, kind: FileType, id: &Id, _cacheable: bool, content: BytesList) -> RusticResult<()> {
        let content: PutPayload = content.into_vec().into_iter().collect();
        self.wait(self.folder.put(&path::name(kind, id), content))
    }

    fn remove(&self, kind: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        self.wait(self.folder.delete(&path::name(kind, id)))
    }
}

impl Backend {
    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The format's files are below 4 GiB; what is larger is none of them.
fn capped(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
