//! The archive of a backup: one compressed tar stream in Velero's layout (format version 1.1.0).
//!
//! In: items as JSON bytes ([`Writer`]) or a stream that nobody vouches for ([`index()`]). Out: chunks of the stream, or an
//! [`Index`] over one spool file. Where the stream comes from and goes to is left to others, and so is what an item means.

mod agreement;
mod codec;
mod companion;
mod entry;
mod index;
mod path;
mod problem;
mod tar_stream;
mod writer;

use std::io;

pub use companion::{gunzip, gunzip_json, gzip, gzip_json};
pub use index::{Index, IndexedItem, Kept, StoredVersions, Twins, index, index_copies};
pub use path::{ItemPath, UnusableName};
pub use problem::{EntryProblem, ProblemReason, Severity};
pub use tar_stream::Limits;
pub use writer::{Entries, Stats, Writer};

/// Why an archive, or one of the files beside it, could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("item can't be stored in an archive")]
    Name(#[from] UnusableName),
    #[error("archive writer has no one left to write to")]
    OutputClosed,
    #[error("compressing the archive failed")]
    Compress(#[source] io::Error),
    #[error("archive writer ended before its time")]
    WriterGone,
    #[error("archive is damaged at {place}")]
    Damaged { place: String, source: Damage },
    #[error("writing the archive's items to the spool file failed")]
    Spool(#[source] io::Error),
    #[error("reading {item} from the spool file failed")]
    ReadSpool { item: String, source: io::Error },
    #[error("encoding JSON failed")]
    Encode(#[source] serde_json::Error),
    #[error("decoding JSON failed")]
    Decode(#[source] serde_json::Error),
    #[error("unpacking failed")]
    Unpack(#[source] io::Error),
    #[error("content is larger than {limit} bytes when unpacked")]
    TooLarge { limit: u64 },
}

/// What is wrong with an archive as a whole.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("the stream can't be read or unpacked")]
    Stream(#[from] io::Error),
    #[error("the stream ends in the middle of the archive")]
    Truncated,
    #[error("the header is not a tar header: {0}")]
    Header(String),
    #[error("the end mark of the tar is incomplete")]
    EndMark,
    #[error("there are bytes after the end of the archive")]
    TrailingBytes,
    #[error("its size of {size} bytes is over the limit of {limit}")]
    EntryTooLarge { size: u64, limit: u64 },
    #[error("there are more than {limit} entries")]
    TooManyEntries { limit: u64 },
    #[error("the archive unpacks to more than {limit} bytes")]
    TooMuchData { limit: u64 },
    #[error("the archive unpacks to more than {limit} times its size")]
    Ratio { limit: u64 },
    #[error("more than {limit} entries are bad")]
    TooManyProblems { limit: usize },
}
