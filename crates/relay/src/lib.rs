//! RECORD -> COPIES: carries changes, keeps them in step, verifies, rebuilds.
//!
//! A copy is registered as a pair: a `stores::Projection`, which holds it, and a [`Shaper`], which says what it should
//! hold of a resource. The shaper is the only place where that is said: the pump, `verify` and `rebuild` all use it, so
//! a copy is compared with what the record would make of it today.

mod clock;
mod compare;
mod copy;
pub mod counters;
pub mod events;
mod feed;
pub mod knowledge;
pub mod measures;
mod migration;
mod rebuild;
pub mod recall;
mod sealing;
pub mod search;
mod slots;
mod verify;
mod walk;

pub use compare::{Difference, What};
pub use copy::{Repaired, Status, Verified};
pub use migration::{Compared, Golden, QUESTIONS_MAX, Side, Stands, Turn};
pub use sealing::KeystoreKeys;
pub use slots::{Engine, Slots};

use copy::Copy;
use knowledge::{CleanUp, ToVectors};
use ledger::{Leadership, Ledger, Resource};
use migration::Migration;
use model::{Error, Kind, ResourceKey, Result, Subject};
use parking_lot::{Mutex, RwLock};
use std::{fmt, future::Future, sync::Arc, time::Duration};
use stores::{Object, Projection, embed::Embedder, text::TextSearch, vectors::VectorSearch};
use tokio::{sync::watch, task::JoinHandle};

/// What a copy should hold of a resource: of the same resource, the same objects. Calls may block.
pub trait Shaper: Send + Sync + fmt::Debug {
    /// Of the resources that the copy is made from.
    fn kind(&self) -> Kind;
    fn objects(&self, resource: &Resource) -> Result<Vec<Object>>;
    /// The same of several, in their order: for one who asks somebody, and better once than often.
    fn objects_of(&self, resources: &[Resource]) -> Vec<Result<Vec<Object>>> {
        resources.iter().map(|resource| self.objects(resource)).collect()
    }
    /// Where vectors are what it makes.
    fn as_vectors(&self) -> Option<&ToVectors> {
        None
    }
}

/// Stored vectors that nobody needs are looked for this often, and for the first time after an hour.
const CLEAN_EVERY: Duration = Duration::from_secs(24 * 3_600);
const CLEAN_FIRST: Duration = Duration::from_secs(3_600);

/// All copies of one record.
#[derive(Debug)]
pub struct Relay {
    ledger: Ledger,
    copies: Copies,
    /// The vector copy that is searched.
    searched: RwLock<Option<Arc<Copy>>>,
    migration: Option<Migration>,
    queries: Arc<measures::Queries>,
    recall: Arc<recall::Monitor>,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

type Copies = Arc<RwLock<Vec<Arc<Copy>>>>;

impl Relay {
    /// Of these copies; the first that holds vectors is searched.
    #[must_use]
    pub fn new(ledger: &Ledger, copies: Vec<(Arc<dyn Projection>, Arc<dyn Shaper>)>) -> Self {
        let copy = |(held, shaper)| Arc::new(Copy::new(ledger.clone(), held, shaper));
        let copies: Vec<Arc<Copy>> = copies.into_iter().map(copy).collect();
        let searched = copies.iter().find(|copy| copy.vectors().is_some()).cloned();
        Self {
            ledger: ledger.clone(),
            copies: Arc::new(RwLock::new(copies)),
            searched: RwLock::new(searched),
            migration: None,
            queries: Arc::default(),
            recall: Arc::new(recall::Monitor::new(recall::Settings::default())),
            stop: watch::Sender::new(false),
            tasks: Mutex::default(),
        }
    }

    /// With vectors made by the first of these embedders, unless the slots know that another one is searched already.
    /// Vectors of another embedder of them may stand beside, and may be migrated to.
    pub fn with_vectors(
        ledger: &Ledger,
        slots: Slots,
        embedders: Vec<Arc<dyn Embedder>>,
        others: Vec<(Arc<dyn Projection>, Arc<dyn Shaper>)>,
    ) -> Result<Self> {
        let (migration, vectors) = migration::arranged(slots, embedders)?;
        let mut relay = Self::new(ledger, others);
        let copies: Vec<Arc<Copy>> =
            vectors.iter().map(|(slot, embedder)| migration.copy(ledger, *slot, embedder)).collect();
        if let Some(beside) = copies.get(1) {
            beside.rename(Some(migration.beside_is_called()));
        }
        *relay.searched.get_mut() = copies.first().cloned();
        relay.copies.write().splice(0..0, copies);
        relay.migration = Some(migration);
        Ok(relay)
    }

    /// One pump for each copy: a slow or failing one holds up nobody else.
    pub fn start(&self) {
        self.copies.read().iter().for_each(Copy::launch);
        let cleaned = cleaned(self.ledger.clone(), Arc::clone(&self.copies), self.stop.subscribe());
        let (recall, ledger, mut stop) = (Arc::clone(&self.recall), self.ledger.clone(), self.stop.subscribe());
        let watched = async move {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => {}
                () = recall.run(ledger) => {}
            }
        };
        self.tasks.lock().extend([tokio::spawn(cleaned), tokio::spawn(watched)]);
    }

    /// Removes stored vectors that no document needs; how many. Runs once a day where this server leads.
    pub async fn clean_up(&self) -> Result<u64> {
        CleanUp { ledger: &self.ledger, shapers: shapers(&self.copies) }.run().await
    }

    /// Ends the pumps after the batch each is in; so do rebuilds and comparisons, which say `stopping`.
    pub async fn close(&self) {
        self.stop.send_replace(true);
        self.migration.iter().for_each(Migration::close);
        let copies = self.copies.read().clone();
        copies.iter().for_each(|copy| copy.stop());
        for copy in &copies {
            copy.end().await;
        }
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the copies ended badly");
            }
        }
    }

    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.copies.read().iter().map(|copy| copy.status()).collect()
    }

    /// Compares a copy with the record at one position, key by key.
    pub async fn verify(&self, name: &str) -> Result<Verified> {
        let copy = self.copy(name)?;
        to_the_end(async move { copy.verify().await }).await
    }

    /// Makes a copy anew beside the old one, which is read until the new one is complete.
    pub async fn rebuild(&self, name: &str) -> Result<Verified> {
        let copy = self.copy(name)?;
        to_the_end(async move { copy.rebuild().await }).await
    }

    /// Applies the record's state of these keys again, and says of which the copy then holds it.
    pub async fn repair(&self, name: &str, keys: &[ResourceKey]) -> Result<Repaired> {
        let (copy, keys) = (self.copy(name)?, keys.to_vec());
        to_the_end(async move { copy.repair(&keys).await }).await
    }

    /// Removes a subject from every copy, and what is left of its stored vectors; its key is destroyed already. One that
    /// fails keeps it in no other: the first error is told when all were asked, with the names of all that failed. They try again by themselves, also after a
    /// restart, what the record keeps as begun.
    pub async fn erase(&self, subject: &Subject) -> Result<()> {
        let (mut first, mut failed) = (None, Vec::new());
        let copies = self.copies.read().clone();
        for copy in &copies {
            if let Err(error) = copy.erase(subject).await {
                tracing::error!(copy = copy.name(), code = error.code(), "a copy did not erase a subject: {error}");
                failed.push(copy.name());
                first.get_or_insert(error);
            }
        }
        let left = CleanUp { ledger: &self.ledger, shapers: Vec::new() }.of_erased().await;
        first.map_or(left.map(drop), |error| Err(error.with("copies", failed.join(", "))))
    }

    /// With other settings of the recall monitor.
    #[must_use]
    pub fn with_recall(mut self, settings: recall::Settings) -> Self {
        self.recall = Arc::new(recall::Monitor::new(settings));
        self
    }

    /// Whether searches find what there is.
    #[must_use]
    pub fn recall(&self) -> &Arc<recall::Monitor> {
        &self.recall
    }

    /// How long searches of the vector index took.
    #[must_use]
    pub fn queries(&self) -> &Arc<measures::Queries> {
        &self.queries
    }

    /// The copy that is searched; `copy-unknown` where there is none.
    pub fn vectors(&self) -> Result<Arc<dyn VectorSearch>> {
        self.searched.read().as_ref().and_then(|copy| copy.vectors()).ok_or_else(|| missing("vectors"))
    }

    /// The same with what made its vectors: a question to it is embedded by that, whatever becomes of them meanwhile.
    pub fn searched(&self) -> Result<(Arc<dyn VectorSearch>, Arc<dyn Embedder>)> {
        let copy = self.searched.read().clone().ok_or_else(|| missing("vectors"))?;
        copy.vectors().zip(copy.embedder()).ok_or_else(|| missing("vectors"))
    }

    /// The copy whose words are searched; `copy-unknown` where there is none.
    pub fn texts(&self) -> Result<Arc<dyn TextSearch>> {
        self.copies.read().iter().find_map(|copy| copy.texts()).ok_or_else(|| missing("text"))
    }

    /// From now on this one is searched, and the other one is called so.
    fn turn_to(&self, copy: &Arc<Copy>, before: &'static str) {
        let mut searched = self.searched.write();
        if let Some(other) = searched.replace(Arc::clone(copy)) {
            other.rename(Some(before));
        }
        copy.rename(None);
    }

    /// `copy-unknown` where there is no such copy.
    pub fn known(&self, name: &str) -> Result<()> {
        self.copy(name).map(drop)
    }

    fn copy(&self, name: &str) -> Result<Arc<Copy>> {
        // Names change hands under it.
        let _searched = self.searched.read();
        self.copies.read().iter().find(|copy| copy.name() == name).cloned().ok_or_else(|| missing(name))
    }
}

fn shapers(copies: &Copies) -> Vec<Arc<dyn Shaper>> {
    copies.read().iter().map(|copy| Arc::clone(&copy.shaper)).collect()
}

async fn cleaned(ledger: Ledger, copies: Copies, mut stop: watch::Receiver<bool>) {
    let work = async {
        let mut pause = CLEAN_FIRST;
        loop {
            tokio::time::sleep(pause).await;
            pause = CLEAN_EVERY;
            if !matches!(ledger.leadership(), Leadership::Leader { .. }) {
                continue;
            }
            match (CleanUp { ledger: &ledger, shapers: shapers(&copies) }).run().await {
                Ok(removed) => tracing::info!(removed, "stored vectors that nobody needs are removed"),
                Err(error) => tracing::warn!(code = error.code(), "stored vectors could not be cleaned up: {error}"),
            }
        }
    };
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        () = work => {}
    }
}

/// In a task of its own: a caller who goes away in the middle must not leave a copy between two states.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    joined(tokio::spawn(work)).await
}

/// Where blocking is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    joined(tokio::task::spawn_blocking(work)).await
}

async fn joined<T>(task: JoinHandle<Result<T>>) -> Result<T> {
    match task.await {
        Ok(done) => done,
        Err(error) => Err(Error::bug("work on a copy ended badly").caused_by(error)),
    }
}

fn missing(name: &str) -> Error {
    let shown: String = name.chars().take(40).collect();
    Error::not_found("copy-unknown", "there is no such copy; GET /api/v1/copies lists them").with("copy", shown)
}
