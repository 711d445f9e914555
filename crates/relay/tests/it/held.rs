//! A copy in memory, and a shaper whose objects are cheap.

use ledger::{Content, Resource};
use model::{Error, Kind, Position, ResourceKey, Result, Subject};
use parking_lot::Mutex;
use relay::Shaper;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use stores::{Body, ChangeBatch, CopyChange, Entry, KeyRange, Object, Projection, digest, vectors::VectorSearch};

#[derive(Default)]
pub struct Shared {
    pub applied: AtomicU64,
    pub most_in_a_batch: AtomicU64,
    /// Called with each batch.
    pub meanwhile: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub struct Held {
    pub shared: Arc<Shared>,
    generation: u64,
    position: Mutex<Option<Position>>,
    pub keys: Mutex<BTreeMap<ResourceKey, CopyChange>>,
}

impl Held {
    pub fn new() -> Arc<Self> {
        Arc::new(Self::of(Arc::default(), 1))
    }

    fn of(shared: Arc<Shared>, generation: u64) -> Self {
        Self { shared, generation, position: Mutex::default(), keys: Mutex::default() }
    }
}

impl Projection for Held {
    fn name(&self) -> &'static str {
        "held"
    }
    fn generation(&self) -> u64 {
        self.generation
    }
    fn position(&self) -> Option<Position> {
        *self.position.lock()
    }
    fn apply(&self, batch: &ChangeBatch) -> Result<()> {
        self.shared.applied.fetch_add(1, Ordering::SeqCst);
        self.shared.most_in_a_batch.fetch_max(batch.changes.len() as u64, Ordering::SeqCst);
        if let Some(meanwhile) = &mut *self.shared.meanwhile.lock() {
            meanwhile();
        }
        let mut keys = self.keys.lock();
        for change in &batch.changes {
            if keys.get(&change.key).is_none_or(|held| held.position.order() <= change.position.order()) {
                keys.insert(change.key.clone(), change.clone());
            }
        }
        *self.position.lock() = Some(batch.through);
        Ok(())
    }
    fn entries(&self, range: KeyRange) -> Result<Vec<Entry>> {
        let keys = self.keys.lock();
        let all = keys.values().filter(|change| !change.objects.is_empty()).map(digest::of_change);
        let mut found: Vec<Entry> = all.filter(|entry| range.contains(entry.place)).collect();
        found.sort_by(|a, b| (a.place, &a.key).cmp(&(b.place, &b.key)));
        Ok(found)
    }
    fn begin(&self) -> Result<Arc<dyn Projection>> {
        Ok(Arc::new(Self::of(Arc::clone(&self.shared), self.generation + 1)))
    }
    fn adopt(&self) -> Result<()> {
        Ok(())
    }
    fn erase(&self, _: &Subject) -> Result<u64> {
        Ok(0)
    }
    fn as_vectors(self: Arc<Self>) -> Option<Arc<dyn VectorSearch>> {
        None
    }
}

/// One vector of a document's length; a document `broken` cannot be shaped.
#[derive(Debug)]
pub struct Lengths;

impl Shaper for Lengths {
    fn kind(&self) -> Kind {
        Kind::Configuration
    }
    fn objects(&self, resource: &Resource) -> Result<Vec<Object>> {
        match &resource.document {
            Content::Clear(text) if **text == *b"\"broken\"" => {
                Err(Error::corrupt("knowledge-malformed", "this one cannot be shaped"))
            }
            Content::Clear(text) => {
                let values = Arc::from([f32::from(u16::try_from(text.len()).unwrap())]);
                Ok(vec![Object { ordinal: 0, body: Body::Vector { model: "m".into(), source: "s".into(), values } }])
            }
            Content::Erased | Content::Deleted => Ok(Vec::new()),
        }
    }
}
