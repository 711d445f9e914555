//! Opening a log: the tail is scanned, a torn record dropped, the tree rebuilt and held against the last checkpoint.

use crate::{
    counters::Meters,
    merkle::{Hash, fold, tree_root},
    note::{Checkpoint, PrivateKey},
    publish::{self, Publisher, unavailable},
    segment::{self, ENTRIES, OpenSegment, read_body, scan},
    store::{Sealer, Store, header},
    tile::{Row, WIDTH, tile_path},
    track::{Step, WriteTrack},
    tree::Tree,
};
use model::{Error, Result};
use std::{fs, path::Path, sync::Arc};

/// Segments whose tiles are checked at a start: at full rate the kernel has long written older ones by itself.
const CHECKED_SEGMENTS: usize = 32;

pub(crate) fn truncated(directory: &Path, what: &str) -> Error {
    let message = format!(
        "the audit log is shorter than it was: {what}; it is append-only and never rolled back, so bring back the \
         newest copy of its directory"
    );
    Error::corrupt("audit-log-truncated", message).with("directory", directory.display())
}

/// The records of one segment, taken apart.
#[derive(Default)]
struct Scanned {
    hashes: Vec<Hash>,
    /// In bundle form, with the end of each entry.
    bundle: Vec<u8>,
    ends: Vec<usize>,
    good: usize,
    torn: usize,
}

impl Scanned {
    fn read(directory: &Path, first: u64) -> Result<Self> {
        let body = read_body(directory, first)?;
        let mut scanned = Self::default();
        scanned.good = scan(&body, |entry, hash| {
            scanned.hashes.push(hash);
            scanned.bundle.extend_from_slice(&u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes());
            scanned.bundle.extend_from_slice(entry);
            scanned.ends.push(scanned.bundle.len());
        });
        scanned.torn = body.len() - scanned.good;
        Ok(scanned)
    }

    /// Bundle bytes of entries `low..high` of the segment.
    fn bundle(&self, low: usize, high: usize) -> &[u8] {
        let end = |count: usize| if count == 0 { 0 } else { self.ends[count - 1] };
        &self.bundle[end(low)..end(high)]
    }

    /// A stored write that does not follow is the verifier's to tell; a start goes on from what stands.
    fn follow(&self, track: &mut WriteTrack) -> Result<()> {
        let mut start = 0;
        for end in &self.ends {
            let entry = crate::codec::decode(&self.bundle[start + 2..*end])?;
            if let Some(step) = Step::of(&entry) {
                let _ = track.take(step);
            }
            start = *end;
        }
        Ok(())
    }
}

/// Opens the store of a log that has a key and a checkpoint.
pub(crate) fn open(directory: &Path, key: PrivateKey, checkpoint: &Checkpoint, meters: Arc<Meters>) -> Result<Store> {
    let io = |error| unavailable(directory, error);
    let sealer = Sealer::start(directory.to_owned(), Arc::clone(&meters)).map_err(io)?;
    let segments = segment::list(directory).map_err(io)?;
    let mut tree = Tree::new();
    let mut track = WriteTrack::default();
    let mut last = Scanned::default();
    for (place, (first, sealed)) in segments.iter().enumerate() {
        if *first != place as u64 * ENTRIES {
            let missing = format!("segment {:020} is missing", place as u64 * ENTRIES);
            return Err(truncated(directory, &missing));
        }
        if *sealed {
            let header = segment::read_header(directory, *first)?;
            tree.roll(header_root(directory, &header)?);
            track = WriteTrack::from_texts(&header.writes, &header.restored)?;
            // Left by a crash between sealing and removing.
            let _ = fs::remove_file(segment::open_path(directory, *first));
            continue;
        }
        let scanned = Scanned::read(directory, *first)?;
        scanned.follow(&mut track)?;
        if place + 1 < segments.len() {
            close_full(directory, *first, &scanned, &mut tree, &track, &sealer)?;
        } else {
            last = scanned;
        }
    }
    let base = tree.base();
    last.hashes.iter().for_each(|hash| tree.push(*hash));
    check(directory, &tree, checkpoint)?;
    let segment = match segments.last() {
        Some((first, false)) => OpenSegment::adopt(directory, *first, last.good),
        _ => OpenSegment::create(directory, base),
    };
    if last.torn > 0 {
        let (bytes, size) = (last.torn, tree.size());
        tracing::info!(bytes, size, "a torn, unacknowledged record was cut off the end of the audit log");
    }
    repair_tiles(directory, &segments, &last, checkpoint.size).map_err(io)?;
    let settled = last.hashes.len() - last.hashes.len() % 256;
    let tail = last.bundle(settled, last.hashes.len()).to_vec();
    let publisher = Publisher::new(directory, tree.size(), tail, checkpoint.size);
    let segment = segment.map_err(io)?;
    Ok(Store { directory: directory.to_owned(), key, tree, segment, publisher, track, meters, sealer })
}

fn header_root(directory: &Path, header: &segment::Header) -> Result<Hash> {
    let mut root = [0; 32];
    hex::decode_to_slice(&header.root, &mut root).map(|()| root).map_err(|error| {
        let message = "the header of a sealed audit segment has no root; restore the file from a copy";
        let file = segment::sealed_path(directory, header.first);
        Error::corrupt("audit-segment-damaged", message).with("file", file.display()).caused_by(error)
    })
}

/// A full segment that was not sealed before the last stop.
fn close_full(
    directory: &Path,
    first: u64,
    scanned: &Scanned,
    tree: &mut Tree,
    track: &WriteTrack,
    sealer: &Sealer,
) -> Result<()> {
    if scanned.hashes.len() as u64 != ENTRIES {
        return Err(truncated(directory, &format!("segment {first:020} is not whole, though another follows")));
    }
    scanned.hashes.iter().for_each(|hash| tree.push(*hash));
    let root = tree.segment_root();
    tree.roll(root);
    sealer.seal(header(first, root, track));
    Ok(())
}

/// The log must continue the last tree it signed.
fn check(directory: &Path, tree: &Tree, checkpoint: &Checkpoint) -> Result<()> {
    if tree.size() < checkpoint.size {
        let what = format!("{} entries stand, {} are signed", tree.size(), checkpoint.size);
        return Err(truncated(directory, &what));
    }
    let mut older: Option<(u64, Vec<Hash>)> = None;
    let mut nodes = |height, index| match tree.node(height, index) {
        Some(hash) => Ok(hash),
        None => segment_node(directory, &mut older, height, index),
    };
    if tree_root(&mut nodes, checkpoint.size)? == checkpoint.root {
        return Ok(());
    }
    let message = "the entries of the audit log are not those its last checkpoint signed; run `nephkeep audit verify` \
                   and bring back an untouched copy";
    Err(Error::corrupt("audit-log-diverged", message).with("size", checkpoint.size))
}

/// A node inside a segment that is no longer in memory (a checkpoint older than the last segment).
fn segment_node(directory: &Path, older: &mut Option<(u64, Vec<Hash>)>, height: u32, index: u64) -> Result<Hash> {
    let low = index << height;
    let first = low / ENTRIES * ENTRIES;
    if older.as_ref().is_none_or(|(held, _)| *held != first) {
        *older = Some((first, Scanned::read(directory, first)?.hashes));
    }
    let start = usize::try_from(low - first).unwrap_or(usize::MAX);
    let row = older.as_ref().and_then(|(_, hashes)| hashes.get(start..start + (1 << height)));
    row.map(fold).ok_or_else(|| truncated(directory, &format!("segment {first:020} is not whole")))
}

/// Full tiles up to the checkpoint that a power cut may have taken are written again from the segments.
fn repair_tiles(directory: &Path, segments: &[(u64, bool)], last: &Scanned, signed: u64) -> std::io::Result<()> {
    for (place, (first, sealed)) in segments.iter().enumerate().rev().take(CHECKED_SEGMENTS) {
        let is_last = place + 1 == segments.len() && !sealed;
        let entries = if is_last { last.hashes.len() as u64 } else { ENTRIES };
        let damaged = (0..entries / WIDTH).any(|tile| !tile_stands(directory, first / WIDTH + tile));
        let closed = entries < ENTRIES || *first >= signed || {
            let path = directory.join(tile_path(Row::Hashes(1), first / ENTRIES, WIDTH));
            path.metadata().is_ok_and(|facts| facts.len() == WIDTH * 32)
        };
        if !damaged && closed {
            continue;
        }
        let read;
        let scanned = if is_last {
            last
        } else {
            read = Scanned::read(directory, *first).map_err(std::io::Error::other)?;
            &read
        };
        write_tiles(directory, *first, scanned)?;
    }
    Ok(())
}

fn tile_stands(directory: &Path, number: u64) -> bool {
    let length = |row| directory.join(tile_path(row, number, WIDTH)).metadata().map_or(0, |facts| facts.len());
    length(Row::Hashes(0)) == WIDTH * 32 && length(Row::Entries) > 0
}

fn write_tiles(directory: &Path, first: u64, scanned: &Scanned) -> std::io::Result<()> {
    let (full, _) = scanned.hashes.as_chunks::<256>();
    for (tile, hashes) in full.iter().enumerate() {
        let number = first / WIDTH + tile as u64;
        publish::write_hashes(directory, 0, number, hashes)?;
        publish::write_bundle(directory, number, WIDTH, scanned.bundle(tile * 256, tile * 256 + 256))?;
    }
    if full.len() == 256 {
        let row: Vec<Hash> = full.iter().map(|hashes| fold(hashes)).collect();
        publish::write_hashes(directory, 1, first / ENTRIES, &row)?;
    }
    Ok(())
}
