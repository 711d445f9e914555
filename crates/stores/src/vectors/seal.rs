//! Vectors tell something of their texts, so they lie in the file only sealed: AES-256-GCM under a key of the file's
//! own, each vector (and the name of a document's source) by itself, bound to its key, version and ordinal.
//!
//! A file's key is made of a key that the keystore keeps, named in the file's head, and of the head's seed. Nonces are
//! random: one file may hold four thousand million sealings.

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{AeadInOut, inout::InOutBuf},
};
use model::{Error, Result, Version};
use std::fmt;

/// Where the keys of copies come from: the keystore, in production.
pub trait CopyKeys: Send + Sync + fmt::Debug {
    /// The number of a key that nothing else uses, durable before this returns.
    fn take(&self) -> Result<u64>;
    /// A secret made of this key; another salt, another secret.
    fn derive(&self, key: u64, salt: &[u8]) -> Result<[u8; 32]>;
}

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// What sealing adds to a text.
pub const OVERHEAD: usize = NONCE_BYTES + TAG_BYTES;
/// In the place of an ordinal: the name of the source.
pub const SOURCE: u32 = u32::MAX;

/// A sealed text opens only where it belongs.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    pub place: u64,
    pub version: Version,
    pub ordinal: u32,
}

impl Bound {
    fn bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.place.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.version.to_le_bytes());
        bytes[16..].copy_from_slice(&self.ordinal.to_le_bytes());
        bytes
    }
}

pub struct Seal(Aes256Gcm);

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal(..)")
    }
}

impl Seal {
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(Aes256Gcm::new(secret.into()))
    }

    /// Appends nonce, ciphertext and tag.
    pub fn seal(&self, bound: Bound, clear: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce)
            .map_err(|error| Error::retry("randomness-missing", "the system gives no random bytes").caused_by(error))?;
        out.extend(nonce);
        let from = out.len();
        out.extend(clear);
        let tag = self.0.encrypt_inout_detached(&nonce.into(), &bound.bytes(), InOutBuf::from(&mut out[from..]));
        let tag: [u8; TAG_BYTES] = tag.map_err(|_| Error::bug("a vector could not be sealed"))?.into();
        out.extend(tag);
        Ok(())
    }

    /// `None`: these bytes were not sealed here under this key.
    pub fn open(&self, bound: Bound, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let (text, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        let mut text = text.to_vec();
        let opened = self.0.decrypt_inout_detached(
            nonce.into(),
            &bound.bytes(),
            InOutBuf::from(text.as_mut_slice()),
            tag.into(),
        );
        opened.ok().map(|()| text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_sealed_text_opens_only_where_it_belongs_and_unchanged() {
        let seal = Seal::new(&[7; 32]);
        let bound = Bound { place: 1, version: 2, ordinal: 3 };
        let mut sealed = Vec::new();
        seal.seal(bound, b"vector", &mut sealed).unwrap();
        assert_eq!(sealed.len(), 6 + OVERHEAD);
        assert_eq!(seal.open(bound, &sealed).unwrap(), b"vector");
        for other in [Bound { place: 9, ..bound }, Bound { version: 9, ..bound }, Bound { ordinal: 9, ..bound }] {
            assert!(seal.open(other, &sealed).is_none());
        }
        for at in 0..sealed.len() {
            sealed[at] ^= 1;
            assert!(seal.open(bound, &sealed).is_none() && seal.open(bound, &sealed[..at]).is_none());
            sealed[at] ^= 1;
        }
        assert!(Seal::new(&[8; 32]).open(bound, &sealed).is_none());
    }
}
