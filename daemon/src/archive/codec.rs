//! Compression of the whole stream: gzip or zstd behind one pair of types.

use std::io::{self, BufRead, Read, Write};

use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use holdfast_policy::compression::Compression;

/// The archive is made while the cluster is read, on the same cores as the API server's answers are read. Of 70,000 objects of
/// 1.5 KB one core packs 210,000 a second with level 1 into 23 MiB, 140,000 with level 3 into 16 MiB, and 60,000 with
/// level 6, which is Velero's, into 14 MiB (`examples/archive_speed.rs`).
const GZIP_LEVEL: u32 = 3;
/// For the same reason: 280,000 a second into 11 MiB; higher levels gain nothing here, since it is the twins that compress.
const ZSTD_LEVEL: i32 = 1;
/// 8 MiB, four times what we write: a stream that asks for more memory than that to be unpacked is refused.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Compresses what is written to it into `W`.
pub(super) enum Encoder<W: Write> {
    Gzip(GzEncoder<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    pub(super) fn new(compression: Compression, output: W) -> io::Result<Self> {
        match compression {
            Compression::Gzip => Ok(Self::Gzip(GzEncoder::new(output, flate2::Compression::new(GZIP_LEVEL)))),
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(output, ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Ok(Self::Zstd(encoder))
            }
        }
    }

    /// Writes the codec's end mark and checksum.
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

/// Unpacks exactly one compressed stream; what follows it stays in `R`.
pub(super) enum Decoder<R: BufRead> {
    Gzip(Box<GzDecoder<R>>),
    Zstd(zstd::stream::read::Decoder<'static, R>),
}

impl<R: BufRead> Decoder<R> {
    pub(super) fn new(compression: Compression, input: R) -> io::Result<Self> {
        match compression {
            Compression::Gzip => Ok(Self::Gzip(Box::new(GzDecoder::new(input)))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?.single_frame();
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Ok(Self::Zstd(decoder))
            }
        }
    }

    pub(super) fn get_ref(&self) -> &R {
        match self {
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
        }
    }

    /// What the stream is read from; it stands behind the stream's last byte once all of it was read.
    pub(super) fn get_mut(&mut self) -> &mut R {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}
