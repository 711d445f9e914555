//! Envelope encryption: the keystore, its generations and slots, the recovery kit (RECORD 6 to 9).
//!
//! A keystore lies outside PostgreSQL and outside the ordinary backups. It maps key ids to keys and knows no
//! subjects; the record maps subjects to key ids. From the top: the root's private key (only in the recovery kit)
//! and the host key open a slot; a slot holds the epoch key; the epoch key opens the newest generation; a generation
//! holds the seeds of all keys; a key seals documents. Destroying a key writes a generation without it under a fresh
//! epoch key and overwrites the old one in every slot, which turns every older generation, wherever it lies, into noise.
//! See docs/guide/keys.md.

mod blocks;
mod codec;
mod derive;
mod digest;
mod envelope;
mod files;
mod frame;
mod generation;
mod host_key;
mod keystore;
pub mod kit;
mod random;
mod secret;
mod settings;
mod slot;
mod state;
mod status;
mod steps;
mod store;
mod survey;
mod tree;
mod wrap;
mod xaes;

use bytes::Bytes;

pub use codec::{CLEAR_MAX_BYTES, Codec};
pub use envelope::{Bound, Header as EnvelopeHeader};
pub use keystore::{Destroyed, Keystore};
pub use kit::Kit;
pub use settings::{Expect, Lost, Settings};
pub use status::{DirectoryHealth, DirectoryStatus, SlotHealth, SlotStatus, Status};
pub use store::SlotFailure;

/// Names a data key for ever; handed out from durable blocks, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub u64);

#[derive(Debug, Clone)]
pub struct Sealed {
    /// Header, ciphertext, tag: the one ciphertext that serves resource, change, events and archives.
    pub envelope: Bytes,
    /// HMAC(subject hash key, kind | id | version | canonical): for verify, diff, audit, manifests.
    pub content_tag: [u8; 32],
}

#[derive(Clone, PartialEq, Eq)]
pub enum Opened {
    Clear(Bytes),
    /// The key was destroyed: the value is gone for good. Never an exception.
    Erased,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Clear(bytes) => write!(f, "Clear({} bytes)", bytes.len()),
            Self::Erased => f.write_str("Erased"),
        }
    }
}
