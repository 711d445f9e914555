//! What a leaf says (RECORD 10, 11). The bytes of a leaf are in `codec`.

use model::{Class, Hlc, Position};
use serde::{Deserialize, Serialize};
use std::{ops::RangeInclusive, sync::Arc};

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
    /// An administrative act or a denial: login refused, role denied, key rotated, lease taken, erasure ordered …
    /// Acts that must precede the record (revocations, erasures, holds) are appended and awaited before it is written.
    Act { hlc: u64, principal: String, tenant: String, action: String, outcome: String, detail: String },
    /// The record went back: its log continues at `to` after `from`; `voided` are the numbers of the old incarnation
    /// that are no longer in it (`from.n + 1 ..= last`, empty when nothing was lost).
    Restore { hlc: u64, principal: String, from: Position, to: Position, voided: RangeInclusive<u64> },
}

/// The four sorts of leaf, for filters and counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    Write,
    Access,
    Act,
    Restore,
}

impl Entry {
    #[must_use]
    pub fn entry_kind(&self) -> EntryKind {
        match self {
            Self::Write { .. } => EntryKind::Write,
            Self::Access { .. } => EntryKind::Access,
            Self::Act { .. } => EntryKind::Act,
            Self::Restore { .. } => EntryKind::Restore,
        }
    }
    #[must_use]
    pub fn hlc(&self) -> Hlc {
        match self {
            Self::Write { hlc, .. } | Self::Access { hlc, .. } | Self::Act { hlc, .. } | Self::Restore { hlc, .. } => {
                Hlc(*hlc)
            }
        }
    }
    #[must_use]
    pub fn principal(&self) -> &str {
        match self {
            Self::Write { principal, .. }
            | Self::Access { principal, .. }
            | Self::Act { principal, .. }
            | Self::Restore { principal, .. } => principal,
        }
    }
    /// A restore concerns every tenant and names none.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        match self {
            Self::Write { tenant, .. } | Self::Access { tenant, .. } | Self::Act { tenant, .. } => Some(tenant),
            Self::Restore { .. } => None,
        }
    }
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
