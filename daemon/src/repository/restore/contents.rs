//! The contents of files, by several workers: each takes a range of a pack, and writes what is in it to where it belongs.
//!
//! Workers mostly wait for the bucket, so there are more of them than processors; what each holds is bounded, so that all
//! of them need no more memory for a large volume than for a small one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use aes256ctr_poly1305aes::Aes256CtrPoly1305Aes;
use bytes::BytesMut;
use rustic_core::{FileType, ReadBackend};

use super::super::error::Cause;
use super::super::{Error, Progress};
use super::Sparse;
use super::plan::{Piece, Plan, Read};
use super::target::{Target, Walk};
use super::unpack::{Damage, Unpack};

const WORKERS: usize = 8;

/// What all workers share.
pub(super) struct Contents<'a, B> {
    pub(super) plan: &'a Plan,
    pub(super) reads: &'a [Read],
    pub(super) source: &'a B,
    pub(super) cipher: Aes256CtrPoly1305Aes,
    pub(super) target: &'a Target,
    pub(super) sparse: Sparse,
    pub(super) progress: &'a Progress,
}

impl<B: ReadBackend> Contents<'_, B> {
    /// Returns the first failure, if there is one: others end soon after it.
    pub(super) fn write(&self) -> Result<(), Error> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let first = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..WORKERS.min(self.reads.len()) {
                scope.spawn(|| {
                    if let Err(error) = self.work(&next, &failed) {
                        failed.store(true, Ordering::Relaxed);
                        first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                });
            }
        });
        first.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn work(&self, next: &AtomicUsize, failed: &AtomicBool) -> Result<(), Error> {
        let unpack = Unpack::new(self.cipher.clone()).map_err(Error::Worker)?;
        let mut worker = Worker { shared: self, unpack, walk: self.target.walk(), open: None };
        while let Some(read) = self.reads.get(next.fetch_add(1, Ordering::Relaxed))
            && !failed.load(Ordering::Relaxed)
        {
            worker.read(read)?;
        }
        Ok(())
    }
}

struct Worker<'a, B> {
    shared: &'a Contents<'a, B>,
    unpack: Unpack,
    walk: Walk<'a>,
    /// The file written last: most often it is also the next.
    open: Option<(usize, File)>,
}

impl<B: ReadBackend> Worker<'_, B> {
    fn read(&mut self, read: &Read) -> Result<(), Error> {
        let plan = self.shared.plan;
        let pack = plan.packs[read.pack];
        let length = read.range.end - read.range.start;
        let failed = |error| Error::Pack { pack: pack.to_hex().to_string(), source: Cause::from(error) };
        let data = self.shared.source.read_partial(FileType::Pack, &pack, false, read.range.start, length);
        let mut data = data.map_err(failed)?.try_into_mut().unwrap_or_else(|data| BytesMut::from(&*data));
        // Those of one blob follow one another.
        for pieces in plan.pieces[read.pieces.clone()].chunk_by(|one, other| one.place == other.place) {
            let piece = pieces[0];
            let damaged = |damage| Error::Damaged {
                id: piece.id.to_hex().to_string(),
                pack: pack.to_hex().to_string(),
                damage,
            };
            let start = (piece.place.offset - read.range.start) as usize;
            let packed = data.get_mut(start..start + piece.place.length as usize);
            let packed = packed.ok_or(Damage::Short).map_err(damaged)?;
            let content = self.unpack.open(packed, piece.place.unpacked, piece.id).map_err(damaged)?;
            for piece in pieces {
                write(self.shared, &mut self.walk, &mut self.open, *piece, content)?;
            }
        }
        Ok(())
    }
}

fn write<B>(
    shared: &Contents<'_, B>,
    walk: &mut Walk<'_>,
    open: &mut Option<(usize, File)>,
    piece: Piece,
    content: &[u8],
) -> Result<(), Error> {
    let content_of = &shared.plan.files[piece.file];
    let holes = content_of.blank && shared.sparse == Sparse::Holes;
    let failed = |source| Error::Write { path: content_of.path.clone(), source };
    let file = match open.take() {
        Some((number, file)) if number == piece.file => file,
        Some(_) | None => {
            let (file, found) = walk.to(&content_of.path).and_then(|spot| spot.write()).map_err(failed)?;
            // What is written at once has its length by that.
            let whole = content.len() as u64 == content_of.size && !holes;
            if !whole && u64::try_from(found.st_size) != Ok(content_of.size) {
                file.set_len(content_of.size).map_err(failed)?;
            }
            file
        }
    };
    if !(holes && content.iter().all(|byte| *byte == 0)) {
        file.write_all_at(content, piece.start).map_err(failed)?;
    }
    *open = Some((piece.file, file));
    shared.progress.add(content.len() as u64);
    Ok(())
}
