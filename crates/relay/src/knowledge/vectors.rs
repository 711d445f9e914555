//! The vectors of documents: looked up in the record by content, asked of the embedder where they are missing, kept, and
//! only then used (RECORD 7). What an embedder was asked for once, no pump, comparison or rebuild asks for again.
//!
//! The vectors of an embedder that computes them here are not kept (see `stores::embed::HashEmbedder`).

use crate::Shaper;
use ledger::{Address, Content, Embeddings, Leadership, Ledger, Resource};
use model::{Class, Error, ErrorKind, Kind, Position, Result, Subject, Tenant, knowledge::Document};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use stores::{
    Body, Object,
    embed::{Embedder, has_words},
};
use tokio::runtime::Handle;

/// Rows of one statement: some 6 MB of vectors with 1,536 numbers.
const FIND: usize = 1_024;
/// Sealed vectors that are opened by a further thread.
const OPEN: usize = 128;
const LEADER_FIRST: Duration = Duration::from_secs(30);
/// A server that has waited in vain asks by itself for so long.
const ALONE: Duration = Duration::from_secs(600);

/// Knowledge documents as vectors of one embedder. Its calls block: on the record, and on the embedder.
#[derive(Debug)]
pub struct ToVectors {
    ledger: Ledger,
    embedder: Arc<dyn Embedder>,
    runtime: Handle,
    /// Since when this server, which follows, waits for the leader to have vectors made.
    waiting: Mutex<Option<(Instant, Address)>>,
    counts: Counts,
}

/// What a copy's embedder was asked for since this server began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Embedded {
    /// Texts that it has made vectors of.
    pub asked: u64,
    /// Vectors that were kept already.
    pub kept: u64,
    /// Calls that failed.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counts {
    asked: AtomicU64,
    kept: AtomicU64,
    failed: AtomicU64,
}

/// What became of the texts of some documents, by address.
type Found = HashMap<Address, Result<Arc<[f32]>>>;

/// A document as far as it is embedded: its texts' addresses, in the order of its chunks; `None` has no word.
struct Addressed {
    source: Arc<str>,
    texts: Vec<String>,
    addresses: Vec<Option<Address>>,
    release: (Tenant, Position, Class),
}

impl ToVectors {
    /// On the runtime of the record.
    #[must_use]
    pub fn new(ledger: &Ledger, embedder: Arc<dyn Embedder>) -> Self {
        Self {
            ledger: ledger.clone(),
            embedder,
            runtime: Handle::current(),
            waiting: Mutex::default(),
            counts: Counts::default(),
        }
    }

    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.embedder
    }

    #[must_use]
    pub fn embedded(&self) -> Embedded {
        let Counts { asked, kept, failed } = &self.counts;
        let [asked, kept, failed] = [asked, kept, failed].map(|count| count.load(Ordering::Relaxed));
        Embedded { asked, kept, failed }
    }

    /// Where the vectors of a document's texts stand; of one that is not kept, nowhere.
    pub(crate) fn addresses(&self, resource: &Resource) -> Result<Vec<Address>> {
        if !self.embedder.is_kept() {
            return Ok(Vec::new());
        }
        let tenant = &resource.key.tenant;
        let kept = match self.kept(tenant) {
            Err(error) if is_closed(&error) => return Ok(Vec::new()),
            kept => kept?,
        };
        Ok(self.addressed(&kept, resource)??.addresses.into_iter().flatten().collect())
    }

    fn kept(&self, tenant: &Tenant) -> Result<Embeddings> {
        let (model, dimensions) = (self.embedder.model(), self.embedder.dimensions());
        let subject = Subject::of_tenant(tenant);
        self.runtime.block_on(self.ledger.embeddings(tenant, &subject, model, dimensions))
    }

    fn document(&self, resource: &Resource) -> Result<Option<Document>> {
        match &resource.document {
            Content::Clear(document) if resource.class <= self.embedder.class_max() => {
                Document::read(document).map(Some)
            }
            Content::Clear(_) | Content::Erased | Content::Deleted => Ok(None),
        }
    }

    /// Chunk by chunk: title and headings stand with each, and all of them at once would be many times the document.
    fn computed(&self, resource: &Resource) -> Result<Vec<Object>> {
        let Some(document) = self.document(resource)? else { return Ok(Vec::new()) };
        let (model, source) = (Arc::from(self.embedder.model()), Arc::from(&*document.source));
        let mut objects = Vec::with_capacity(document.chunks.len());
        for (ordinal, text) in (0_u32..).zip(texts_of(&document)) {
            let embedded = self.embedder.embed(&[&text])?;
            for values in embedded.into_iter().filter(|values| values.iter().any(|value| *value != 0.0)) {
                objects.push(object(ordinal, &model, &source, values.into()));
            }
        }
        Ok(objects)
    }

    fn of_tenant(&self, tenant: &Tenant, resources: &[&Resource]) -> Result<Vec<Result<Vec<Object>>>> {
        let kept = self.kept(tenant)?;
        let mut documents = Vec::with_capacity(resources.len());
        for resource in resources {
            documents.push(self.addressed(&kept, resource)?);
        }
        let found = self.found(&kept, &documents)?;
        let model: Arc<str> = self.embedder.model().into();
        Ok(documents.into_iter().map(|document| objects_of(document?, &model, &found)).collect())
    }

    /// The inner error is the document's own.
    fn addressed(&self, kept: &Embeddings, resource: &Resource) -> Result<Result<Addressed>> {
        let document = match self.document(resource) {
            Ok(document) => document,
            Err(error) => return Ok(Err(error)),
        };
        let release = (resource.key.tenant.clone(), resource.position, resource.class);
        let (source, texts) = match document {
            Some(document) => (Arc::from(&*document.source), texts_of(&document).collect()),
            None => (Arc::from(""), Vec::new()),
        };
        let address = |text: &String| has_words(text).then(|| kept.address(text)).transpose();
        let addresses = texts.iter().map(address).collect::<Result<_>>()?;
        Ok(Ok(Addressed { source, texts, addresses, release }))
    }

    fn found(&self, kept: &Embeddings, documents: &[Result<Addressed>]) -> Result<Found> {
        let mut texts: HashMap<Address, &str> = HashMap::new();
        for document in documents.iter().flatten() {
            let wanted = document.addresses.iter().zip(&document.texts);
            texts.extend(wanted.filter_map(|(address, text)| Some(((*address)?, &**text))));
        }
        let mut found = Found::new();
        let addresses: Vec<Address> = texts.keys().copied().collect();
        self.look_up(kept, &addresses, &mut found)?;
        self.counts.kept.fetch_add(found.len() as u64, Ordering::Relaxed);
        texts.retain(|address, _| !found.contains_key(address));
        // What was waited for has come: the leader does ask.
        let came = |(since, text): &(Instant, Address)| since.elapsed() <= LEADER_FIRST && found.contains_key(text);
        let mut waiting = self.waiting.lock();
        *waiting = waiting.filter(|waiting| !came(waiting));
        drop(waiting);
        let Some(missing) = texts.keys().next().copied() else { return Ok(found) };
        self.after_the_leader(missing)?;
        let given =
            |document: &&Addressed| document.addresses.iter().flatten().any(|address| texts.contains_key(address));
        let given: Vec<_> = documents.iter().flatten().filter(given).map(|document| document.release.clone()).collect();
        let purpose = format!("embedding by {}", self.embedder.described());
        self.runtime.block_on(self.ledger.texts_given(&purpose, &given))?;
        // What is used is what is kept: another server may have been first.
        let asked = Asking { vectors: self, kept, texts: texts.into_iter().collect() };
        let refused = asked.ask()?;
        let kept_now: Vec<Address> = asked.texts.iter().map(|(address, _)| *address).collect();
        let kept_now: Vec<Address> = kept_now.into_iter().filter(|address| !refused.contains_key(address)).collect();
        self.look_up(kept, &kept_now, &mut found)?;
        found.extend(refused.into_iter().map(|(address, error)| (address, Err(error))));
        Ok(found)
    }

    /// The leader asks first, and a server that follows takes what it keeps; but not for ever.
    fn after_the_leader(&self, missing: Address) -> Result<()> {
        if matches!(self.ledger.leadership(), Leadership::Leader { .. }) {
            return Ok(());
        }
        let mut waiting = self.waiting.lock();
        match waiting.get_or_insert_with(|| (Instant::now(), missing)).0.elapsed() {
            waited if waited > LEADER_FIRST + ALONE => *waiting = Some((Instant::now(), missing)),
            waited if waited > LEADER_FIRST => return Ok(()),
            _ => {}
        }
        let what = "the leader asks the embedder for new texts; this copy waits for what it keeps of them";
        Err(Error::retry("embedder-elsewhere", what))
    }

    /// Adds what is kept. One that does not open any more counts as missing, and its row goes.
    fn look_up(&self, kept: &Embeddings, addresses: &[Address], found: &mut Found) -> Result<()> {
        let mut damaged = Vec::new();
        for page in addresses.chunks(FIND) {
            let sealed = self.runtime.block_on(kept.find(page))?;
            let sealed: Vec<(Address, &[u8])> =
                page.iter().zip(&sealed).filter_map(|(address, sealed)| Some((*address, sealed.as_deref()?))).collect();
            for (address, vector) in opened(kept, &sealed) {
                match vector {
                    Ok(vector) => drop(found.insert(address, Ok(vector.into()))),
                    Err(error) if error.kind() == ErrorKind::Corrupt => {
                        tracing::error!(code = error.code(), "a stored vector is damaged and is made anew: {error}");
                        damaged.push(address);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        if damaged.is_empty() { Ok(()) } else { self.runtime.block_on(kept.forget(&damaged)) }
    }
}

impl Shaper for ToVectors {
    fn kind(&self) -> Kind {
        Kind::KnowledgeDocument
    }

    fn objects(&self, resource: &Resource) -> Result<Vec<Object>> {
        let missing = || Error::bug("a document was shaped into nothing, not even no objects");
        self.objects_of(std::slice::from_ref(resource)).pop().unwrap_or_else(|| Err(missing()))
    }

    /// The objects of each document, in the order of the documents. Erased and deleted ones, and those of a class that
    /// the embedder is not given, have none.
    fn objects_of(&self, resources: &[Resource]) -> Vec<Result<Vec<Object>>> {
        if !self.embedder.is_kept() {
            return resources.iter().map(|resource| self.computed(resource)).collect();
        }
        let mut objects: Vec<Result<Vec<Object>>> = resources.iter().map(|_| Ok(Vec::new())).collect();
        let mut by_tenant: HashMap<&Tenant, Vec<usize>> = HashMap::new();
        for (at, resource) in resources.iter().enumerate() {
            by_tenant.entry(&resource.key.tenant).or_default().push(at);
        }
        for (tenant, places) in by_tenant {
            let of: Vec<&Resource> = places.iter().map(|at| &resources[*at]).collect();
            match self.of_tenant(tenant, &of) {
                Ok(made) => places.into_iter().zip(made).for_each(|(at, made)| objects[at] = made),
                // The documents are still there, their key is not for long: nothing of them is to be held any more.
                Err(error) if is_closed(&error) => {}
                Err(error) => places.into_iter().for_each(|at| objects[at] = Err(again(&error))),
            }
        }
        objects
    }

    fn as_vectors(&self) -> Option<&ToVectors> {
        Some(self)
    }
}

/// The subject is erased, or being erased.
fn is_closed(error: &Error) -> bool {
    matches!(error.code(), "subject-erasing" | "subject-erased")
}

/// The text of each chunk as it is searched: title and headings stand with it.
fn texts_of(document: &Document) -> impl Iterator<Item = String> + '_ {
    let title = &document.title;
    document.chunks.iter().map(move |chunk| format!("{title}\n{}\n{}", chunk.heading, chunk.text))
}

/// Opened side by side, in order.
fn opened(kept: &Embeddings, sealed: &[(Address, &[u8])]) -> Vec<(Address, Result<Vec<f32>>)> {
    let hands = thread::available_parallelism().map_or(1, usize::from).min(sealed.len() / OPEN + 1);
    let open = |part: &[(Address, &[u8])]| -> Vec<_> {
        part.iter().map(|(address, sealed)| (*address, kept.open(address, sealed))).collect()
    };
    let mut parts = sealed.chunks(sealed.len().div_ceil(hands).max(1));
    let own = parts.next().unwrap_or_default();
    thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(move || open(part))).collect();
        let mut all = open(own);
        for other in others {
            // A thread that panicked has opened nothing: what it had counts as missing.
            all.extend(other.join().unwrap_or_default());
        }
        all
    })
}

fn object(ordinal: u32, model: &Arc<str>, source: &Arc<str>, values: Arc<[f32]>) -> Object {
    Object { ordinal, body: Body::Vector { model: Arc::clone(model), source: Arc::clone(source), values } }
}

fn objects_of(document: Addressed, model: &Arc<str>, found: &Found) -> Result<Vec<Object>> {
    let mut objects = Vec::with_capacity(document.addresses.len());
    for (ordinal, address) in (0_u32..).zip(&document.addresses) {
        let Some(address) = address else { continue };
        match found.get(address) {
            Some(Ok(values)) => objects.push(object(ordinal, model, &document.source, Arc::clone(values))),
            Some(Err(error)) => return Err(again(error)),
            None => {
                return Err(Error::retry("embedder-unavailable", "a vector is gone again; the text is embedded anew"));
            }
        }
    }
    Ok(objects)
}

/// Several documents wait for one answer: each is told.
fn again(error: &Error) -> Error {
    let told = Error::new(error.kind(), error.code(), error.message());
    error.context().iter().fold(told, |told, (name, value)| told.with(name, value))
}

/// Texts that nobody has embedded yet.
struct Asking<'a> {
    vectors: &'a ToVectors,
    kept: &'a Embeddings,
    texts: Vec<(Address, &'a str)>,
}

impl Asking<'_> {
    /// Each batch is kept as soon as it is there: what fails later asks for none of it again. Gives the texts that the
    /// embedder refuses.
    fn ask(&self) -> Result<HashMap<Address, Error>> {
        let (size, lanes) = self.vectors.embedder.pace();
        let batches: Vec<&[(Address, &str)]> = self.texts.chunks(size.max(1)).collect();
        let (next, failed, refused) = (AtomicUsize::new(0), Mutex::new(None), Mutex::new(HashMap::new()));
        let lane = || {
            while failed.lock().is_none() {
                let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                match self.batch(batch) {
                    Ok(errors) => refused.lock().extend(errors),
                    Err(error) => drop(failed.lock().get_or_insert(error)),
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..lanes.clamp(1, batches.len().max(1)) {
                scope.spawn(lane);
            }
            lane();
        });
        failed.into_inner().map_or_else(|| Ok(refused.into_inner()), Err)
    }

    fn batch(&self, batch: &[(Address, &str)]) -> Result<Vec<(Address, Error)>> {
        let texts: Vec<&str> = batch.iter().map(|(_, text)| *text).collect();
        match self.vectors.embedder.embed(&texts) {
            Ok(vectors) => {
                let addressed = batch.iter().zip(&vectors).map(|((address, _), vector)| (*address, &**vector));
                let addressed: Vec<(Address, &[f32])> = addressed.collect();
                self.vectors.runtime.block_on(self.kept.keep(&addressed))?;
                self.vectors.counts.asked.fetch_add(addressed.len() as u64, Ordering::Relaxed);
                Ok(Vec::new())
            }
            Err(error) if error.kind() == ErrorKind::Invalid && batch.len() == 1 => Ok(vec![(batch[0].0, error)]),
            // One of them, or more: found by halves.
            Err(error) if error.kind() == ErrorKind::Invalid => {
                let (first, second) = batch.split_at(batch.len() / 2);
                let mut refused = self.batch(first)?;
                refused.extend(self.batch(second)?);
                Ok(refused)
            }
            Err(error) => {
                self.vectors.counts.failed.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }
}
