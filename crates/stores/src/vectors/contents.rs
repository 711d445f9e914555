//! What a generation holds, in memory: tables, how far it is, what is damaged, and where in the file bytes lie that
//! nothing refers to any longer.

use super::{
    code::Rotation,
    file::{Found, Reader, unusable},
    frame::{self, Key, Span, Stored},
    table::{Document, Entry, Table},
};
use model::{Position, ResourceKey, Result, Subject, Tenant};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs::File,
    os::unix::fs::FileExt,
};

/// Removed keys that a compaction remembers, the latest ones.
const REMOVED_KEPT: usize = 1 << 16;

#[derive(Debug)]
pub struct Contents {
    pub file: File,
    pub end: u64,
    pub tables: BTreeMap<Tenant, Table>,
    pub subjects: HashSet<Subject>,
    pub position: Option<Position>,
    /// Of removed keys, by place: nothing older brings them back.
    pub removed: BTreeMap<u64, Position>,
    /// Places of keys whose last state is damaged.
    pub missing: BTreeSet<u64>,
    /// Damage of which no key is known.
    pub lost: u64,
    pub waste: Vec<Waste>,
    /// Bytes of the frames of what lives, and of what a compaction would keep besides.
    pub live: u64,
    pub kept: u64,
}

/// A frame that nothing refers to; what it says is still in the file.
#[derive(Debug)]
pub struct Waste {
    pub span: Span,
    pub place: u64,
    /// `None`: damage, and nobody knows whose.
    pub subject: Option<Subject>,
}

/// How a key stands against a change of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Before,
    /// At this very position, with objects in this frame or with none.
    Same(Option<Span>),
    After,
}

impl Contents {
    pub fn empty(file: File, end: u64) -> Self {
        Self {
            file,
            end,
            tables: BTreeMap::new(),
            subjects: HashSet::new(),
            position: None,
            removed: BTreeMap::new(),
            missing: BTreeSet::new(),
            lost: 0,
            waste: Vec::new(),
            live: 0,
            kept: end,
        }
    }

    pub fn standing(&self, key: &ResourceKey, place: u64, position: Position) -> Standing {
        let held = self.tables.get(&key.tenant).and_then(|table| table.get(place));
        let at = held.map(|held| held.stored.position).or_else(|| self.removed.get(&place).copied());
        match at {
            Some(at) if at.order() > position.order() => Standing::After,
            Some(at) if at.order() == position.order() => Standing::Same(held.map(|held| held.span)),
            _ => Standing::Before,
        }
    }

    pub fn reached(&mut self, position: Position) {
        if self.position.is_none_or(|at| at.order() < position.order()) {
            self.position = Some(position);
        }
    }

    /// Takes a key's state in the place of the one before.
    pub fn put(&mut self, mut entry: Entry) {
        let Entry { place, span, .. } = entry;
        self.missing.remove(&place);
        if entry.stored.ordinals.is_empty() {
            let Stored { ref key, position, ref subject, .. } = entry.stored;
            self.removed.insert(place, position);
            self.waste.push(Waste { span, place, subject: Some(subject.clone()) });
            let before = self.tables.get_mut(&key.tenant).and_then(|table| table.remove(place));
            self.wasted(before);
            return;
        }
        self.removed.remove(&place);
        self.live += u64::from(span.length);
        self.share(&mut entry.stored);
        let before = self.tables.entry(entry.stored.key.tenant.clone()).or_default().put(entry);
        self.wasted(before);
    }

    /// Names that many documents have are kept once.
    fn share(&mut self, stored: &mut Stored) {
        match self.subjects.get(&stored.subject) {
            Some(known) => stored.subject = known.clone(),
            None => drop(self.subjects.insert(stored.subject.clone())),
        }
        if let Some((tenant, table)) = self.tables.get_key_value(&stored.key.tenant) {
            stored.key.tenant = tenant.clone();
            table.share(&mut stored.source);
        }
    }

    fn wasted(&mut self, document: Option<Document>) {
        if let Some(Document { stored, place, span, .. }) = document {
            self.live -= u64::from(span.length);
            self.waste.push(Waste { span, place, subject: Some(stored.subject) });
        }
    }

    /// Takes these documents out of the tables.
    pub fn remove(&mut self, which: impl Fn(&Document) -> bool) -> u64 {
        let mut gone = Vec::new();
        for table in self.tables.values_mut() {
            let places: Vec<u64> =
                table.live().filter(|document| which(document)).map(|document| document.place).collect();
            gone.extend(places.into_iter().map(|place| table.remove(place)));
        }
        let count = gone.len() as u64;
        gone.into_iter().for_each(|document| self.wasted(document));
        count
    }

    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        self.tables.values().flat_map(Table::live)
    }

    /// Memory of all graphs.
    pub fn graph_bytes(&self) -> u64 {
        self.tables.values().filter_map(|table| table.graph.as_ref()).map(|graph| graph.bytes() as u64).sum()
    }

    /// Bytes that a compaction would free.
    pub fn dead(&self) -> u64 {
        self.end.saturating_sub(self.live + self.kept)
    }

    /// The latest removals; the others have long been passed by every reader of the log.
    pub fn removed_kept(&self) -> BTreeMap<u64, Position> {
        let mut removed: Vec<(u64, Position)> = self.removed.iter().map(|(place, at)| (*place, *at)).collect();
        if removed.len() > REMOVED_KEPT {
            removed.sort_unstable_by_key(|(_, at)| std::cmp::Reverse(at.order()));
            removed.truncate(REMOVED_KEPT);
        }
        removed.into_iter().collect()
    }
}

/// What is written of keys that are not among the documents. Frames of `lost` add up: of one file, each says what no
/// other in it does.
pub fn remembered(removed: &BTreeMap<u64, Position>, missing: &BTreeSet<u64>, lost: u64) -> Vec<u8> {
    let mut out = Vec::new();
    removed.iter().for_each(|(place, position)| frame::put_removed(&mut out, *place, *position));
    missing.iter().for_each(|place| frame::put_missing(&mut out, *place));
    if lost > 0 {
        frame::put_lost(&mut out, lost);
    }
    out
}

/// A file's frames on their way into memory.
struct Loading<'l> {
    contents: Contents,
    rotation: &'l Rotation,
    dimensions: usize,
    /// Where the last state of each key lies.
    latest: HashMap<u64, u64>,
    /// Places whose state was blank, damaged or missing there; true: it counts as damage.
    gone: Vec<(u64, u64, bool)>,
    /// Blank frames with something behind their heads.
    unclean: Vec<(Span, u64)>,
}

pub fn load(reader: &Reader<'_>, file: File, rotation: &Rotation) -> Result<Contents> {
    let mut loading = Loading {
        contents: Contents::empty(file, reader.header.length()),
        rotation,
        dimensions: reader.header.dimensions,
        latest: HashMap::new(),
        gone: Vec::new(),
        unclean: Vec::new(),
    };
    let end = reader.read(|span, found| loading.take(span, found))?;
    let file = &loading.contents.file;
    let cut = file
        .metadata()
        .and_then(|data| if data.len() > end { file.set_len(end).map(|()| data.len()) } else { Ok(end) });
    let size = cut.map_err(|error| unusable(reader.path, error))?;
    if size > end {
        tracing::info!(bytes = size - end, path = %reader.path.display(), "what no whole frame follows was cut off the vector index");
    }
    for (span, place) in &loading.unclean {
        let blanked = file.write_all_at(&frame::blank(*place, span.length), span.at).and_then(|()| file.sync_data());
        blanked.map_err(|error| unusable(reader.path, error))?;
    }
    loading.contents.end = end;
    Ok(loading.settled())
}

impl Loading<'_> {
    fn take(&mut self, span: Span, found: Found) {
        let contents = &mut self.contents;
        match found {
            Found::Key(place, Key { stored, objects, vectors }) => {
                self.latest.insert(place, span.at);
                let objects_at = span.at + objects;
                let mut entry = Entry { stored, place, span, objects_at, codes: Vec::new(), factors: Vec::new() };
                entry.encode(self.rotation, vectors.chunks_exact(self.dimensions.max(1)));
                contents.put(entry);
            }
            Found::Reached(position) => contents.reached(position),
            Found::Removed(place, position) => {
                self.latest.insert(place, span.at);
                contents.removed.insert(place, position);
                contents.kept += u64::from(span.length);
            }
            Found::Missing(place) => {
                self.gone.push((place, span.at, true));
                contents.kept += u64::from(span.length);
            }
            Found::Lost(count) => {
                contents.lost += count;
                contents.kept += u64::from(span.length);
            }
            Found::Blank(place, clean) => {
                self.gone.push((place, span.at, false));
                if !clean {
                    self.unclean.push((span, place));
                }
            }
            Found::Ruin(places) => {
                contents.lost += u64::from(places.is_empty());
                let place = places.first().copied().unwrap_or(0);
                contents.waste.push(Waste { span, place, subject: None });
                self.gone.extend(places.into_iter().map(|place| (place, span.at, true)));
            }
        }
    }

    /// Of what stands behind a key's last state, nothing older may take the place.
    fn settled(mut self) -> Contents {
        let latest = &self.latest;
        self.gone.retain(|(place, at, _)| latest.get(place).is_none_or(|state| state < at));
        let gone: HashSet<u64> = self.gone.iter().map(|(place, ..)| *place).collect();
        if !gone.is_empty() {
            self.contents.remove(|document| gone.contains(&document.place));
        }
        let damaged = self.gone.iter().filter(|(.., damaged)| *damaged);
        self.contents.missing.extend(damaged.map(|(place, ..)| *place));
        self.contents
    }
}
