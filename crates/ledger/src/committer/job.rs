//! A group, sealed and ready for the statement, and what comes of it.

use crate::read::StoredResource;
use bytes::Bytes;
use keys::KeyId;
use model::{Class, Columns, Error, Kind, ResourceKey, Subject, Version};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// The statement's `op` numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i16)]
pub(crate) enum Step {
    Read = 0,
    Absent = 1,
    Present = 2,
    VersionIs = 3,
    Create = 4,
    Replace = 5,
    Put = 6,
    Delete = 7,
    Request = 8,
    UseKey = 9,
}

impl Step {
    pub(crate) fn writes(self) -> bool {
        matches!(self, Self::Create | Self::Replace | Self::Put | Self::Delete)
    }
}

/// The statement's `verdict` numbers other than ok.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    VersionConflict,
    Exists,
    Absent,
    ResealVersion,
    ResealKey,
    SubjectErased,
    Replay,
    Mismatch,
    WriteOnly,
}

impl Verdict {
    /// `None`: ok.
    pub(crate) fn from_code(code: i16) -> Result<Option<Self>, Error> {
        Ok(Some(match code {
            0 => return Ok(None),
            1 => Self::VersionConflict,
            2 => Self::Exists,
            3 => Self::Absent,
            4 => Self::ResealVersion,
            5 => Self::ResealKey,
            6 => Self::SubjectErased,
            7 => Self::Replay,
            8 => Self::Mismatch,
            9 => Self::WriteOnly,
            _ => return Err(Error::bug("the statement gave an unknown verdict").with("verdict", code)),
        }))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub canonical: Bytes,
    pub sealed: Bytes,
    /// The version it was sealed for.
    pub version: Version,
    pub content_tag: [u8; 32],
    pub class: Class,
    pub columns: Columns,
    /// Keyed digest of the name; empty: the kind has names, this document none.
    pub blind: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub step: Step,
    /// `None` for `Request` and `UseKey`.
    pub key: Option<(ResourceKey, u64)>,
    /// The version that must be there; for `Request` the number of writes.
    pub expected: Option<u64>,
    pub subject: Option<(Subject, KeyId)>,
    pub document: Option<Document>,
    pub request: Option<(String, [u8; 32])>,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub tenant: Arc<str>,
    pub principal: Arc<str>,
    pub purpose: Arc<str>,
    pub members: Vec<Member>,
    /// Hashes of every key read or written and of the idempotency key.
    pub locks: Vec<u64>,
    pub bytes: usize,
    pub reply: oneshot::Sender<Outcome>,
    /// Its share of the queue's bytes, given back when it is gone.
    #[expect(dead_code, reason = "held, not looked at")]
    pub permit: Option<OwnedSemaphorePermit>,
}

/// Kinds whose documents have a `name`, kept as a blind index (RECORD 15).
pub(crate) fn has_names(kind: i16) -> bool {
    kind == Kind::Intent.code() || kind == Kind::IntentSpecification.code()
}

/// A row as stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub version: Version,
    pub ordinal: u32,
    pub n: u64,
    pub class: Class,
    pub sealed: Bytes,
}

impl Stored {
    /// Not a tombstone.
    pub(crate) fn live(row: StoredResource) -> Option<Self> {
        let StoredResource { version, ordinal, n, class, sealed, .. } = row;
        sealed.map(|sealed| Self { version, ordinal, n, class, sealed })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    pub n: u64,
    pub version: Version,
}

#[derive(Debug)]
pub(crate) enum Outcome {
    Committed {
        /// Of the group: its last write, or the head it was read at.
        n: u64,
        writes: Vec<Done>,
        reads: Vec<Option<Stored>>,
    },
    Refused {
        /// Which member.
        member: usize,
        verdict: Verdict,
        /// The version that is there (tombstones counted).
        current: Option<Version>,
    },
    /// Sealed for a version or under a key that is no longer right: which members, and the version that is there.
    Reseal(Vec<(usize, Verdict, Option<Version>)>),
    /// Known by its idempotency key: its last position and how many writes it had.
    Replay {
        n: u64,
        writes: u64,
    },
    Failed(Error),
}

impl Job {
    pub(crate) fn answer(self, outcome: Outcome) {
        // Nobody waits any more: the outcome stands all the same.
        let _ = self.reply.send(outcome);
    }
    pub(crate) fn writes(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.step.writes())
    }
}
