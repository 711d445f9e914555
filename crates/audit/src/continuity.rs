//! Does a log go on from a checkpoint that somebody kept? The one way to see that a history was rewritten by the holder
//! of the log's key (RECORD 11). Files and the public key only.

use crate::{
    merkle,
    note::{Checkpoint, PublicKey},
    proof::{prove_consistency, read_checkpoint},
};
use model::Result;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// The kept checkpoint's entries are the first of this log.
    Continues,
    /// The log has fewer entries than were signed: it was cut, or this is an older copy.
    Shorter,
    /// Other entries than were signed. Both checkpoints carry the log's signature: together they are the evidence.
    Forked,
}

/// Two checkpoints of one log, both signed by its key, and what they are to one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continued {
    pub kept: Checkpoint,
    pub now: Checkpoint,
    pub verdict: Continuity,
    /// The RFC 6962 proof where there is one: anyone can check it with the two checkpoints alone.
    pub path: Vec<merkle::Hash>,
}

/// Compares a log with the text of a checkpoint that was kept elsewhere.
pub fn continues(directory: &Path, kept: &str, key: &PublicKey) -> Result<Continued> {
    let kept = Checkpoint::open(kept, key)?;
    let now = Checkpoint::open(&read_checkpoint(directory)?, key)?;
    if now.size < kept.size {
        return Ok(Continued { kept, now, verdict: Continuity::Shorter, path: Vec::new() });
    }
    let path = prove_consistency(directory, kept.size, now.size)?;
    let holds = merkle::verify_consistency(kept.size, &kept.root, now.size, &now.root, &path);
    let verdict = if holds { Continuity::Continues } else { Continuity::Forked };
    Ok(Continued { kept, now, verdict, path })
}
