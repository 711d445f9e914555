//! Proofs anyone can check: C2SP `tlog-proof` files for one entry, paths between two checkpoints. Files only.

use crate::{
    codec,
    entry::Entry,
    log::TransparencyLog,
    merkle::{self, Hash, leaf_hash},
    note::{Checkpoint, PublicKey},
    reader::{BundleReader, index_unknown},
    tile::TileTree,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use model::{Error, Result};
use std::{fmt::Write as _, fs, path::Path};

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// What a checked proof shows: this entry stands at this index of the log that signed this checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    pub checkpoint: Checkpoint,
    pub index: u64,
    pub entry: Entry,
}

fn invalid(what: &'static str) -> Error {
    Error::corrupt("audit-proof-invalid", format!("the proof does not hold: {what}"))
}

pub(crate) fn read_checkpoint(directory: &Path) -> Result<String> {
    let path = directory.join("checkpoint");
    fs::read_to_string(&path).map_err(|error| {
        let message = "the checkpoint of the audit log cannot be read";
        Error::corrupt("audit-checkpoint-invalid", message).with("file", path.display()).caused_by(error)
    })
}

/// The size a checkpoint's text names, unverified: enough to make a proof, whose checker verifies it.
fn claimed_size(text: &str) -> Result<u64> {
    let size = text.lines().nth(1).and_then(|line| line.parse().ok());
    size.ok_or_else(|| invalid("the checkpoint names no size"))
}

/// A `tlog-proof` text for one entry under the published checkpoint; the entry itself rides along as extra data.
pub fn prove(directory: &Path, index: u64) -> Result<String> {
    let checkpoint = read_checkpoint(directory)?;
    let size = claimed_size(&checkpoint)?;
    if index >= size {
        return Err(index_unknown(index).with("published", size));
    }
    let mut tiles = TileTree::new(directory, size);
    let path = merkle::inclusion(&mut |height, index| tiles.node(height, index), index, size)?;
    let mut text = format!("{FIRST_LINE}\n");
    BundleReader::new(directory).visit(index..index + 1, false, |_, entry| {
        // Writing to a string cannot fail.
        let _ = write!(text, "extra {}\nindex {index}\n", STANDARD.encode(entry));
        Ok(true)
    })?;
    path.iter().for_each(|hash| {
        let _ = writeln!(text, "{}", STANDARD.encode(hash));
    });
    let _ = write!(text, "\n{checkpoint}");
    Ok(text)
}

/// Checks a proof with nothing but the log's public key.
pub fn check_proof(text: &str, key: &PublicKey) -> Result<Proven> {
    let (proof, checkpoint) = text.split_once("\n\n").ok_or_else(|| invalid("it has no checkpoint"))?;
    let checkpoint = Checkpoint::open(checkpoint, key)?;
    let mut lines = proof.split('\n');
    if lines.next() != Some(FIRST_LINE) {
        return Err(invalid("its first line is not that of a proof"));
    }
    let mut field = |name: &'static str| lines.next().and_then(|line| line.strip_prefix(name));
    let extra = field("extra ").ok_or_else(|| invalid("it does not carry the entry"))?;
    let bytes = STANDARD.decode(extra).map_err(|_| invalid("its entry is not base64"))?;
    let number = field("index ").ok_or_else(|| invalid("it has no index"))?;
    let index: u64 = number.parse().map_err(|_| invalid("its index is not a number"))?;
    if index.to_string() != number {
        return Err(invalid("its index is not in its canonical form"));
    }
    let hash = |line: &str| -> Option<Hash> { STANDARD.decode(line).ok()?.try_into().ok() };
    let path: Option<Vec<Hash>> = lines.map(hash).collect();
    let path = path.ok_or_else(|| invalid("a line is not a hash"))?;
    if !merkle::verify_inclusion(&leaf_hash(&bytes), index, checkpoint.size, &path, &checkpoint.root) {
        return Err(invalid("the entry is not in the signed tree at this index"));
    }
    Ok(Proven { entry: codec::decode(&bytes)?, checkpoint, index })
}

/// Shows that the tree of `old` leaves begins the one of `size` leaves.
pub(crate) fn prove_consistency(directory: &Path, old: u64, size: u64) -> Result<Vec<Hash>> {
    let mut tiles = TileTree::new(directory, size);
    merkle::consistency(&mut |height, index| tiles.node(height, index), old, size)
}

impl TransparencyLog {
    /// `prove` on this log's directory, publishing first where the entry is newer than the checkpoint.
    pub async fn prove(&self, index: u64) -> Result<String> {
        if index >= self.checkpoint().size {
            self.publish().await?;
        }
        prove(self.directory(), index)
    }
}
