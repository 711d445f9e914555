//! The transparency log: append-only, C2SP tlog-tiles, signed checkpoints, proofs (RECORD 10, 11).
//!
//! Two representations of the same entries. *Segments* are the durable truth: group fdatasync, 65,536 entries each,
//! compressed once full. *Tiles, entry bundles and the checkpoint* are what a C2SP client reads; they are derived,
//! complete up to the checkpoint, and rebuilt from segments where a power cut took them. One thread writes both.

mod cbor;
mod clock;
pub mod codec;
mod continuity;
mod counters;
mod entry;
mod identity;
mod inbox;
mod log;
pub mod merkle;
mod note;
mod proof;
mod publish;
mod reader;
mod records;
mod recovery;
mod segment;
mod store;
mod tile;
mod track;
mod tree;
pub mod verify;
mod writer;

pub use continuity::{Continued, Continuity, continues};
pub use counters::Counters;
pub use entry::{AccessNote, Entry, EntryKind};
pub use log::{Noted, Options, TransparencyLog};
pub use note::{Checkpoint, PublicKey};
pub use proof::{Proven, check_proof, prove};
pub use reader::{Found, Query, Tally};
pub use verify::{Finding, Report};
