//! Reading entries back: by range, by filter. Works on the files alone, beside a running writer too. Blocking.

use crate::{
    codec,
    entry::{Entry, EntryKind},
    log::TransparencyLog,
    segment::{self, ENTRIES},
    tile::{Row, WIDTH, split_bundle, tile_path},
};
use model::{Error, Result};
use serde::Serialize;
use std::{fs, ops::Range, path::Path};

/// Entries one `query` call looks at; it says where to go on.
const SCAN_BUDGET: u64 = ENTRIES;

/// What to look for. Everything left out matches.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Indices to look at; the default is the whole log.
    pub range: Option<Range<u64>>,
    pub kind: Option<EntryKind>,
    pub principal: Option<String>,
    /// Entries of this tenant. Restores name no tenant and match only without this filter.
    pub tenant: Option<String>,
    /// Wall time in microseconds since 1970, from (inclusive) and to (exclusive).
    pub since_micros: Option<u64>,
    pub until_micros: Option<u64>,
    pub limit: usize,
    pub newest_first: bool,
}

/// Matching entries with their indices, and the range still to be looked at: pass it as `Query::range`, stop at `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub entries: Vec<(u64, Entry)>,
    pub rest: Option<Range<u64>>,
}

impl Query {
    fn matches(&self, entry: &Entry) -> bool {
        let micros = entry.hlc().micros();
        self.kind.is_none_or(|kind| kind == entry.entry_kind())
            && self.principal.as_deref().is_none_or(|principal| principal == entry.principal())
            && self.tenant.as_deref().is_none_or(|tenant| entry.tenant() == Some(tenant))
            && self.since_micros.is_none_or(|since| micros >= since)
            && self.until_micros.is_none_or(|until| micros < until)
    }
}

/// Reads bundles; what no full bundle holds yet comes from the open segment.
pub(crate) struct BundleReader<'a> {
    directory: &'a Path,
    /// The first index and the entries of the segment read last.
    segment: Option<(u64, Vec<Vec<u8>>)>,
}

impl<'a> BundleReader<'a> {
    pub(crate) fn new(directory: &'a Path) -> Self {
        Self { directory, segment: None }
    }

    /// The encoded entries of bundle `number`, at least `count` of them.
    fn read(&mut self, number: u64, count: u64) -> Result<Vec<Vec<u8>>> {
        let path = self.directory.join(tile_path(Row::Entries, number, WIDTH));
        if let Ok(bytes) = fs::read(&path)
            && let Some(entries) = split_bundle(&bytes)
            && entries.len() as u64 == WIDTH
        {
            return Ok(entries.into_iter().map(<[u8]>::to_vec).collect());
        }
        let first = number * WIDTH / ENTRIES * ENTRIES;
        let low = usize::try_from(number * WIDTH - first).unwrap_or(usize::MAX);
        let high = low.saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
        let held = self.segment.as_ref().is_some_and(|(held, entries)| *held == first && entries.len() >= high);
        if !held {
            let mut entries = Vec::new();
            let body = segment::read_body(self.directory, first)?;
            segment::scan(&body, |entry, _| entries.push(entry.to_vec()));
            self.segment = Some((first, entries));
        }
        let part = self.segment.as_ref().and_then(|(_, entries)| entries.get(low..high.min(entries.len())));
        match part {
            Some(part) if part.len() as u64 >= count => Ok(part.to_vec()),
            _ => Err(index_unknown(number * WIDTH + count - 1)),
        }
    }

    /// Visits `range` in order or backwards until the visitor says stop.
    pub(crate) fn visit(
        &mut self,
        range: Range<u64>,
        backwards: bool,
        mut visitor: impl FnMut(u64, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let bundles = range.start / WIDTH..=(range.end - 1) / WIDTH;
        let steps = bundles.end() - bundles.start();
        for step in 0..=steps {
            let number = if backwards { bundles.end() - step } else { bundles.start() + step };
            let low = range.start.max(number * WIDTH);
            let high = range.end.min((number + 1) * WIDTH);
            let entries = self.read(number, high - number * WIDTH)?;
            for offset in 0..high - low {
                let index = if backwards { high - 1 - offset } else { low + offset };
                let place = usize::try_from(index % WIDTH).unwrap_or(usize::MAX);
                if !visitor(index, &entries[place])? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn index_unknown(index: u64) -> Error {
    Error::not_found("audit-index-unknown", "the audit log has no entry of this index").with("index", index)
}

fn decode_at(index: u64, bytes: &[u8]) -> Result<Entry> {
    codec::decode(bytes).map_err(|error| error.with("index", index))
}

impl TransparencyLog {
    /// Visits durable entries `from..to` (cut at the end of the log) in order until the visitor says stop.
    pub fn each(&self, from: u64, to: u64, mut visitor: impl FnMut(u64, Entry) -> Result<bool>) -> Result<()> {
        let range = from..to.min(self.size());
        BundleReader::new(self.directory()).visit(range, false, |index, bytes| visitor(index, decode_at(index, bytes)?))
    }

    /// The same, kept in memory: ask in pages.
    pub fn read_range(&self, from: u64, to: u64) -> Result<Vec<(u64, Entry)>> {
        let mut entries = Vec::new();
        self.each(from, to, |index, entry| {
            entries.push((index, entry));
            Ok(true)
        })?;
        Ok(entries)
    }

    /// Entries that match, at most `limit`, from a bounded stretch of the log; `rest` says where to go on.
    pub fn query(&self, query: &Query) -> Result<Found> {
        let size = self.size();
        let range = query.range.clone().map_or(0..size, |range| range.start..range.end.min(size));
        let span = range.end.saturating_sub(range.start).min(SCAN_BUDGET);
        let (looked, mut rest) = if query.newest_first {
            (range.end - span..range.end, range.start..range.end - span)
        } else {
            (range.start..range.start + span, range.start + span..range.end)
        };
        let mut entries = Vec::new();
        BundleReader::new(self.directory()).visit(looked, query.newest_first, |index, bytes| {
            let entry = decode_at(index, bytes)?;
            if query.matches(&entry) {
                if entries.len() == query.limit {
                    rest = if query.newest_first { range.start..index + 1 } else { index..range.end };
                    return Ok(false);
                }
                entries.push((index, entry));
            }
            Ok(true)
        })?;
        Ok(Found { entries, rest: (!rest.is_empty()).then_some(rest) })
    }
}

/// How many leaves of each sort.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    pub write: u64,
    pub access: u64,
    pub act: u64,
    pub restore: u64,
    /// Positions in all access leaves.
    pub positions: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, entry: &Entry) {
        match entry {
            Entry::Write { .. } => self.write += 1,
            Entry::Act { .. } => self.act += 1,
            Entry::Restore { .. } => self.restore += 1,
            Entry::Access { positions, .. } => {
                self.access += 1;
                self.positions += positions.len() as u64;
            }
        }
    }
}
