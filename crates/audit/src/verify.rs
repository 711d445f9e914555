//! The offline verifier: reads only files and a public key, recomputes everything, names what differs.
//!
//! Three copies of each leaf are compared (entry bundle, level-0 tile, segment record); two that agree name the third.
//! Every higher tile, the root, the signature, the encoding of each entry and the gaplessness of writes follow.

use crate::{
    codec,
    merkle::{Hash, fold, leaf_hash, node_hash},
    note::{Checkpoint, PublicKey},
    proof::read_checkpoint,
    reader::Tally,
    segment::{self, ENTRIES},
    tile::{Row, WIDTH, read_hashes, read_tile, split_bundle, tile_path, tile_width},
    track::{Step, WriteTrack},
};
use model::Result;
use serde::Serialize;
use std::path::Path;

/// More than these are counted, not kept.
const MAX_FINDINGS: usize = 100;

/// One thing that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// `checkpoint`, `entry`, `tile`, `segment`, `root`, `encoding`, `write-gap`.
    pub what: &'static str,
    /// The first entry concerned, where there is one.
    pub index: Option<u64>,
    /// The file concerned, relative to the directory.
    pub file: Option<String>,
    pub message: String,
}

/// What a verification found. `ok()` is the verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub origin: String,
    /// Entries under the checkpoint.
    pub size: u64,
    /// The recomputed root, hexadecimal.
    pub root: String,
    /// Durable entries that no checkpoint covers yet.
    pub beyond: u64,
    pub entries: Tally,
    /// The last write of each shard.
    pub writes: Vec<String>,
    /// In the order of the log; at most 100.
    pub findings: Vec<Finding>,
    pub findings_in_all: u64,
}

impl Report {
    #[must_use]
    pub fn ok(&self) -> bool {
        self.findings_in_all == 0
    }

    fn add(&mut self, what: &'static str, index: Option<u64>, file: Option<String>, message: impl Into<String>) {
        self.findings_in_all += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { what, index, file, message: message.into() });
        }
    }
}

/// Verifies a log directory. An error only when there is nothing to verify (no readable checkpoint file).
pub fn verify(directory: &Path, key: &PublicKey) -> Result<Report> {
    let text = read_checkpoint(directory)?;
    let mut report = Report {
        origin: key.name().to_owned(),
        size: 0,
        root: String::new(),
        beyond: 0,
        entries: Tally::default(),
        writes: Vec::new(),
        findings: Vec::new(),
        findings_in_all: 0,
    };
    // What an untrusted checkpoint claims still says how far to look.
    let claimed = text.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0);
    let signed = match Checkpoint::open(&text, key) {
        Ok(checkpoint) => Some(checkpoint),
        Err(error) => {
            report.add("checkpoint", None, Some("checkpoint".into()), error.to_string());
            None
        }
    };
    report.size = signed.as_ref().map_or(claimed, |checkpoint| checkpoint.size);
    let mut run = Run { directory, report, track: WriteTrack::default(), rows: Vec::new(), closed: None };
    run.segments();
    run.partial_tiles();
    run.root(signed.as_ref());
    run.report.writes = run.track.positions().map(|position| position.to_string()).collect();
    Ok(run.report)
}

struct Run<'a> {
    directory: &'a Path,
    report: Report,
    track: WriteTrack,
    /// Recomputed hashes per level that fill no tile yet.
    rows: Vec<Vec<Hash>>,
    /// The root of the segment completed last.
    closed: Option<Hash>,
}

/// Which of the three copies of a leaf differ from the one taken for true.
#[derive(Default)]
struct Differs {
    bundle: bool,
    tile: bool,
    segment: bool,
}

impl Run<'_> {
    fn segments(&mut self) {
        let listed = segment::list(self.directory).unwrap_or_default();
        let last = listed.last().map_or(0, |(first, _)| *first);
        let mut first = 0;
        while first < self.report.size || first <= last {
            let sealed = listed.contains(&(first, true));
            self.segment(first, sealed, first >= last);
            first += ENTRIES;
        }
    }

    fn segment_file(&self, first: u64) -> String {
        let sealed = segment::sealed_path(self.directory, first).exists();
        format!("segments/{first:020}.{}", if sealed { "sealed" } else { "open" })
    }

    fn segment(&mut self, first: u64, sealed: bool, last: bool) {
        let read = segment::read_body(self.directory, first);
        let unread = read.as_ref().err().map(ToString::to_string);
        let body = read.unwrap_or_default();
        let mut leaves = Vec::with_capacity(65_536);
        let good = segment::scan(&body, |entry, hash| leaves.push((entry, hash)));
        let needed = (self.report.size.saturating_sub(first)).min(ENTRIES);
        let torn = good < body.len() && !last;
        if unread.is_some() || torn || (leaves.len() as u64) < needed {
            let index = first + leaves.len() as u64;
            let file = self.segment_file(first);
            let message = unread.unwrap_or_else(|| "a record is not whole, or entries are missing".into());
            self.report.add("segment", Some(index), Some(file), message);
        }
        self.closed = None;
        for tile in 0..needed.div_ceil(WIDTH) {
            let low = leaves.len().min(usize::try_from(tile * WIDTH).unwrap_or(usize::MAX));
            let high = leaves.len().min(low + 256);
            self.bundle(first / WIDTH + tile, &leaves[low..high]);
        }
        let beyond = leaves.get(usize::try_from(needed).unwrap_or(usize::MAX)..).unwrap_or(&[]);
        for (place, (entry, _)) in beyond.iter().enumerate() {
            self.report.beyond += 1;
            self.entry(first + needed + place as u64, entry);
        }
        if sealed {
            self.header(first);
        }
    }

    /// What a sealed segment says of itself.
    fn header(&mut self, first: u64) {
        let (writes, restored) = self.track.texts();
        let told = match segment::read_header(self.directory, first) {
            Ok(header) => {
                let root = self.closed.is_none_or(|root| hex::encode(root) == header.root);
                root && header.writes == writes && header.restored == restored
            }
            // Reported when its records were read.
            Err(_) => true,
        };
        if !told {
            let file = self.segment_file(first);
            self.report.add("segment", Some(first), Some(file), "its header does not describe its entries");
        }
    }

    /// The leaves of one bundle, each from three places.
    fn bundle(&mut self, number: u64, segment: &[(&[u8], Hash)]) {
        let first = number * WIDTH;
        let width = tile_width(self.report.size, 0, number);
        let bundle_file = tile_path(Row::Entries, number, width);
        let tile_file = tile_path(Row::Hashes(0), number, width);
        let bytes = read_tile(self.directory, Row::Entries, number, width).ok();
        let bundle = bytes.as_deref().and_then(split_bundle);
        let tile = read_hashes(self.directory, 0, number, width).ok();
        if bundle.as_ref().is_none_or(|bundle| (bundle.len() as u64) < width) {
            let message = "the entry bundle is missing, too short or its lengths do not add up";
            self.report.add("entry", Some(first), Some(bundle_file.clone()), message);
        }
        if tile.is_none() {
            let message = "the tile is missing or has a wrong length";
            self.report.add("tile", Some(first), Some(tile_file.clone()), message);
        }
        for place in 0..usize::try_from(width).unwrap_or(256) {
            let index = first + place as u64;
            let stored = bundle.as_ref().and_then(|bundle| bundle.get(place).copied());
            let hashed = tile.as_ref().and_then(|tile| tile.get(place).copied());
            let Some((entry, leaf, differs)) = choose(stored, hashed, segment.get(place).copied()) else {
                self.report.add("entry", Some(index), Some(bundle_file.clone()), "no copy of the entry can be read");
                self.push(0, hashed.unwrap_or([0; 32]));
                continue;
            };
            self.tell(index, &differs, &bundle_file, &tile_file);
            self.entry(index, entry);
            self.push(0, leaf);
        }
    }

    fn tell(&mut self, index: u64, differs: &Differs, bundle: &str, tile: &str) {
        if differs.bundle {
            let message = "the entry in the bundle is not the one that was logged";
            self.report.add("entry", Some(index), Some(bundle.to_owned()), message);
        }
        if differs.tile {
            let message = "the leaf hash in the tile is not that of the entry";
            self.report.add("tile", Some(index), Some(tile.to_owned()), message);
        }
        if differs.segment {
            let file = self.segment_file(index / ENTRIES * ENTRIES);
            self.report.add(
                "segment",
                Some(index),
                Some(file),
                "the record in the segment is not the one that was logged",
            );
        }
    }

    /// What an entry says: its encoding, its sort, its place in the order of writes.
    fn entry(&mut self, index: u64, bytes: &[u8]) {
        let entry = match codec::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => return self.report.add("encoding", Some(index), None, error.to_string()),
        };
        self.report.entries.count(&entry);
        if let Some(Err(error)) = Step::of(&entry).map(|step| self.track.take(step)) {
            self.report.add("write-gap", Some(index), None, error.to_string());
        }
    }

    /// One more hash of a level; a tile that fills is compared and carried up.
    fn push(&mut self, level: usize, hash: Hash) {
        if self.rows.len() == level {
            self.rows.push(Vec::with_capacity(256));
        }
        self.rows[level].push(hash);
        if self.rows[level].len() < 256 {
            return;
        }
        let row = std::mem::take(&mut self.rows[level]);
        let number = self.number(level);
        self.compare(level, number, &row);
        let root = fold(&row);
        self.closed = (level == 1).then_some(root).or(self.closed);
        self.push(level + 1, root);
    }

    /// Which tile of a level is being filled: the count of full ones is the count of hashes above.
    fn number(&self, level: usize) -> u64 {
        let mut full = 0;
        for row in self.rows.iter().skip(level + 1).rev() {
            full = full * WIDTH + row.len() as u64;
        }
        full
    }

    /// Level-0 tiles are compared leaf by leaf; the others here.
    fn compare(&mut self, level: usize, number: u64, row: &[Hash]) {
        let (Ok(name), 1..) = (u8::try_from(level), level) else { return };
        let width = row.len() as u64;
        let file = tile_path(Row::Hashes(name), number, width);
        let differing = match read_hashes(self.directory, name, number, width) {
            Ok(tile) => row.iter().zip(&tile).position(|(ours, theirs)| ours != theirs),
            Err(error) => return self.report.add("tile", None, Some(file), error.to_string()),
        };
        if let Some(place) = differing {
            let span = WIDTH.saturating_pow(u32::from(name));
            let index = (number * WIDTH + place as u64) * span;
            self.report.add("tile", Some(index), Some(file), format!("hash {place} is not that of the tile below"));
        }
    }

    fn partial_tiles(&mut self) {
        for level in 1..self.rows.len() {
            let row = std::mem::take(&mut self.rows[level]);
            if !row.is_empty() {
                let number = self.number(level);
                self.compare(level, number, &row);
            }
            self.rows[level] = row;
        }
    }

    fn root(&mut self, signed: Option<&Checkpoint>) {
        let mut carried: Option<Hash> = None;
        for row in &self.rows {
            let units: Vec<Hash> = row.iter().copied().chain(carried).collect();
            carried = (!units.is_empty()).then(|| units_root(&units));
        }
        let root = carried.unwrap_or_else(|| fold(&[]));
        self.report.root = hex::encode(root);
        if signed.is_some_and(|checkpoint| checkpoint.root != root) {
            let message = "the entries do not hash to the signed root";
            self.report.add("root", None, Some("checkpoint".into()), message);
        }
    }
}

/// MTH over complete subtrees of one size, the last of which may be smaller.
fn units_root(units: &[Hash]) -> Hash {
    match units {
        [one] => *one,
        _ => {
            let (left, right) = units.split_at(units.len().next_power_of_two() / 2);
            node_hash(&units_root(left), &units_root(right))
        }
    }
}

type Chosen<'a> = (&'a [u8], Hash, Differs);

/// Takes the copy that two of three agree on; `None` when no entry can be read at all.
fn choose<'a>(bundle: Option<&'a [u8]>, tile: Option<Hash>, segment: Option<(&'a [u8], Hash)>) -> Option<Chosen<'a>> {
    if let (Some(bundle), Some(tile), Some((entry, hash))) = (bundle, tile, segment)
        && bundle == entry
        && tile == hash
    {
        return Some((entry, hash, Differs::default()));
    }
    let bundle = bundle.map(|entry| (entry, leaf_hash(entry)));
    let agree = |copy: Option<(&[u8], Hash)>| copy.is_some_and(|(_, hash)| Some(hash) == tile);
    let pair = bundle.zip(segment).is_some_and(|(a, b)| a.1 == b.1);
    let (entry, hash) = if !pair && agree(bundle) { bundle } else { segment.or(bundle) }?;
    let differs = Differs {
        bundle: bundle.is_some_and(|(_, other)| other != hash),
        tile: tile.is_some_and(|other| other != hash),
        segment: segment.is_some_and(|(_, other)| other != hash),
    };
    Some((entry, hash, differs))
}
