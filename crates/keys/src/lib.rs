//! Envelope encryption: the keystore, its generations and slots, the recovery kit (RECORD 6 to 9).

use bytes::Bytes;
use model::{Class, Error, Kind, ResourceKey, Result, Version};
use std::path::PathBuf;

/// Names a data key for ever; handed out from durable blocks, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u64);

/// Where generations, slots and the host key lie. At least two directories and two slots.
#[derive(Debug, Clone)]
pub struct Settings {
    pub directories: Vec<PathBuf>,
    pub slots: Vec<PathBuf>,
    pub host_key: PathBuf,
}

/// What the associated data of an envelope binds: dataset, kind, tenant, id, version (RECORD 6).
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    pub dataset: &'a str,
    pub key: &'a ResourceKey,
    pub version: Version,
}

#[derive(Debug, Clone)]
pub struct Sealed {
    /// Header, ciphertext, tag: the one ciphertext that serves resource, change, events and archives.
    pub envelope: Bytes,
    /// HMAC(subject hash key, kind | id | version | canonical): for verify, diff, audit, manifests.
    pub content_tag: [u8; 32],
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    Clear(Bytes),
    /// The key was destroyed: the value is gone for good. Never an exception.
    Erased,
}

#[derive(Debug)]
pub struct Keystore {}

impl Keystore {
    /// A new key from the current block; durable in every directory before this returns.
    pub fn take_key(&self) -> Result<KeyId> {
        Err(Error::bug("unbuilt"))
    }
    /// Compresses and seals under the newest version of a key. CPU only: no IO.
    pub fn seal(&self, key: KeyId, class: Class, bound: Bound<'_>, canonical: &[u8]) -> Result<Sealed> {
        let _ = (key, class, bound, canonical);
        Err(Error::bug("unbuilt"))
    }
    /// Opens an envelope; a destroyed key gives `Erased`, a wrong bound or a flipped bit an error of kind `Corrupt`.
    pub fn open_envelope(&self, bound: Bound<'_>, envelope: &[u8]) -> Result<Opened> {
        let _ = (bound, envelope);
        Err(Error::bug("unbuilt"))
    }
    /// The content tag alone (documents of a class that is not sealed; recomputation in verify).
    pub fn content_tag(
        &self,
        key: KeyId,
        kind: Kind,
        id: &str,
        version: Version,
        canonical: &[u8],
    ) -> Result<[u8; 32]> {
        let _ = (key, kind, id, version, canonical);
        Err(Error::bug("unbuilt"))
    }
    /// A keyed digest under a key's own blind-index or body-tag key: equality without disclosure (RECORD 7, 14, 15).
    pub fn blind(&self, key: KeyId, purpose: &str, bytes: &[u8]) -> Result<[u8; 32]> {
        let _ = (key, purpose, bytes);
        Err(Error::bug("unbuilt"))
    }
    /// Destroys keys for good: new generation without them, fresh epoch key in every slot, old one overwritten.
    pub fn destroy(&self, keys: &[KeyId]) -> Result<()> {
        let _ = keys;
        Err(Error::bug("unbuilt"))
    }
    #[must_use]
    pub fn generation(&self) -> u64 {
        0
    }
}
