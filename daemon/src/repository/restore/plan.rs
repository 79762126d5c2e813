//! Which pieces of which packs go where: from the files of a snapshot to few, large reads.
//!
//! In: files and the blobs that they consist of. Out: ranges of packs in the order of the files, each with what is in it.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::PathBuf;

use rustic_core::Id;
use rustic_core::repofile::PackId;

/// One read, unless a single blob is larger. It also bounds what a worker holds.
const READ: u32 = 4 * 1024 * 1024;
/// Unneeded data in between that costs less than another request.
const GAP: u32 = 128 * 1024;

/// Where a blob lies in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Index into the plan's packs.
    pub(super) pack: usize,
    pub(super) offset: u32,
    /// Encrypted.
    pub(super) length: u32,
    /// None where it isn't compressed.
    pub(super) unpacked: Option<NonZeroU32>,
}

/// One place of a file that one blob belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    pub(super) place: Place,
    /// Index into the plan's files.
    pub(super) file: usize,
    pub(super) start: u64,
    pub(super) id: Id,
}

/// A file with content to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    /// Nothing of another content can shine through where nothing is written.
    pub(super) blank: bool,
}

/// A range of a pack, and the pieces in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) pack: usize,
    pub(super) range: Range<u32>,
    /// Indices into the plan's pieces.
    pub(super) pieces: Range<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) files: Vec<Content>,
    pub(super) pieces: Vec<Piece>,
    /// In the order in which files need them.
    pub(super) packs: Vec<PackId>,
    known: HashMap<PackId, usize>,
}

impl Plan {
    pub(super) fn pack(&mut self, id: PackId) -> usize {
        *self.known.entry(id).or_insert_with(|| {
            self.packs.push(id);
            self.packs.len() - 1
        })
    }

    /// Puts the pieces in the order of the packs.
    pub(super) fn reads(&mut self) -> Vec<Read> {
        self.pieces.sort_unstable();
        let mut reads: Vec<Read> = Vec::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            let Place { pack, offset, length, .. } = piece.place;
            let end = offset.saturating_add(length);
            match reads.last_mut().filter(|read| read.takes(pack, offset, end)) {
                Some(read) => {
                    read.range.end = read.range.end.max(end);
                    read.pieces.end = index + 1;
                }
                None => reads.push(Read { pack, range: offset..end, pieces: index..index + 1 }),
            }
        }
        reads
    }
}

impl Read {
    fn takes(&self, pack: usize, offset: u32, end: u32) -> bool {
        let near = offset.saturating_sub(self.range.end) <= GAP;
        let same = end <= self.range.end;
        self.pack == pack && (same || near && end - self.range.start <= READ)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(pack: usize, offset: u32, length: u32, file: usize) -> Piece {
        Piece { place: Place { pack, offset, length, unpacked: None }, file, start: 0, id: Id::default() }
    }

    fn reads(pieces: &[Piece]) -> Vec<(usize, Range<u32>, usize)> {
        let mut plan = Plan { pieces: pieces.to_vec(), ..Plan::default() };
        plan.reads().into_iter().map(|read| (read.pack, read.range, read.pieces.len())).collect()
    }

    #[test]
    fn neighbours_are_read_together_whatever_the_order_of_the_files() {
        let pieces = [piece(1, 0, 10, 0), piece(0, 100, 50, 1), piece(0, 0, 100, 2)];
        assert_eq!(reads(&pieces), [(0, 0..150, 2), (1, 0..10, 1)]);
    }

    #[test]
    fn what_several_files_need_is_read_once() {
        assert_eq!(reads(&[piece(0, 5, 10, 0), piece(0, 5, 10, 1)]), [(0, 5..15, 2)]);
        let large = [piece(0, 0, READ + 1, 0), piece(0, 0, READ + 1, 1)];
        assert_eq!(reads(&large), [(0, 0..READ + 1, 2)]);
    }

    #[test]
    fn a_read_spans_small_gaps_only_and_stays_below_its_size() {
        assert_eq!(reads(&[piece(0, 0, 10, 0), piece(0, 10 + GAP, 10, 0)]).len(), 1);
        assert_eq!(reads(&[piece(0, 0, 10, 0), piece(0, 11 + GAP, 10, 0)]).len(), 2);
        let half = READ / 2;
        assert_eq!(
            reads(&[piece(0, 0, half, 0), piece(0, half, half, 0), piece(0, READ, 1, 0)]),
            [(0, 0..READ, 2), (0, READ..READ + 1, 1)]
        );
    }

    #[test]
    fn packs_are_numbered_as_they_are_needed() {
        let mut plan = Plan::default();
        let (one, two): (PackId, PackId) = (Id::new([1; 32]).into(), Id::new([2; 32]).into());
        assert_eq!([plan.pack(two), plan.pack(one), plan.pack(two)], [0, 1, 0]);
    }
}
