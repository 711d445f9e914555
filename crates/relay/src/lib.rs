//! RECORD -> COPIES: carries changes, keeps them in step, verifies, rebuilds.
//!
//! A copy is registered as a pair: a `stores::Projection`, which holds it, and a [`Shaper`], which says what it should
//! hold of a resource. The shaper is the only place where that is said: the pump, `verify` and `rebuild` all use it, so
//! a copy is compared with what the record would make of it today.

mod compare;
mod copy;
pub mod counters;
pub mod events;
mod feed;
pub mod knowledge;
mod rebuild;
mod sealing;
pub mod search;
mod verify;
mod walk;

pub use compare::{Difference, What};
pub use copy::{Repaired, Status, Verified};
pub use sealing::KeystoreKeys;

use copy::Copy;
use knowledge::{CleanUp, ToVectors};
use ledger::{Leadership, Ledger, Resource};
use model::{Error, Kind, ResourceKey, Result, Subject};
use parking_lot::Mutex;
use std::{fmt, future::Future, sync::Arc, time::Duration};
use stores::{Object, Projection, vectors::VectorSearch};
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
    copies: Vec<Arc<Copy>>,
    stop: watch::Sender<bool>,
    pumps: Mutex<Vec<JoinHandle<()>>>,
}

impl Relay {
    #[must_use]
    pub fn new(ledger: &Ledger, copies: Vec<(Arc<dyn Projection>, Arc<dyn Shaper>)>) -> Self {
        let stop = watch::Sender::new(false);
        let copy = |(held, shaper)| Arc::new(Copy::new(ledger.clone(), held, shaper, stop.subscribe()));
        let copies = copies.into_iter().map(copy).collect();
        Self { ledger: ledger.clone(), copies, stop, pumps: Mutex::default() }
    }

    /// One pump for each copy: a slow or failing one holds up nobody else.
    pub fn start(&self) {
        let mut pumps = self.pumps.lock();
        for copy in &self.copies {
            pumps.push(tokio::spawn(Arc::clone(copy).pump()));
        }
        let (ledger, shapers, stop) = (self.ledger.clone(), self.shapers(), self.stop.subscribe());
        if shapers.iter().any(|shaper| shaper.as_vectors().is_some_and(|vectors| vectors.embedder().is_kept())) {
            pumps.push(tokio::spawn(cleaned(ledger, shapers, stop)));
        }
    }

    fn shapers(&self) -> Vec<Arc<dyn Shaper>> {
        self.copies.iter().map(|copy| Arc::clone(&copy.shaper)).collect()
    }

    /// Removes stored vectors that no document needs; how many. Runs once a day where this server leads.
    pub async fn clean_up(&self) -> Result<u64> {
        CleanUp { ledger: &self.ledger, shapers: self.shapers() }.run().await
    }

    /// Ends the pumps after the batch each is in; so do rebuilds and comparisons, which say `stopping`.
    pub async fn close(&self) {
        self.stop.send_replace(true);
        let pumps = std::mem::take(&mut *self.pumps.lock());
        for pump in pumps {
            if let Err(error) = pump.await {
                tracing::error!(%error, "a pump ended badly");
            }
        }
    }

    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        self.copies.iter().map(|copy| copy.status()).collect()
    }

    /// Compares a copy with the record at one position, key by key.
    pub async fn verify(&self, name: &str) -> Result<Verified> {
        let copy = Arc::clone(self.copy(name)?);
        to_the_end(async move { copy.verify().await }).await
    }

    /// Makes a copy anew beside the old one, which is read until the new one is complete.
    pub async fn rebuild(&self, name: &str) -> Result<Verified> {
        let copy = Arc::clone(self.copy(name)?);
        to_the_end(async move { copy.rebuild().await }).await
    }

    /// Applies the record's state of these keys again, and says of which the copy then holds it.
    pub async fn repair(&self, name: &str, keys: &[ResourceKey]) -> Result<Repaired> {
        let (copy, keys) = (Arc::clone(self.copy(name)?), keys.to_vec());
        to_the_end(async move { copy.repair(&keys).await }).await
    }

    /// Removes a subject from every copy, and what is left of its stored vectors; its key is destroyed already. One that fails keeps it in no other: the first
    /// error is told when all were asked, with the names of all that failed. They try again by themselves, also after a
    /// restart, what the record keeps as begun.
    pub async fn erase(&self, subject: &Subject) -> Result<()> {
        let (mut first, mut failed) = (None, Vec::new());
        for copy in &self.copies {
            if let Err(error) = copy.erase(subject).await {
                tracing::error!(copy = copy.name(), code = error.code(), "a copy did not erase a subject: {error}");
                failed.push(copy.name());
                first.get_or_insert(error);
            }
        }
        let left = CleanUp { ledger: &self.ledger, shapers: Vec::new() }.of_erased().await;
        first.map_or(left.map(drop), |error| Err(error.with("copies", failed.join(", "))))
    }

    /// The copy that is searched; `copy-unknown` where there is none.
    pub fn vectors(&self) -> Result<Arc<dyn VectorSearch>> {
        self.copies.iter().find_map(|copy| copy.vectors()).ok_or_else(|| missing("vectors"))
    }

    /// `copy-unknown` where there is no such copy.
    pub fn known(&self, name: &str) -> Result<()> {
        self.copy(name).map(drop)
    }

    fn copy(&self, name: &str) -> Result<&Arc<Copy>> {
        self.copies.iter().find(|copy| copy.name() == name).ok_or_else(|| missing(name))
    }
}

async fn cleaned(ledger: Ledger, shapers: Vec<Arc<dyn Shaper>>, mut stop: watch::Receiver<bool>) {
    let work = async {
        let mut pause = CLEAN_FIRST;
        loop {
            tokio::time::sleep(pause).await;
            pause = CLEAN_EVERY;
            if !matches!(ledger.leadership(), Leadership::Leader { .. }) {
                continue;
            }
            match (CleanUp { ledger: &ledger, shapers: shapers.clone() }).run().await {
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
