//! JSON of objects that look alike, each kept in a tenth of its length.
//!
//! The first text that is packed is the dictionary of all: what a cluster's Backups say of themselves differs in names
//! and times alone.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use zstd::bulk::{Compressor, Decompressor};

/// zstd's own default.
const LEVEL: i32 = 3;
/// A longer text is no likeness of others, and is not packed.
const LONGEST: usize = 256 << 10;

/// A text that was packed by this process.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    bytes: Box<[u8]>,
    length: usize,
}

struct Packer {
    compressor: Mutex<Compressor<'static>>,
    decompressor: Mutex<Decompressor<'static>>,
}

static PACKER: OnceLock<Option<Packer>> = OnceLock::new();

impl Packer {
    fn by(likeness: &[u8]) -> io::Result<Packer> {
        Ok(Packer {
            compressor: Mutex::new(Compressor::with_dictionary(LEVEL, likeness)?),
            decompressor: Mutex::new(Decompressor::with_dictionary(likeness)?),
        })
    }
}

impl Packed {
    /// None where it would not be worth it.
    pub(super) fn of(text: &[u8]) -> Option<Packed> {
        if text.len() > LONGEST {
            return None;
        }
        let packer = PACKER.get_or_init(|| Packer::by(text).ok()).as_ref()?;
        let packed = packer.compressor.lock().unwrap_or_else(PoisonError::into_inner).compress(text).ok()?;
        Some(Packed { bytes: packed.into(), length: text.len() })
    }

    /// The text as it was; none only where memory was overwritten.
    pub(super) fn text(&self) -> Option<Vec<u8>> {
        let packer = PACKER.get()?.as_ref()?;
        let mut decompressor = packer.decompressor.lock().unwrap_or_else(PoisonError::into_inner);
        decompressor.decompress(&self.bytes, self.length).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_as_they_were_and_alike_ones_are_small() {
        let text = |number: usize| {
            let annotations = "\"velero.io/source-cluster-k8s-gitversion\":\"v1.36.3\",".repeat(9);
            format!("{{\"metadata\":{{\"name\":\"nightly-{number:05}\",{annotations}}},\"spec\":{{}}}}")
                .into_bytes()
        };
        let packed: Vec<Packed> = (0..100).map(|number| Packed::of(&text(number)).unwrap()).collect();
        for (number, packed) in packed.iter().enumerate() {
            assert_eq!(packed.text().unwrap(), text(number));
            assert!(packed.bytes.len() * 5 < packed.length, "{} of {}", packed.bytes.len(), packed.length);
        }
        assert!(Packed::of(&vec![b'x'; LONGEST + 1]).is_none());
        assert_eq!(Packed::of(b"").unwrap().text().unwrap(), b"");
    }
}
