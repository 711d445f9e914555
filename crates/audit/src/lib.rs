//! The transparency log: append-only, C2SP tlog-tiles, signed checkpoints, proofs (RECORD 10, 11).

use model::{Class, Error, Position, Result};
use std::{path::Path, sync::Arc};

/// One leaf. `Write` leaves carry positions, gapless per shard; `Access` leaves carry what was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A committed change, copied from the record's `audit` row by the sequencer.
    Write {
        position: Position,
        hlc: u64,
        principal: String,
        tenant: String,
        action: String,
        kind: i16,
        id: String,
        version: u64,
        class: Class,
        purpose: String,
        content_tag: [u8; 32],
    },
    /// One principal × purpose × policy × flush window, with the positions of the versions read.
    Access { hlc: u64, principal: String, tenant: String, purpose: String, class: Class, positions: Vec<Position> },
    /// An administrative act or a denial: login refused, role denied, key rotated, lease taken, restore …
    Act { hlc: u64, principal: String, tenant: String, action: String, outcome: String, detail: String },
}

/// What was read, for the access entry that precedes its release.
#[derive(Debug, Clone)]
pub struct AccessNote {
    pub principal: Arc<str>,
    pub tenant: Arc<str>,
    pub purpose: Arc<str>,
    pub class: Class,
    pub position: Position,
}

#[derive(Debug)]
pub struct TransparencyLog {}

impl TransparencyLog {
    /// Opens or creates the log in a directory; repairs a torn tail, refuses one shorter than its last checkpoint.
    pub fn open(directory: &Path) -> Result<Self> {
        let _ = directory;
        Err(Error::bug("unbuilt"))
    }
    /// Appends and waits until the entries are durable (one fdatasync serves all who wait). Returns the first index.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<u64> {
        let _ = entries;
        std::future::ready(Err(Error::bug("unbuilt"))).await
    }
    /// Notes reads. Confidential and above: returns when the entry is durable. Internal: when it is written. Public: counted.
    pub async fn access(&self, notes: Vec<AccessNote>) -> Result<()> {
        let _ = notes;
        std::future::ready(Err(Error::bug("unbuilt"))).await
    }
    /// The position of the last `Write` leaf of a shard: where its sequencer resumes.
    #[must_use]
    pub fn last_write(&self, shard: model::Shard) -> Option<Position> {
        let _ = shard;
        None
    }
    #[must_use]
    pub fn size(&self) -> u64 {
        0
    }
}
