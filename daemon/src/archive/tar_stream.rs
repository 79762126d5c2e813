//! The tar stream of an archive that nobody vouches for, read once from its first to its last byte.
//!
//! In: compressed bytes. Out: entries, one after the other, with their content. Everything is bounded, the codec's checksum
//! and the tar's end mark are checked, and nothing may follow them. What the names mean is left to others.

use std::io::{self, BufRead, BufReader, Read};

use holdfast_policy::compression::Compression;

use super::codec::Decoder;
use super::entry::BLOCK;
use super::{Damage, Error};

/// Name records of PAX and GNU tar. The longest path of this layout has about 1,100 bytes.
const RECORD_BYTES: u64 = 16 * 1024;
/// Up to here the ratio is not looked at: a few equal objects compress absurdly well, and do no harm.
const BYTES_WITHOUT_RATIO: u64 = 64 * 1024 * 1024;

/// How much a reader takes from an archive before it refuses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub entry_bytes: u64,
    pub entries: u64,
    pub total_bytes: u64,
    /// Unpacked bytes for each compressed one.
    pub ratio: u64,
    /// Bad entries; each one is kept in memory to be reported.
    pub problems: usize,
}

impl Default for Limits {
    /// Ten times what the largest clusters hold: an API server takes requests of 3 MiB, and gzip can't do better than 1:1032.
    fn default() -> Self {
        Self {
            entry_bytes: 16 * 1024 * 1024,
            entries: 20_000_000,
            total_bytes: 256 * 1024 * 1024 * 1024,
            ratio: 2_000,
            problems: 10_000,
        }
    }
}

pub(super) struct TarStream<R: Read> {
    input: Decoder<BufReader<Counted<R>>>,
    limits: Limits,
    unpacked: u64,
    entries: u64,
    name: Vec<u8>,
    /// Content and padding of the current entry that were not read yet.
    content_left: u64,
    padding_left: u64,
}

/// What kind of entry stands next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    File,
    Folder,
    Link,
    Other,
}

impl<R: Read> TarStream<R> {
    pub(super) fn open(input: R, compression: Compression, limits: Limits) -> Result<Self, Error> {
        let input = BufReader::with_capacity(64 * 1024, Counted { input, count: 0 });
        let at_start =
            |error: io::Error| Error::Damaged { place: "its start".to_owned(), source: error.into() };
        Ok(Self {
            input: Decoder::new(compression, input).map_err(at_start)?,
            limits,
            unpacked: 0,
            entries: 0,
            name: Vec::new(),
            content_left: 0,
            padding_left: 0,
        })
    }

    /// Goes to the next entry, or to the end, and then all of the stream has been checked.
    pub(super) fn next_entry(&mut self) -> Result<Option<EntryKind>, Error> {
        self.skip_rest()?;
        let mut long_name: Option<Vec<u8>> = None;
        let mut long_size: Option<u64> = None;
        loop {
            let mut block = [0; BLOCK];
            self.fill(&mut block)?;
            if block == [0; BLOCK] {
                if long_name.is_some() {
                    return Err(self.damaged(Damage::Header("a long name without an entry".to_owned())));
                }
                self.check_end()?;
                return Ok(None);
            }
            let header = tar::Header::from_byte_slice(&block);
            let size = self.checked_size(header)?;
            match header.entry_type() {
                tar::EntryType::XHeader => {
                    let record = self.record(size)?;
                    for extension in tar::PaxExtensions::new(&record) {
                        let extension = extension.map_err(|error| self.damaged(error.into()))?;
                        match extension.key_bytes() {
                            b"path" => long_name = Some(extension.value_bytes().to_vec()),
                            b"size" => long_size = Some(self.parsed_size(extension.value())?),
                            _ => {}
                        }
                    }
                }
                tar::EntryType::GNULongName => {
                    let mut record = self.record(size)?;
                    record.truncate(record.iter().position(|byte| *byte == 0).unwrap_or(record.len()));
                    long_name = Some(record);
                }
                tar::EntryType::GNULongLink | tar::EntryType::XGlobalHeader => {
                    self.record(size)?;
                }
                kind => {
                    self.name = long_name.unwrap_or_else(|| header.path_bytes().into_owned());
                    return self.enter(kind, long_size.unwrap_or(size)).map(Some);
                }
            }
        }
    }

    /// The current entry's name, as it is.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Reads the current entry's content into `content`.
    pub(super) fn read_content(&mut self, content: &mut Vec<u8>) -> Result<(), Error> {
        content.clear();
        let size = std::mem::take(&mut self.content_left);
        // Memory grows with the bytes that come, not with what the header promises.
        let read = (&mut self.input).take(size).read_to_end(content);
        self.count(content.len() as u64)?;
        match read {
            Ok(count) if count as u64 == size => Ok(()),
            Ok(_) => Err(self.damaged(Damage::Truncated)),
            Err(error) => Err(self.failed(error)),
        }
    }

    pub(super) fn damaged(&self, source: Damage) -> Error {
        let place = match (self.entries, String::from_utf8_lossy(&self.name)) {
            (0, _) => "its start".to_owned(),
            (number, name) => format!("entry {number} ({})", super::agreement::shortened(&name)),
        };
        Error::Damaged { place, source }
    }

    fn enter(&mut self, kind: tar::EntryType, size: u64) -> Result<EntryKind, Error> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(self.damaged(Damage::TooManyEntries { limit: self.limits.entries }));
        }
        let kind = match kind {
            tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
                EntryKind::File
            }
            tar::EntryType::Directory => EntryKind::Folder,
            tar::EntryType::Link | tar::EntryType::Symlink => EntryKind::Link,
            _ => EntryKind::Other,
        };
        // Links, devices and folders have no content, whatever their size field says.
        let size = if kind == EntryKind::File { size } else { 0 };
        self.check_size(size, self.limits.entry_bytes)?;
        self.content_left = size;
        self.padding_left = size.next_multiple_of(BLOCK as u64) - size;
        Ok(kind)
    }

    fn checked_size(&self, header: &tar::Header) -> Result<u64, Error> {
        let bytes = header.as_bytes();
        // The sum of all bytes, with blanks where the sum itself stands.
        let sum: u32 =
            bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        match header.cksum() {
            Ok(stored) if stored == sum => {}
            Ok(_) => return Err(self.damaged(Damage::Header("its checksum is wrong".to_owned()))),
            Err(error) => return Err(self.damaged(Damage::Header(error.to_string()))),
        }
        header.entry_size().map_err(|error| self.damaged(Damage::Header(error.to_string())))
    }

    fn parsed_size(&self, text: Result<&str, std::str::Utf8Error>) -> Result<u64, Error> {
        let size = text.ok().and_then(|text| text.parse().ok());
        size.ok_or_else(|| self.damaged(Damage::Header("its size record is not a number".to_owned())))
    }

    fn check_size(&self, size: u64, limit: u64) -> Result<(), Error> {
        if size > limit { Err(self.damaged(Damage::EntryTooLarge { size, limit })) } else { Ok(()) }
    }

    /// Reads the content of an entry that only describes the next one.
    fn record(&mut self, size: u64) -> Result<Vec<u8>, Error> {
        self.check_size(size, RECORD_BYTES)?;
        let mut record = Vec::new();
        self.content_left = size;
        self.padding_left = size.next_multiple_of(BLOCK as u64) - size;
        self.read_content(&mut record)?;
        self.skip_rest()?;
        Ok(record)
    }

    fn skip_rest(&mut self) -> Result<(), Error> {
        let mut left = std::mem::take(&mut self.content_left) + std::mem::take(&mut self.padding_left);
        let mut buffer = [0; 8 * 1024];
        while left > 0 {
            let step = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            self.fill(&mut buffer[..step])?;
            left -= step as u64;
        }
        Ok(())
    }

    /// One empty block was read. A second one follows, then nothing but empty blocks, then the codec's end, then nothing.
    fn check_end(&mut self) -> Result<(), Error> {
        let mut buffer = [0; 8 * 1024];
        let mut first = true;
        loop {
            let count = self.read_some(&mut buffer[..if first { BLOCK } else { 8 * 1024 }])?;
            if first && count < BLOCK {
                return Err(self.damaged(Damage::EndMark));
            }
            if buffer[..count].iter().any(|byte| *byte != 0) {
                return Err(self.damaged(if first { Damage::EndMark } else { Damage::TrailingBytes }));
            }
            if count == 0 {
                break;
            }
            first = false;
        }
        let rest = self.input.get_mut().fill_buf().map(<[u8]>::len);
        match rest {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged(Damage::TrailingBytes)),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let count = self.read_some(buffer)?;
        if count < buffer.len() { Err(self.damaged(Damage::Truncated)) } else { Ok(()) }
    }

    /// Fills the buffer as far as the stream goes.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.input.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        self.count(filled as u64)?;
        Ok(filled)
    }

    fn count(&mut self, bytes: u64) -> Result<(), Error> {
        self.unpacked += bytes;
        if self.unpacked > self.limits.total_bytes {
            return Err(self.damaged(Damage::TooMuchData { limit: self.limits.total_bytes }));
        }
        let packed = self.input.get_ref().get_ref().count;
        if self.unpacked > BYTES_WITHOUT_RATIO && self.unpacked / self.limits.ratio > packed {
            return Err(self.damaged(Damage::Ratio { limit: self.limits.ratio }));
        }
        Ok(())
    }

    fn failed(&self, error: io::Error) -> Error {
        self.damaged(match error.kind() {
            io::ErrorKind::UnexpectedEof => Damage::Truncated,
            _ => Damage::Stream(error),
        })
    }
}

/// Counts what is read through it.
struct Counted<R> {
    input: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}
