//! One generation of the index, open: a copy that is written by the relay and searched by the door.

use super::{
    NAMING,
    damage::Damage,
    disk::Disk,
    rows::{Fields, Held, KeyRow, PLACE, Row},
    search::{TextCopy, TextSearch},
};
use crate::{
    Projection,
    change::{Body, ChangeBatch, Object},
    digest::{self, Entry, KeyRange},
    generations::Generations,
    lazy::Engine,
};
use model::{Error, ErrorKind, Position, Result, Subject, Tenant, Version};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    fs::{self, File},
    io::ErrorKind as Io,
    os::unix::fs::MetadataExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tantivy::{
    DocId, DocSet, Index, IndexBuilder, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, TERMINATED,
    TantivyDocument, TantivyError, Term,
    directory::error::OpenReadError,
    schema::IndexRecordOption,
    store::{Compressor, StoreReader},
};

/// Blocks of stored rows that are kept for those who read them one after the other.
const BLOCKS_KEPT: usize = 16;

pub struct TextIndex {
    pub(super) generations: Generations,
    number: u64,
    /// Its own directory, open: another one may stand under its name when it goes.
    own: File,
    pub(super) disk: Disk,
    pub(super) fields: Fields,
    pub(super) index: Index,
    pub(super) contents: RwLock<Contents>,
    /// One writer, made when the first batch comes and again after it has failed.
    pub(super) writing: Mutex<Option<IndexWriter>>,
    pub(super) damage: RwLock<Damage>,
    /// Rows of what became confidential may still lie in a segment's files; after a start nobody knows.
    pub(super) unclean: AtomicBool,
    /// Places of keys with rows that could not be read.
    pub(super) unreadable: Mutex<BTreeSet<u64>>,
    /// `current` names it, or may do so. Of another one the files go when it is dropped.
    in_use: AtomicBool,
}

impl fmt::Debug for TextIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextIndex").field("place", &self.place()).finish_non_exhaustive()
    }
}

pub struct Contents {
    pub reader: IndexReader,
    pub position: Option<Position>,
    /// Living keys, by place.
    pub keys: HashMap<u64, Held>,
    /// Of removed keys: nothing older brings them back.
    pub removed: BTreeMap<u64, Position>,
    pub tenants: HashMap<Tenant, Tally>,
}

/// What a tenant has: how rare a word is is told by it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub documents: u64,
    pub chunks: u64,
    pub words: u64,
}

impl Contents {
    pub fn put(&mut self, place: u64, held: Held) {
        self.take(place);
        self.removed.remove(&place);
        let tally = self.tenants.entry(held.key.tenant.clone()).or_default();
        tally.documents += 1;
        tally.chunks += u64::from(held.chunks);
        tally.words += held.words;
        self.keys.insert(place, held);
    }

    pub fn remove(&mut self, place: u64, position: Position) {
        self.take(place);
        self.removed.insert(place, position);
    }

    fn take(&mut self, place: u64) {
        let Some(held) = self.keys.remove(&place) else { return };
        if let Some(tally) = self.tenants.get_mut(&held.key.tenant) {
            tally.documents = tally.documents.saturating_sub(1);
            tally.chunks = tally.chunks.saturating_sub(u64::from(held.chunks));
            tally.words = tally.words.saturating_sub(held.words);
        }
    }

    /// Whether what is held of a place is of a later position than this.
    pub fn is_after(&self, place: u64, position: Position) -> bool {
        let held = self.keys.get(&place).map(|held| held.position);
        held.or_else(|| self.removed.get(&place).copied()).is_some_and(|held| held.order() > position.order())
    }
}

impl TextIndex {
    /// The current generation of a directory; a new one where there never was any. What is damaged, or made by other
    /// rules, is refused and left as it is.
    pub fn open(root: &Path) -> Result<Arc<Self>> {
        let generations = Generations::make(root, &NAMING)?;
        let Some(number) = generations.current()? else {
            let index = Self::next(&generations)?;
            index.point()?;
            return Ok(Arc::new(index));
        };
        Ok(Arc::new(Self::load(&generations, number)?))
    }

    /// An empty generation beside whatever there is.
    pub fn beside(root: &Path) -> Result<Arc<Self>> {
        let generations = Generations::make(root, &NAMING)?;
        match generations.current() {
            Ok(current) => generations.sweep(current.as_slice())?,
            // Which one is in use is not known: they all stay until another is adopted.
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
        }
        Ok(Arc::new(Self::next(&generations)?))
    }

    fn next(generations: &Generations) -> Result<Self> {
        let number = generations.make_next()?;
        let (place, fields) = (generations.place_of(number), Fields::new());
        let disk = Disk::new(&place);
        let settings = IndexSettings { docstore_compression: Compressor::None, ..IndexSettings::default() };
        let made = IndexBuilder::new().schema(fields.schema.clone()).settings(settings).open_or_create(disk.clone());
        let index = made.map_err(|error| failed(&place, error))?;
        Self::of(generations, number, disk, fields, index, false)
    }

    fn load(generations: &Generations, number: u64) -> Result<Self> {
        let place = generations.place_of(number);
        if !place.join("meta.json").try_exists().map_err(|error| NAMING.unusable(&place, error))? {
            return Err(NAMING.damaged(&place, "the current text index is missing"));
        }
        if !Damage::of(&place)?.is_none() {
            return Err(NAMING.damaged(&place, "files of the text index are not what was written"));
        }
        let (disk, fields) = (Disk::new(&place), Fields::new());
        let index = Index::open(disk.clone()).map_err(|error| failed(&place, error))?;
        if index.schema() != fields.schema {
            let what = "the text index was made by other rules; nephkeep rebuild text makes a new one";
            return Err(Error::conflict("text-other-rules", what).with("path", place.display()));
        }
        Self::of(generations, number, disk, fields, index, true)
    }

    fn of(
        generations: &Generations,
        number: u64,
        disk: Disk,
        fields: Fields,
        index: Index,
        in_use: bool,
    ) -> Result<Self> {
        let place = generations.place_of(number);
        let own = File::open(&place).map_err(|error| NAMING.unusable(&place, error))?;
        let reader: tantivy::Result<IndexReader> =
            index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into();
        let reader = reader.map_err(|error| failed(&place, error))?;
        let told = index.load_metas().map_err(|error| failed(&place, error))?.payload;
        let position = told.map(|told| told.parse::<Position>()).transpose();
        let position = position.map_err(|_| NAMING.damaged(&place, "the position of the text index cannot be read"))?;
        let (keys, removed, tenants) = (HashMap::new(), BTreeMap::new(), HashMap::new());
        let mut contents = Contents { reader, position, keys, removed, tenants };
        let known = remembered(&mut contents, &fields).map_err(|error| failed(&place, error))?;
        known.map_err(|error| NAMING.damaged(&place, "a row of the text index cannot be read").caused_by(error))?;
        Ok(Self {
            generations: generations.clone(),
            number,
            own,
            disk,
            fields,
            index,
            contents: RwLock::new(contents),
            writing: Mutex::default(),
            damage: RwLock::default(),
            unclean: AtomicBool::new(in_use),
            unreadable: Mutex::default(),
            in_use: AtomicBool::new(in_use),
        })
    }

    pub(super) fn place(&self) -> PathBuf {
        self.generations.place_of(self.number)
    }

    /// What the engine says, in our words.
    pub(super) fn failed(&self, error: TantivyError) -> Error {
        if self.disk.was_full() {
            let full = Error::retry("disk-full", "there is no space left for the text index");
            return full.with("path", self.place().display()).caused_by(error);
        }
        failed(&self.place(), error)
    }

    fn point(&self) -> Result<()> {
        // Before: also when this fails, the name may stand on the disk.
        self.in_use.store(true, Ordering::Release);
        self.generations.point(self.number)
    }

    /// Looks at every file.
    fn check(&self) -> Result<()> {
        let found = Damage::of(&self.place())?;
        *self.damage.write() = found;
        Ok(())
    }

    /// A row; of a damaged block the engine may do worse than to err.
    pub(super) fn row(&self, store: &StoreReader, doc: DocId) -> Option<Row> {
        let read = catch_unwind(AssertUnwindSafe(|| store.get::<TantivyDocument>(doc)));
        self.fields.row(&read.ok()?.ok()?)
    }

    fn seen(&self, range: KeyRange, contents: &Contents) -> tantivy::Result<BTreeMap<u64, Seen>> {
        let (damage, mut seen) = (self.damage.read(), BTreeMap::<u64, Seen>::new());
        for segment in contents.reader.searcher().segment_readers() {
            if damage.searched.contains(&segment.segment_id()) {
                continue;
            }
            let (places, store) = (segment.fast_fields().u64(PLACE)?, segment.get_store_reader(BLOCKS_KEPT)?);
            for doc in segment.doc_ids_alive() {
                let Some(place) = places.first(doc).filter(|place| range.contains(*place)) else { continue };
                if contents.keys.contains_key(&place) {
                    seen.entry(place).or_default().take(self.row(&store, doc));
                }
            }
        }
        Ok(seen)
    }
}

/// What the rows of keys say.
fn remembered(contents: &mut Contents, fields: &Fields) -> tantivy::Result<Result<()>> {
    let term = Term::from_field_u64(fields.key, 1);
    for segment in contents.reader.searcher().segment_readers() {
        let store = segment.get_store_reader(BLOCKS_KEPT)?;
        let rows = segment.inverted_index(fields.key)?.read_postings(&term, IndexRecordOption::Basic)?;
        let Some(mut rows) = rows else { continue };
        while rows.doc() != TERMINATED {
            let doc = rows.doc();
            rows.advance();
            if segment.is_deleted(doc) {
                continue;
            }
            let known = match fields.row(&store.get(doc)?) {
                Some(Row::Key(row)) => row.held().map(|held| contents.put(digest::place(&held.key), held)),
                Some(Row::Removed { place, position }) => {
                    position.parse().map(|position| contents.remove(place, position))
                }
                Some(Row::Chunk { .. }) | None => Err(Error::bug("a row of a key is not one")),
            };
            if let Err(error) = known {
                return Ok(Err(error));
            }
        }
    }
    Ok(Ok(()))
}

/// Damage never passes; what else keeps a file from being used may.
fn failed(place: &Path, error: TantivyError) -> Error {
    let of_bytes = |error: &std::io::Error| matches!(error.kind(), Io::UnexpectedEof | Io::InvalidData | Io::Other);
    let damage = match &error {
        TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. }) | TantivyError::IoError(io_error) => {
            of_bytes(io_error)
        }
        TantivyError::OpenReadError(_)
        | TantivyError::DataCorruption(_)
        | TantivyError::IncompatibleIndex(_)
        | TantivyError::DeserializeError(_)
        | TantivyError::InternalError(_) => true,
        _ => false,
    };
    if damage {
        return NAMING.damaged(place, "the text index is damaged").caused_by(error);
    }
    let what = "a file of the text index cannot be used";
    Error::retry("text-unusable", what).with("path", place.display()).caused_by(error)
}

/// What was met of a key.
#[derive(Debug, Default)]
struct Seen {
    head: Option<KeyRow>,
    objects: Vec<(u32, [u8; 32])>,
    /// A row could not be read.
    broken: bool,
}

impl Seen {
    fn take(&mut self, row: Option<Row>) {
        match row {
            Some(Row::Key(row)) => self.head = Some(row),
            Some(Row::Chunk { ordinal, source, text, .. }) => {
                let body = Body::Text { source: source.into(), text: text.into() };
                self.objects.push((ordinal, digest::of_object(&Object { ordinal, body })));
            }
            Some(Row::Removed { .. }) => {}
            None => self.broken = true,
        }
    }

    /// Of a key whose row cannot be read or says something else than was remembered, no digest fits.
    fn entry(mut self, known: &Held) -> (Entry, bool) {
        let told = self.head.and_then(|head| head.held().ok());
        let broken = self.broken || told.as_ref() != Some(known) || self.objects.len() != known.chunks as usize;
        let (version, position): (Version, Position) =
            told.map_or((known.version, known.position), |told| (told.version, told.position));
        self.objects.sort_unstable_by_key(|(ordinal, _)| *ordinal);
        let mut objects: Vec<[u8; 32]> = self.objects.into_iter().map(|(_, digest)| digest).collect();
        if broken {
            objects.push([0; 32]);
        }
        (digest::entry(&known.key, version, position, &objects), broken)
    }
}

/// A rebuild that came to nothing leaves no file.
impl Drop for TextIndex {
    fn drop(&mut self) {
        self.writing.get_mut().take();
        if *self.in_use.get_mut() {
            return;
        }
        // Its number may have been given again: only its own files go.
        let place = self.place();
        let own = self.own.metadata().map(|data| (data.dev(), data.ino()));
        let named = fs::metadata(&place).map(|data| (data.dev(), data.ino()));
        if let (Ok(own), Ok(named)) = (own, named)
            && own == named
        {
            let _gone = fs::remove_dir_all(place);
        }
    }
}

impl Projection for TextIndex {
    fn name(&self) -> &'static str {
        Self::NAME
    }
    fn generation(&self) -> u64 {
        self.number
    }
    fn position(&self) -> Option<Position> {
        self.contents.read().position
    }

    fn damaged(&self) -> u64 {
        let damage = self.damage.read();
        (damage.searched.len() + damage.stored.len() + self.unreadable.lock().len()) as u64
    }

    fn apply(&self, batch: &ChangeBatch) -> Result<()> {
        self.write(batch)
    }

    fn entries(&self, range: KeyRange) -> Result<Vec<Entry>> {
        if range.first == 0 {
            self.check()?;
        }
        let contents = self.contents.read();
        let seen = self.seen(range, &contents).map_err(|error| self.failed(error))?;
        let mut unreadable = self.unreadable.lock();
        let mut entries = Vec::with_capacity(seen.len());
        for (place, seen) in seen {
            let Some(known) = contents.keys.get(&place) else { continue };
            let (entry, broken) = seen.entry(known);
            if broken {
                unreadable.insert(place)
            } else {
                unreadable.remove(&place)
            };
            entries.push(entry);
        }
        Ok(entries)
    }

    fn begin(&self) -> Result<Arc<dyn Projection>> {
        // Nothing is swept while something is written.
        let _writer = self.writing.lock();
        let current = match self.generations.current() {
            Err(error) if error.kind() == ErrorKind::Corrupt => None,
            current => current?,
        };
        self.generations.sweep(&[self.number, current.unwrap_or(self.number)])?;
        Ok(Arc::new(Self::next(&self.generations)?))
    }

    fn adopt(&self) -> Result<()> {
        self.point()?;
        if let Err(error) = self.generations.sweep(&[self.number]) {
            // It is adopted; the next rebuild or erasure removes what is left.
            tracing::warn!(code = error.code(), "files of older generations stay for now: {error}");
        }
        Ok(())
    }

    fn erase(&self, subject: &Subject) -> Result<u64> {
        let erased = self.wipe(subject)?;
        let _writer = self.writing.lock();
        // A rebuild that failed may have left the subject in files of its own.
        self.generations.sweep(&[self.number])?;
        Ok(erased)
    }

    fn as_texts(self: Arc<Self>) -> Option<Arc<dyn TextSearch>> {
        Some(self)
    }
    fn leaves_out(&self) -> Option<&'static str> {
        Self::LEAVES_OUT
    }
}

impl Engine for TextIndex {
    const NAME: &'static str = "text";
    const LEAVES_OUT: Option<&'static str> = Some("confidential documents: their text never lies in clear in an index");
    type Basis = ();

    fn open(root: &Path, (): &()) -> Result<Arc<Self>> {
        Self::open(root)
    }
    fn beside(root: &Path, (): &()) -> Result<Arc<Self>> {
        Self::beside(root)
    }
    fn clear(root: &Path) -> Result<()> {
        Generations::make(root, &NAMING)?.sweep(&[])
    }
    fn texts_of(copy: Arc<TextCopy>) -> Option<Arc<dyn TextSearch>> {
        Some(copy)
    }
}
