//! What a C2SP client finds on disk: tiles, entry bundles and the checkpoint that covers them.
//!
//! Full tiles are written as they fill, partial ones when a checkpoint is published. None is synced: they are derived
//! from the segments, and a start repairs those that a power cut took (`recovery`).

use crate::{
    merkle::{Hash, tree_root},
    note::{Checkpoint, PrivateKey},
    segment::sync_directory,
    tile::{Row, WIDTH, tile_path},
    tree::Tree,
};
use model::{Error, Result};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

#[derive(Debug)]
pub(crate) struct Publisher {
    directory: PathBuf,
    /// The entry after the last full bundle on disk; a multiple of 256.
    settled: u64,
    /// The entries from there on, in bundle form.
    tail: Vec<u8>,
    count: u64,
    published: u64,
    /// Hashes per level in the last partial tile written, so that an unchanged one is not written again.
    written: Vec<u64>,
}

fn write_file(directory: &Path, path: &str, bytes: &[u8]) -> io::Result<()> {
    let path = directory.join(path);
    match fs::write(&path, bytes) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&path, bytes)
        }
        other => other,
    }
}

/// Once a tile is full its partial forms may go.
fn drop_partials(directory: &Path, row: Row, number: u64) -> io::Result<()> {
    let folder = directory.join(format!("{}.p", tile_path(row, number, WIDTH)));
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(crate) fn write_hashes(directory: &Path, level: u8, number: u64, hashes: &[Hash]) -> io::Result<()> {
    let path = tile_path(Row::Hashes(level), number, hashes.len() as u64);
    write_file(directory, &path, hashes.as_flattened())
}

pub(crate) fn write_bundle(directory: &Path, number: u64, width: u64, bundle: &[u8]) -> io::Result<()> {
    write_file(directory, &tile_path(Row::Entries, number, width), bundle)
}

/// Signs a checkpoint and puts it in place of the last one, durably.
pub(crate) fn write_checkpoint(directory: &Path, text: &str) -> io::Result<()> {
    let temporary = directory.join("checkpoint.new");
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    fs::rename(&temporary, directory.join("checkpoint"))?;
    sync_directory(directory)
}

fn outside() -> io::Error {
    io::Error::other("a row of the tree is not in memory")
}

/// Where `count` entries in bundle form end.
fn bundle_end(bundle: &[u8], count: u64) -> usize {
    let mut at = 0;
    for _ in 0..count {
        let length = bundle[at..].first_chunk::<2>().map_or(0, |length| u16::from_be_bytes(*length));
        at += 2 + usize::from(length);
    }
    at
}

impl Publisher {
    /// `tail` holds the entries from the last multiple of 256 to the end of the tree.
    pub(crate) fn new(directory: &Path, size: u64, tail: Vec<u8>, published: u64) -> Self {
        let count = size % WIDTH;
        let directory = directory.to_owned();
        Self { directory, settled: size - count, tail, count, published, written: Vec::new() }
    }

    pub(crate) fn published(&self) -> u64 {
        self.published
    }

    pub(crate) fn add(&mut self, bundle: &[u8], count: u64) {
        self.tail.extend_from_slice(bundle);
        self.count += count;
    }

    /// Writes the bundles and level-0 tiles that have become full. Call it once their entries are durable.
    pub(crate) fn settle(&mut self, tree: &Tree) -> io::Result<()> {
        let mut at = 0;
        let mut outcome = Ok(());
        while self.count >= WIDTH && outcome.is_ok() {
            let end = at + bundle_end(&self.tail[at..], WIDTH);
            outcome = self.settle_one(tree, &self.tail[at..end]);
            if outcome.is_ok() {
                at = end;
                self.settled += WIDTH;
                self.count -= WIDTH;
            }
        }
        self.tail.drain(..at);
        outcome
    }

    fn settle_one(&self, tree: &Tree, bundle: &[u8]) -> io::Result<()> {
        let number = self.settled / WIDTH;
        write_bundle(&self.directory, number, WIDTH, bundle)?;
        let hashes = tree.row(0, self.settled, self.settled + WIDTH).ok_or_else(outside)?;
        write_hashes(&self.directory, 0, number, hashes)?;
        if self.published > self.settled {
            drop_partials(&self.directory, Row::Entries, number)?;
            drop_partials(&self.directory, Row::Hashes(0), number)?;
        }
        Ok(())
    }

    /// The full level-1 tile of the open segment, before the tree forgets its row.
    pub(crate) fn close_segment(&self, tree: &Tree) -> io::Result<()> {
        let low = tree.base() / WIDTH;
        let hashes = tree.row(1, low, low + WIDTH).ok_or_else(outside)?;
        write_hashes(&self.directory, 1, low / WIDTH, hashes)?;
        drop_partials(&self.directory, Row::Hashes(1), low / WIDTH)
    }

    /// Partial tiles for the whole tree, then the signed checkpoint. Everything in the tree must be durable.
    pub(crate) fn publish(&mut self, tree: &Tree, key: &PrivateKey) -> Result<(Checkpoint, String)> {
        let size = tree.size();
        let mut nodes = |height, index| {
            tree.node(height, index).ok_or_else(|| Error::bug("a node of the audit tree is not in memory"))
        };
        let root = tree_root(&mut nodes, size)?;
        let checkpoint = Checkpoint { origin: key.public().name().to_owned(), size, root };
        let text = checkpoint.sign(key);
        self.settle(tree)
            .and_then(|()| self.write_partials(tree))
            .and_then(|()| write_checkpoint(&self.directory, &text))
            .map_err(|error| unavailable(&self.directory, error))?;
        self.published = size;
        Ok((checkpoint, text))
    }

    fn write_partials(&mut self, tree: &Tree) -> io::Result<()> {
        self.written.resize(tree.levels(), 0);
        if self.count > 0 && self.written[0] != tree.size() {
            let number = self.settled / WIDTH;
            write_bundle(&self.directory, number, self.count, &self.tail)?;
            let hashes = tree.row(0, self.settled, tree.size()).ok_or_else(outside)?;
            write_hashes(&self.directory, 0, number, hashes)?;
            self.written[0] = tree.size();
        }
        for level in 1..tree.levels() {
            let count = tree.count(level);
            let number = count.saturating_sub(1) / WIDTH;
            // A full level-1 tile was written when its segment closed.
            if count == 0 || self.written[level] == count || (level == 1 && count.is_multiple_of(WIDTH)) {
                continue;
            }
            let hashes = tree.row(level, number * WIDTH, count).ok_or_else(outside)?;
            let name = u8::try_from(level).unwrap_or(u8::MAX);
            write_hashes(&self.directory, name, number, hashes)?;
            if count.is_multiple_of(WIDTH) {
                drop_partials(&self.directory, Row::Hashes(name), number)?;
            }
            self.written[level] = count;
        }
        Ok(())
    }
}

/// The log cannot be written now: whoever needs an entry is refused.
pub(crate) fn unavailable(directory: &Path, error: io::Error) -> Error {
    let message = "the audit log cannot be written, so nothing that needs an entry is released; free space or repair \
                   the device, it recovers by itself";
    Error::retry("audit-unavailable", message).with("directory", directory.display()).caused_by(error)
}
