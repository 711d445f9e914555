//! One generation of the index, open: a copy that is written by the relay and searched by the door.

use super::{
    building::Builder,
    code::Rotation,
    contents::{self, Contents},
    file::{self, Header, NAMING, Reader, unusable},
    policy::Policy,
    seal::{Bound, CopyKeys, Seal},
    search::{Explained, Hit, Search, Stats, VectorSearch},
    table::{Document, Reading, Table, rank},
    writing::Writer,
};
use crate::{
    Projection,
    change::{Body, ChangeBatch, Object},
    digest::{self, Entry, KeyRange},
    generations::Generations,
};
use model::{Error, ErrorKind, Position, Result, Subject, Tenant};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::ErrorKind as Io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Rows of an exact search between which others have their turn.
const EXACT_ROWS: usize = 1 << 10;

/// Documents that a comparison reads under one lock.
const READ_TOGETHER: usize = 64;

/// What every generation of an index is made on.
#[derive(Debug, Clone)]
pub struct Basis {
    pub model: Arc<str>,
    pub dimensions: usize,
    pub keys: Arc<dyn CopyKeys>,
    pub policy: Policy,
}

#[derive(Debug)]
pub struct VectorIndex {
    pub(super) directory: Generations,
    pub(super) number: u64,
    pub(super) header: Header,
    pub(super) rotation: Arc<Rotation>,
    pub(super) seal: Arc<Seal>,
    keys: Arc<dyn CopyKeys>,
    pub(super) contents: Arc<RwLock<Contents>>,
    /// One writer.
    pub(super) writing: Mutex<Writer>,
    /// Places of keys whose vectors did not open when they were read.
    pub(super) unreadable: Arc<Mutex<BTreeSet<u64>>>,
    builder: Arc<Builder>,
    /// `current` names it, or may do so. Of another one the file goes when it is dropped.
    in_use: AtomicBool,
}

fn sealed_with(header: &Header, keys: &dyn CopyKeys) -> Result<Seal> {
    let salt = [b"nephkeep vectors file v2".as_slice(), &header.seed.to_le_bytes()].concat();
    Ok(Seal::new(&keys.derive(header.key, &salt)?))
}

impl VectorIndex {
    /// The current generation of a directory; a new one where there never was any. What is damaged, or another
    /// model's, is refused and left as it is.
    pub fn open(root: &Path, basis: &Basis) -> Result<Arc<Self>> {
        let directory = Generations::make(root, &NAMING)?;
        let Some(number) = directory.current()? else {
            let index = Self::next(&directory, basis, basis.keys.take()?)?;
            index.point()?;
            return Ok(Arc::new(index));
        };
        let index = Self::load(&directory, number, basis)?;
        let Header { ref model, dimensions, .. } = index.header;
        if *model != basis.model || dimensions != basis.dimensions {
            let what = "the vector index was made by another embedding model; nephkeep rebuild vectors makes a new one";
            let error = Error::conflict("vectors-other-model", what).with("index", format!("{model} of {dimensions}"));
            return Err(error.with("asked", &basis.model));
        }
        Ok(Arc::new(index))
    }

    /// An empty generation beside whatever there is.
    pub fn beside(root: &Path, basis: &Basis) -> Result<Arc<Self>> {
        let directory = Generations::make(root, &NAMING)?;
        match directory.current() {
            Ok(current) => directory.sweep(current.as_slice())?,
            // Which one is in use is not known: they all stay until another is adopted.
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
        }
        Ok(Arc::new(Self::next(&directory, basis, basis.keys.take()?)?))
    }

    /// An empty generation; it never takes the place of another, in use or not.
    fn next(directory: &Generations, basis: &Basis, key: u64) -> Result<Self> {
        let number = directory.highest()? + 1;
        let path = directory.place_of(number);
        // The seed needs no secret: it only must not follow the data.
        let (seed, model) = (0x6e65_7068_6b65_6570 ^ number, Arc::clone(&basis.model));
        let header = Header { dimensions: basis.dimensions, seed, key, model };
        let seal = sealed_with(&header, &*basis.keys)?;
        let contents = Contents::empty(header.create(&path)?, header.length());
        let index = Self::of(directory.clone(), number, header, seal, basis, contents, false);
        index.directory.sync()?;
        Ok(index)
    }

    fn load(directory: &Generations, number: u64, basis: &Basis) -> Result<Self> {
        let path = directory.place_of(number);
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        let file = opened.map_err(|error| match error.kind() {
            Io::NotFound => {
                let what = "the file of the current vector index is missing; nephkeep rebuild vectors";
                Error::corrupt("vectors-damaged", what).with("path", path.display())
            }
            _ => unusable(&path, error),
        })?;
        let header = Header::read(&file, &path)?;
        let (seal, rotation) = (sealed_with(&header, &*basis.keys)?, Rotation::new(header.dimensions, header.seed));
        let again = file.try_clone().map_err(|error| unusable(&path, error))?;
        let reader = Reader { file: &file, path: &path, header: &header, seal: &seal };
        let contents = contents::load(&reader, again, &rotation)?;
        let index = Self::of(directory.clone(), number, header, seal, basis, contents, true);
        let damaged = index.damaged();
        if damaged > 0 {
            tracing::error!(damaged, path = %path.display(), "parts of the vector index are damaged; verify names the keys");
        }
        Ok(index)
    }

    fn of(
        directory: Generations,
        number: u64,
        header: Header,
        seal: Seal,
        basis: &Basis,
        contents: Contents,
        in_use: bool,
    ) -> Self {
        let (rotation, in_use) = (Rotation::new(header.dimensions, header.seed), AtomicBool::new(in_use));
        let (rotation, seal, keys) = (Arc::new(rotation), Arc::new(seal), Arc::clone(&basis.keys));
        let (contents, writing, unreadable) = (Arc::new(RwLock::new(contents)), Mutex::default(), Arc::default());
        let builder = Builder::new(&contents, &rotation, &seal, &unreadable, (header.dimensions, basis.policy));
        Self { directory, number, header, rotation, seal, keys, contents, writing, unreadable, builder, in_use }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.place_of(self.number)
    }

    pub(super) fn unusable(&self, error: std::io::Error) -> Error {
        unusable(&self.path(), error)
    }

    fn point(&self) -> Result<()> {
        // Before: also when this fails, the name may stand on the disk.
        self.in_use.store(true, Ordering::Release);
        self.directory.point(self.number)
    }

    /// The digests of a document's objects, from the file. One that does not open is told apart from every other.
    fn digests(&self, contents: &Contents, document: &Document) -> Result<Vec<[u8; 32]>> {
        let Document { stored, place, .. } = document;
        let digest = |(ordinal, at)| {
            let bound = Bound { place: *place, version: stored.version, ordinal };
            let read = file::vector_at(&contents.file, at, self.header.dimensions, &self.seal, bound);
            let values = read.map_err(|error| self.unusable(error))?.unwrap_or_else(|| {
                self.unreadable.lock().insert(*place);
                Vec::new()
            });
            let (model, source) = (Arc::clone(&self.header.model), Arc::clone(&stored.source));
            Ok(digest::of_object(&Object { ordinal, body: Body::Vector { model, source, values: values.into() } }))
        };
        document.places(self.header.dimensions).map(digest).collect()
    }
}

/// A rebuild that came to nothing leaves no file.
impl Drop for VectorIndex {
    fn drop(&mut self) {
        self.builder.end();
        if *self.in_use.get_mut() {
            return;
        }
        // Its number may have been given again: only its own file goes.
        let path = self.directory.place_of(self.number);
        let own = self.contents.read().file.metadata().map(|data| (data.dev(), data.ino()));
        let named = fs::metadata(&path).map(|data| (data.dev(), data.ino()));
        if let (Ok(own), Ok(named)) = (own, named)
            && own == named
        {
            let _gone = fs::remove_file(path);
        }
    }
}

impl Projection for VectorIndex {
    fn name(&self) -> &'static str {
        "vectors"
    }
    fn generation(&self) -> u64 {
        self.number
    }
    fn position(&self) -> Option<Position> {
        self.contents.read().position
    }

    fn damaged(&self) -> u64 {
        let contents = self.contents.read();
        let unreadable = self.unreadable.lock();
        (contents.missing.union(&unreadable).count() as u64).saturating_add(contents.lost)
    }

    fn apply(&self, batch: &ChangeBatch) -> Result<()> {
        self.write(batch)
    }

    fn entries(&self, range: KeyRange) -> Result<Vec<Entry>> {
        let wanted: Vec<(Tenant, u64)> = {
            let contents = self.contents.read();
            let tables = contents.tables.iter();
            let live = tables.flat_map(|(tenant, table)| table.live().map(move |document| (tenant, document.place)));
            live.filter(|(_, place)| range.contains(*place)).map(|(tenant, place)| (tenant.clone(), place)).collect()
        };
        let mut found = Vec::with_capacity(wanted.len());
        // A few at a time: a graph's builder writes beside, and while it waits for its turn nobody searches.
        for some in wanted.chunks(READ_TOGETHER) {
            let contents = self.contents.read();
            for (tenant, place) in some {
                let Some(document) = contents.tables.get(tenant).and_then(|table| table.get(*place)) else { continue };
                let objects = self.digests(&contents, document)?;
                let stored = &document.stored;
                found.push(digest::entry(&stored.key, stored.version, stored.position, &objects));
            }
        }
        found.sort_by(|a, b| (a.place, &a.key).cmp(&(b.place, &b.key)));
        Ok(found)
    }

    fn begin(&self) -> Result<Arc<dyn Projection>> {
        // Of a rewriting that is under way nothing is swept.
        let _writer = self.writing.lock();
        // What rebuilds that did not end have left would fill the disk.
        let current = match self.directory.current() {
            Err(error) if error.kind() == ErrorKind::Corrupt => None,
            current => current?,
        };
        self.directory.sweep(&[self.number, current.unwrap_or(self.number)])?;
        let Header { dimensions, ref model, key, .. } = self.header;
        let (keys, policy) = (Arc::clone(&self.keys), self.builder.policy);
        let basis = Basis { model: Arc::clone(model), dimensions, keys, policy };
        Ok(Arc::new(Self::next(&self.directory, &basis, key)?))
    }

    fn adopt(&self) -> Result<()> {
        self.point()?;
        if let Err(error) = self.directory.sweep(&[self.number]) {
            // It is adopted; the next rebuild or erasure removes what is left.
            tracing::warn!(code = error.code(), "files of older generations stay for now: {error}");
        }
        Ok(())
    }

    fn erase(&self, subject: &Subject) -> Result<u64> {
        let erased = self.wipe(subject)?;
        let _writer = self.writing.lock();
        // A rebuild that failed may have left the subject in a file of its own.
        self.directory.sweep(&[self.number])?;
        Ok(erased)
    }

    fn as_vectors(self: Arc<Self>) -> Option<Arc<dyn VectorSearch>> {
        Some(self)
    }
}

impl VectorSearch for VectorIndex {
    fn search(&self, tenant: &Tenant, search: &Search<'_>) -> Result<Vec<Hit>> {
        let hits = self.look(tenant, search)?;
        self.tend(tenant);
        Ok(hits)
    }
    fn search_exact(&self, tenant: &Tenant, search: &Search<'_>) -> Result<Vec<Hit>> {
        self.check(&self.header.model, search.vector)?;
        let (mut from, mut numbering, mut best) = (0, None, Vec::new());
        loop {
            let contents = self.contents.read();
            let Some(table) = contents.tables.get(tenant) else { return Ok(Vec::new()) };
            if numbering.replace(table.numbering).is_some_and(|before| before != table.numbering) {
                // The file was written anew, and the rows stand elsewhere.
                (from, best) = (0, Vec::new());
            }
            best.extend(table.search_exact(&self.reading(&contents), search, from..from + EXACT_ROWS)?);
            from += EXACT_ROWS;
            let ended = from >= table.rows.len();
            // Replaced or removed while this went on.
            best.retain(|hit| !ended || table.has(hit));
            rank(&mut best, search.limit);
            if ended {
                return Ok(best);
            }
        }
    }

    fn reached(&self) -> Option<Position> {
        self.contents.read().position
    }

    fn stats(&self) -> Stats {
        let damaged = usize::try_from(self.damaged()).unwrap_or(usize::MAX);
        let contents = self.contents.read();
        let sum = |of: fn(&Table) -> usize| contents.tables.values().map(of).sum();
        Stats {
            model: Arc::clone(&self.header.model),
            dimensions: self.header.dimensions,
            documents: sum(Table::documents_live),
            vectors: sum(Table::rows_live),
            tombstones: sum(Table::rows_dead),
            damaged,
            code_bytes: sum(Table::code_bytes),
            resident_bytes: sum(Table::resident_bytes),
            disk_bytes: contents.end,
        }
    }

    fn explained(&self, tenant: Option<&Tenant>) -> Vec<Explained> {
        let contents = self.contents.read();
        let (taken, Builder { policy, dimensions, .. }) = (contents.graph_bytes(), &*self.builder);
        let wanted = contents.tables.iter().filter(|(of, _)| tenant.is_none_or(|tenant| tenant == *of));
        wanted.map(|(of, table)| table.explained(of, policy, *dimensions, taken)).collect()
    }
}

impl VectorIndex {
    fn reading<'r>(&'r self, contents: &'r Contents) -> Reading<'r> {
        let Self { rotation, seal, unreadable, .. } = self;
        Reading { rotation, file: &contents.file, seal, dimensions: self.header.dimensions, unreadable }
    }

    fn look(&self, tenant: &Tenant, search: &Search<'_>) -> Result<Vec<Hit>> {
        self.check(&self.header.model, search.vector)?;
        let contents = self.contents.read();
        let table = contents.tables.get(tenant);
        table.map_or_else(|| Ok(Vec::new()), |table| table.search(&self.reading(&contents), search))
    }

    /// Whatever is due about a tenant's graph is done beside; this waits for nothing.
    fn tend(&self, tenant: &Tenant) {
        let contents = self.contents.read();
        let Some(table) = contents.tables.get(tenant) else { return };
        let due = table.due(&self.builder.policy, self.header.dimensions, contents.graph_bytes());
        drop(contents);
        if due.is_some() {
            self.builder.start(tenant);
        }
    }
}
