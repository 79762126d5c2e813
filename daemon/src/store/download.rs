//! Reading what may be large: a file as it is stored, an archive, and a blocking reader for those who unpack one.

use std::fmt;
use std::io::{self, Read};

use bytes::{Buf, Bytes};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use holdfast_policy::compression::Compression;
use object_store::GetResult;
use tokio::runtime::Handle;

use super::Error;

/// An archive in the bucket, opened.
pub struct ArchiveObject {
    pub compression: Compression,
    /// Of the stream, in bytes.
    pub size: u64,
    pub stream: BoxStream<'static, Result<Bytes, Error>>,
}

/// A file in the bucket as it is stored, opened.
pub struct FileObject {
    /// Of the stream, in bytes.
    pub size: u64,
    pub stream: BoxStream<'static, Result<Bytes, Error>>,
}

/// An archive for a thread that may block.
pub struct ArchiveRead {
    runtime: Handle,
    stream: BoxStream<'static, Result<Bytes, Error>>,
    piece: Bytes,
}

impl FileObject {
    pub(super) fn new(key: String, found: GetResult) -> Self {
        let size = found.meta.size;
        let failed = move |error: object_store::Error| Error::Read { key: key.clone(), source: error.into() };
        Self { size, stream: found.into_stream().map_err(failed).boxed() }
    }
}

impl ArchiveObject {
    pub(super) fn new(key: String, compression: Compression, found: GetResult) -> Self {
        let FileObject { size, stream } = FileObject::new(key, found);
        Self { compression, size, stream }
    }

    /// Called on the runtime; the reader is then to be moved to a thread that may block.
    pub fn into_blocking_read(self) -> ArchiveRead {
        ArchiveRead { runtime: Handle::current(), stream: self.stream, piece: Bytes::new() }
    }
}

impl Read for ArchiveRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(piece) => self.piece = piece.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl fmt::Debug for FileObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileObject").field("size", &self.size).finish_non_exhaustive()
    }
}

impl fmt::Debug for ArchiveObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveObject")
            .field("compression", &self.compression)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
