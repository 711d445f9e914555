//! The index as its users see it: a copy that is written by the relay and searched by the door.

use super::{
    code::Rotation,
    file::{self, Frame, Header, Stored},
    table::{Reading, Table},
};
use crate::{
    Projection,
    change::{Body, ChangeBatch, CopyChange, Object},
    digest::{self, Entry, KeyRange},
};
use model::{Class, Error, Position, ResourceKey, Result, Subject, Tenant, Version};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Which stored vectors are looked at, before any is ranked.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Documents of a higher class are not looked at.
    pub class_max: Class,
    pub source: Option<String>,
}

#[derive(Debug, Clone, Copy)]
pub struct Search<'s> {
    pub vector: &'s [f32],
    pub limit: usize,
    /// How many of the best estimates are compared by the vectors themselves.
    pub rescore: usize,
    pub filter: &'s Filter,
}

/// Inner product of vectors of length 1: 1 is the same direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub key: ResourceKey,
    pub version: Version,
    pub position: Position,
    pub class: Class,
    pub ordinal: u32,
    pub score: f32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    pub model: Arc<str>,
    pub dimensions: usize,
    pub documents: usize,
    pub vectors: usize,
    /// Removed or replaced, until the file is written anew.
    pub tombstones: usize,
    /// Frames that did not fit their checksum when the index was opened.
    pub damaged: usize,
    pub code_bytes: usize,
    pub resident_bytes: usize,
    pub disk_bytes: u64,
}

pub trait VectorSearch: Send + Sync + fmt::Debug {
    fn search(&self, tenant: &Tenant, search: &Search<'_>) -> Result<Vec<Hit>>;
    /// Without codes, over every vector.
    fn search_exact(&self, tenant: &Tenant, search: &Search<'_>) -> Result<Vec<Hit>>;
    fn stats(&self) -> Stats;
}

/// One generation, open.
#[derive(Debug)]
pub struct VectorIndex {
    root: PathBuf,
    number: u64,
    header: Header,
    rotation: Rotation,
    inner: RwLock<Inner>,
    /// One writer.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    end: u64,
    tables: BTreeMap<Tenant, Table>,
    position: Option<Position>,
    damaged: usize,
}

const CURRENT: &str = "current";
/// More dead than living vectors, and enough of them to be worth it: the file is written anew.
const COMPACT_FROM: usize = 4_096;

fn file_of(root: &Path, number: u64) -> PathBuf {
    root.join(format!("generation-{number}.vectors"))
}

impl VectorIndex {
    /// The current generation of a directory; a new one where there is none. Another model's index is refused.
    pub fn open(root: &Path, model: &str, dimensions: usize) -> Result<Arc<Self>> {
        // Vectors tell something of their texts: nobody else reads them.
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(root);
        made.map_err(|error| file::unusable(root, error))?;
        let pointer = root.join(CURRENT);
        let number = match fs::read_to_string(&pointer) {
            Ok(text) => text.trim().parse().map_err(|_| {
                let what = "the file that names the current vector index is damaged; nephkeep rebuild vectors";
                Error::corrupt("vectors-damaged", what).with("path", pointer.display())
            })?,
            Err(_) => 0,
        };
        if number == 0 {
            let index = Self::next(root, model, dimensions)?;
            index.point()?;
            return Ok(Arc::new(index));
        }
        let index = Self::load(root, number, &file_of(root, number))?;
        if *index.header.model != *model || index.header.dimensions != dimensions {
            let what = "the vector index was made by another embedding model; nephkeep rebuild vectors makes a new one";
            let of = format!("{} of {}", index.header.model, index.header.dimensions);
            return Err(Error::conflict("vectors-other-model", what).with("index", of).with("asked", model));
        }
        Ok(Arc::new(index))
    }

    /// An empty generation in the place of one that cannot be used.
    pub fn fresh(root: &Path, model: &str, dimensions: usize) -> Result<Arc<Self>> {
        let index = Self::next(root, model, dimensions)?;
        index.adopt()?;
        Ok(Arc::new(index))
    }

    /// Removes every other generation: older ones, and what rebuilds that did not end have left.
    fn alone(&self) -> Result<()> {
        let others = (1..=Self::highest(&self.root)?).filter(|number| *number != self.number);
        for path in others.map(|number| file_of(&self.root, number)).filter(|path| path.exists()) {
            fs::remove_file(&path).map_err(|error| file::unusable(&path, error))?;
        }
        file::sync_directory(&self.root)
    }

    /// The highest number of a generation that has a file, in use or not.
    fn highest(root: &Path) -> Result<u64> {
        let entries = fs::read_dir(root).map_err(|error| file::unusable(root, error))?;
        let number = |name: &str| name.strip_prefix("generation-")?.strip_suffix(".vectors")?.parse::<u64>().ok();
        Ok(entries.flatten().filter_map(|entry| number(entry.file_name().to_str()?)).max().unwrap_or(0))
    }

    /// An empty generation; it never takes the place of another, in use or not.
    fn next(root: &Path, model: &str, dimensions: usize) -> Result<Self> {
        let number = Self::highest(root)? + 1;
        let path = file_of(root, number);
        // The seed needs no secret: it only must not follow the data.
        let header = Header { dimensions, seed: 0x6e65_7068_6b65_6570 ^ number, model: model.into() };
        let mut file = header.create(&path)?;
        file::sync_directory(root)?;
        let end = file.seek(SeekFrom::End(0)).map_err(|error| file::unusable(&path, error))?;
        let rotation = Rotation::new(dimensions, header.seed);
        let inner = Inner { file, end, tables: BTreeMap::new(), position: None, damaged: 0 };
        Ok(Self { root: root.into(), number, header, rotation, inner: RwLock::new(inner), writing: Mutex::default() })
    }

    fn load(root: &Path, number: u64, path: &Path) -> Result<Self> {
        let (mut tables, mut position, mut damaged) = (BTreeMap::<Tenant, Table>::new(), None, 0);
        let mut rotation: Option<Rotation> = None;
        let (file, header, end) = file::read(path, |header, frame| {
            let rotation = rotation.get_or_insert_with(|| Rotation::new(header.dimensions, header.seed));
            match frame {
                Frame::Damaged => damaged += 1,
                Frame::Reached(at) => position = Some(at),
                Frame::Key { stored, objects_at, vectors } => {
                    let each: Vec<&[f32]> = vectors.chunks_exact(header.dimensions.max(1)).collect();
                    let table = tables.entry(stored.key.tenant.clone()).or_default();
                    table.put(stored, rotation, objects_at, &each);
                }
            }
            Ok(())
        })?;
        if damaged > 0 {
            tracing::error!(damaged, path = %path.display(), "parts of the vector index are damaged; verify names the keys");
        }
        let rotation = rotation.unwrap_or_else(|| Rotation::new(header.dimensions, header.seed));
        let inner = Inner { file, end, tables, position, damaged };
        Ok(Self { root: root.into(), number, header, rotation, inner: RwLock::new(inner), writing: Mutex::default() })
    }

    /// Makes this generation the current one.
    fn point(&self) -> Result<()> {
        let (temporary, pointer) = (self.root.join("current.new"), self.root.join(CURRENT));
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(format!("{}\n", self.number).as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &pointer)
        });
        written.map_err(|error| file::unusable(&pointer, error))?;
        file::sync_directory(&self.root)
    }

    fn vectors_of<'c>(&self, change: &'c CopyChange) -> Result<(Stored, Vec<&'c [f32]>)> {
        let (mut ordinals, mut vectors, mut source) = (Vec::new(), Vec::new(), Arc::from(""));
        for Object { ordinal, body } in &change.objects {
            let Body::Vector { model, source: of, values } = body;
            self.check(model, values).map_err(|error| error.with("id", &change.key.id).with("chunk", ordinal))?;
            ordinals.push(*ordinal);
            vectors.push(&**values);
            source = Arc::clone(of);
        }
        let CopyChange { position, version, class, .. } = *change;
        let (key, subject) = (change.key.clone(), change.subject.clone());
        Ok((Stored { key, position, version, class, subject, source, ordinals }, vectors))
    }

    fn check(&self, model: &str, values: &[f32]) -> Result<()> {
        if *model != *self.header.model {
            let what = "a vector of another embedding model; this index holds one model only";
            return Err(Error::invalid("vector-other-model", what).with("model", model));
        }
        if values.len() != self.header.dimensions {
            let what = format!("a vector has {} dimensions here", self.header.dimensions);
            return Err(Error::invalid("vector-dimensions", what).with("given", values.len()));
        }
        let length: f32 = values.iter().map(|value| value * value).sum();
        if !length.is_finite() || (length - 1.0).abs() > 1e-3 {
            let what = "a vector has length 1; this one has not, or holds what is no number";
            return Err(Error::invalid("vector-malformed", what));
        }
        Ok(())
    }

    /// Appends and syncs; what is not durable is in no table.
    fn write(&self, frames: &[u8]) -> Result<u64> {
        let (mut file, end) = {
            let inner = self.inner.read();
            let file = inner.file.try_clone().map_err(|error| self.unusable(error))?;
            (file, inner.end)
        };
        let written =
            file.seek(SeekFrom::Start(end)).and_then(|_| file.write_all(frames)).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Half a frame at the end is cut off at the next opening; now, if that is possible.
            let _cut = file.set_len(end);
            return Err(self.unusable(error));
        }
        Ok(end)
    }

    fn unusable(&self, error: std::io::Error) -> Error {
        file::unusable(&file_of(&self.root, self.number), error)
    }

    /// Writes what lives into a new file in the place of the old one.
    fn compact(&self) -> Result<()> {
        let path = file_of(&self.root, self.number);
        let temporary = path.with_extension("compacting");
        if temporary.exists() {
            fs::remove_file(&temporary).map_err(|error| file::unusable(&temporary, error))?;
        }
        let mut fresh = self.header.create(&temporary)?;
        {
            let inner = self.inner.read();
            let mut out = Vec::new();
            for (stored, places) in inner.tables.values().flat_map(Table::live) {
                let vectors: Vec<Vec<f32>> = places
                    .iter()
                    .map(|at| file::vector_at(&inner.file, *at, self.header.dimensions))
                    .collect::<Result<_, _>>()
                    .map_err(|error| self.unusable(error))?;
                let vectors: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
                file::put_key(&mut out, stored, &vectors);
                if out.len() > 8 << 20 {
                    fresh.write_all(&out).map_err(|error| file::unusable(&temporary, error))?;
                    out.clear();
                }
            }
            if let Some(position) = inner.position {
                file::put_reached(&mut out, position);
            }
            let written = fresh.write_all(&out).and_then(|()| fresh.sync_all());
            written.map_err(|error| file::unusable(&temporary, error))?;
        }
        // Read before it takes the old one's place: whatever fails, the writer stays on the file that has the name.
        let anew = Self::load(&self.root, self.number, &temporary)?;
        fs::rename(&temporary, &path).map_err(|error| file::unusable(&path, error))?;
        *self.inner.write() = anew.inner.into_inner();
        file::sync_directory(&self.root)
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
        self.inner.read().position
    }

    fn apply(&self, batch: &ChangeBatch) -> Result<()> {
        let _one = self.writing.lock();
        let (mut frames, mut taken) = (Vec::new(), Vec::new());
        for change in &batch.changes {
            let newer = {
                let inner = self.inner.read();
                let held = inner.tables.get(&change.key.tenant).and_then(|table| table.get(&change.key));
                held.is_some_and(|held| later(held.position, change.position))
            };
            if newer {
                continue;
            }
            let (stored, vectors) = self.vectors_of(change)?;
            let objects_at = file::put_key(&mut frames, &stored, &vectors);
            taken.push((stored, objects_at, vectors));
        }
        file::put_reached(&mut frames, batch.through);
        let begins = self.write(&frames)?;
        let mut inner = self.inner.write();
        inner.end = begins + frames.len() as u64;
        inner.position = Some(batch.through);
        for (stored, objects_at, vectors) in taken {
            let table = inner.tables.entry(stored.key.tenant.clone()).or_default();
            table.put(stored, &self.rotation, begins + objects_at, &vectors);
        }
        let (dead, live) = inner
            .tables
            .values()
            .fold((0, 0), |(dead, live), table| (dead + table.rows_dead(), live + table.rows_live()));
        drop(inner);
        if dead > COMPACT_FROM && dead > live { self.compact() } else { Ok(()) }
    }

    fn entries(&self, range: KeyRange) -> Result<Vec<Entry>> {
        let inner = self.inner.read();
        let mut found = Vec::new();
        for (stored, places) in inner.tables.values().flat_map(Table::live) {
            if !range.contains(digest::place(&stored.key)) {
                continue;
            }
            let mut objects = Vec::with_capacity(places.len());
            for (ordinal, at) in stored.ordinals.iter().zip(places) {
                let values = file::vector_at(&inner.file, at, self.header.dimensions);
                let values = values.map_err(|error| self.unusable(error))?.into();
                let (model, source) = (Arc::clone(&self.header.model), Arc::clone(&stored.source));
                let body = Body::Vector { model, source, values };
                objects.push(digest::of_object(&Object { ordinal: *ordinal, body }));
            }
            found.push(digest::entry(&stored.key, stored.version, stored.position, &objects));
        }
        found.sort_by(|a, b| (a.place, &a.key).cmp(&(b.place, &b.key)));
        Ok(found)
    }

    fn begin(&self) -> Result<Arc<dyn Projection>> {
        let Header { dimensions, ref model, .. } = self.header;
        Ok(Arc::new(Self::next(&self.root, model, dimensions)?))
    }

    fn adopt(&self) -> Result<()> {
        self.point()?;
        self.alone()
    }

    fn erase(&self, subject: &Subject) -> Result<u64> {
        let _one = self.writing.lock();
        let mut erased = 0;
        {
            let mut inner = self.inner.write();
            for table in inner.tables.values_mut() {
                let of = table.live().filter(|(stored, _)| stored.subject == *subject);
                let of: Vec<ResourceKey> = of.map(|(stored, _)| stored.key.clone()).collect();
                erased += of.iter().filter(|key| table.remove(key)).count() as u64;
            }
        }
        // Always: an earlier removal may have left bytes of the subject in the file, or a rebuild that failed its own file.
        self.compact()?;
        self.alone()?;
        Ok(erased)
    }

    fn as_vectors(self: Arc<Self>) -> Option<Arc<dyn VectorSearch>> {
        Some(self)
    }
}

/// Of positions of one log: in a later life, or further in the same one.
fn later(a: Position, b: Position) -> bool {
    (a.incarnation.ordinal, a.n) > (b.incarnation.ordinal, b.n)
}

impl VectorSearch for VectorIndex {
    fn search(&self, tenant: &Tenant, search: &Search<'_>) -> Result<Vec<Hit>> {
        self.look(tenant, search, Table::search)
    }
    fn search_exact(&self, tenant: &Tenant, search: &Search<'_>) -> Result<Vec<Hit>> {
        self.look(tenant, search, Table::search_exact)
    }

    fn stats(&self) -> Stats {
        let inner = self.inner.read();
        let sum = |of: fn(&Table) -> usize| inner.tables.values().map(of).sum();
        Stats {
            model: Arc::clone(&self.header.model),
            dimensions: self.header.dimensions,
            documents: sum(Table::documents_live),
            vectors: sum(Table::rows_live),
            tombstones: sum(Table::rows_dead),
            damaged: inner.damaged,
            code_bytes: sum(Table::code_bytes),
            resident_bytes: sum(Table::resident_bytes),
            disk_bytes: inner.end,
        }
    }
}

type Look = fn(&Table, &Reading<'_>, &Search<'_>) -> Result<Vec<Hit>>;

impl VectorIndex {
    fn look(&self, tenant: &Tenant, search: &Search<'_>, look: Look) -> Result<Vec<Hit>> {
        self.check(&self.header.model, search.vector)?;
        let inner = self.inner.read();
        let Some(table) = inner.tables.get(tenant) else { return Ok(Vec::new()) };
        look(
            table,
            &Reading { rotation: &self.rotation, file: &inner.file, dimensions: self.header.dimensions },
            search,
        )
    }
}
