//! Blobs out of what a pack holds of them: decrypted, unpacked, and told by their hash to be the ones.
//!
//! The format is that of [restic](https://restic.readthedocs.io/en/stable/100_references.html): a nonce of 16 bytes, the
//! content encrypted with AES-256-CTR, and a tag of 16 bytes by Poly1305-AES.

use std::num::NonZeroU32;

use aes256ctr_poly1305aes::aead::AeadInPlace;
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce, Tag};
use ring::digest::{SHA256, digest};
use rustic_core::Id;
use rustic_core::repofile::MasterKey;
use zstd::bulk::Decompressor;

const NONCE: usize = 16;
const TAG: usize = 16;
/// No program makes larger ones: chunks are 8 MiB at most where nobody asked for others.
const LARGEST: usize = 128 * 1024 * 1024;
/// What a worker keeps between blobs.
const KEPT: usize = 8 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("it is cut short")]
    Short,
    #[error("it was altered, or written with another key")]
    Altered,
    #[error("it cannot be unpacked")]
    Packed,
    #[error("it has another hash")]
    Hash,
    #[error("it is larger than any program makes it")]
    Large,
    #[error("the repository's key is none")]
    Key,
}

pub(super) struct Unpack {
    cipher: Aes256CtrPoly1305Aes,
    zstd: Decompressor<'static>,
    unpacked: Vec<u8>,
}

pub(super) fn cipher(key: &MasterKey) -> Result<Aes256CtrPoly1305Aes, Damage> {
    let parts = [&key.encrypt, &key.mac.k, &key.mac.r];
    if parts.map(|part| part.len()) != [32, 16, 16] {
        return Err(Damage::Key);
    }
    Ok(Aes256CtrPoly1305Aes::new(Key::from_slice(&parts.map(Vec::as_slice).concat())))
}

/// Whether a blob is the one of this ID, which is its hash.
pub(super) fn is(content: &[u8], id: Id) -> bool {
    <[u8; 32]>::try_from(digest(&SHA256, content).as_ref()).is_ok_and(|found| Id::new(found) == id)
}

impl Unpack {
    pub(super) fn new(cipher: Aes256CtrPoly1305Aes) -> std::io::Result<Self> {
        Ok(Self { cipher, zstd: Decompressor::new()?, unpacked: Vec::new() })
    }

    /// The blob of this hash, from what the pack has of it, which is used up.
    pub(super) fn open<'a>(
        &'a mut self,
        packed: &'a mut [u8],
        unpacked_length: Option<NonZeroU32>,
        id: Id,
    ) -> Result<&'a [u8], Damage> {
        let (nonce, rest) = packed.split_at_mut_checked(NONCE).ok_or(Damage::Short)?;
        let end = rest.len().checked_sub(TAG).ok_or(Damage::Short)?;
        let (content, tag) = rest.split_at_mut(end);
        self.cipher
            .decrypt_in_place_detached(Nonce::from_slice(nonce), &[], content, Tag::from_slice(tag))
            .map_err(|_| Damage::Altered)?;
        let content: &[u8] = match unpacked_length {
            None => content,
            Some(length) => self.decompress(content, length)?,
        };
        if is(content, id) { Ok(content) } else { Err(Damage::Hash) }
    }

    fn decompress(&mut self, content: &[u8], length: NonZeroU32) -> Result<&[u8], Damage> {
        let length = length.get() as usize;
        if length > LARGEST {
            return Err(Damage::Large);
        }
        self.unpacked.clear();
        self.unpacked.shrink_to(KEPT);
        self.unpacked.reserve_exact(length);
        match self.zstd.decompress_to_buffer(content, &mut self.unpacked) {
            Ok(found) if found == length => Ok(&self.unpacked),
            Ok(_) | Err(_) => Err(Damage::Packed),
        }
    }
}
