//! What may be asked of the record: declarative groups, decided and written in one statement (RECORD 1).

use bytes::Bytes;
use model::{Class, Error, Position, Prepared, ResourceKey, Version};

/// All or nothing: reads, preconditions and writes of one multi-key transaction. A plain write is a group of one.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Returned with their values at the commit position.
    pub reads: Vec<ResourceKey>,
    pub preconditions: Vec<(ResourceKey, Precondition)>,
    pub writes: Vec<Write>,
    pub idempotency: Option<Idempotency>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    Absent,
    Present,
    VersionIs(Version),
}

#[derive(Debug, Clone)]
pub struct Write {
    pub key: ResourceKey,
    pub op: Op,
    /// The new document; `None` for a delete.
    pub document: Option<Prepared>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Only if there is none (a tombstone is none).
    Create,
    /// Compare-and-set on the version.
    Replace { expected: Version },
    /// Create or replace, whatever is there.
    Put,
    /// Leaves a tombstone. `None`: whatever version.
    Delete { expected: Option<Version> },
}

/// An `Idempotency-Key` with the body it came with (hashed under a key before it is stored; RECORD 14).
#[derive(Debug, Clone)]
pub struct Idempotency {
    pub key: String,
    pub body: Bytes,
}

#[derive(Debug, Clone)]
pub struct Receipt {
    /// The last position of the group.
    pub position: Position,
    pub writes: Vec<Written>,
    /// In the order of `Group::reads`; `None`: there was nothing.
    pub reads: Vec<Option<Resource>>,
    /// An `Idempotency-Key` seen before: nothing was written now, this is the first answer's receipt.
    pub replayed: bool,
}

impl Receipt {
    /// The change is durable, but what its answer was to show may not be released: no error that asks for a repetition.
    #[must_use]
    pub fn withheld(&self, cause: Error) -> Error {
        let place = match &self.writes[..] {
            [written] => format!("at version {}", written.version),
            _ => format!("at position {}", self.position),
        };
        let message = format!(
            "stored {place}; the answer's body is withheld because its access entry could not be written: GET it \
             again, do not repeat the change"
        );
        let withheld = Error::refused("answer-withheld", message).with("position", self.position).caused_by(cause);
        match &self.writes[..] {
            [written] => withheld.with("version", written.version),
            _ => withheld,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Written {
    pub key: ResourceKey,
    pub version: Version,
    pub position: Position,
}

/// A resource as read: the document in clear, or `Erased`.
#[derive(Debug, Clone)]
pub struct Resource {
    pub key: ResourceKey,
    pub version: Version,
    /// Of the change that made this version.
    pub position: Position,
    pub class: Class,
    pub document: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Clear(Bytes),
    /// Its key was destroyed.
    Erased,
    /// A tombstone (history and change log only).
    Deleted,
}

/// One row of the change log.
#[derive(Debug, Clone)]
pub struct Change {
    pub position: Position,
    pub hlc: u64,
    pub key: ResourceKey,
    pub version: Version,
    pub class: Class,
    pub action: ChangeAction,
    pub principal: String,
    pub content_tag: [u8; 32],
    /// The envelope, or the plain canonical bytes of a class that is not sealed; empty for a tombstone.
    pub stored: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeAction {
    Created,
    Updated,
    Deleted,
    /// First row of a new incarnation.
    Fork,
    /// A recovery point's own row.
    Barrier,
}

impl ChangeAction {
    /// How it is called in leaves, answers and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Fork => "fork",
            Self::Barrier => "barrier",
        }
    }
}

/// Filters on clear columns, on `name` (blind index), and on other attributes (bounded scan); RECORD 15.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// As read from the query of the request; conditions on clear columns and `name` are taken out of it first.
    pub filter: model::select::Filter,
    /// Only ids that begin so (a namespace of configuration).
    pub id_prefix: Option<String>,
    /// Keyset cursor from a previous page (`Page::next`).
    pub after: Option<String>,
    pub offset: u64,
    pub limit: u32,
}

#[derive(Debug, Clone)]
pub struct Page {
    pub items: Vec<Resource>,
    /// How many match in all.
    pub total: u64,
    pub next: Option<String>,
    /// The head of the snapshot that was read.
    pub position: Position,
}

#[derive(Debug, Clone)]
pub struct ChangePage {
    pub changes: Vec<Change>,
    /// Where to go on: the last position given, or the one asked for.
    pub next: Position,
    /// How far the log may be read at all.
    pub published: Position,
}
