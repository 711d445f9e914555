//! Which questions are compared, what came of it for each tenant, and with which effort the next one is asked.

use super::{
    bound::Figures,
    compare::{Asked, Compared},
    control::{Control, Effort, Knob, Step},
};
use ledger::Ledger;
use model::{ErrorKind, Result, Tenant};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use stores::vectors::{Hit, Search, VectorSearch};
use tokio::{sync::mpsc, time::sleep};

/// Questions that wait for their comparison.
const QUEUE: usize = 64;
/// Tenants that are watched; a further one is searched with the usual effort.
const TENANTS: usize = 1_000;
/// For each second of comparing so many of rest.
const REST: u32 = 9;
const REST_MOST: Duration = Duration::from_secs(300);
/// How long a deletion may take to reach the copy, before a hit of it is called a ghost.
const PATIENCE: u32 = 45;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// One question of so many is compared, the first of each tenant always; 0: none.
    pub every: u64,
    /// The bound that effort is raised for.
    pub target: f64,
    /// With which a tenant begins.
    pub effort: Effort,
}

impl Default for Settings {
    fn default() -> Self {
        Self { every: 20, target: 0.95, effort: Effort::DEFAULT }
    }
}

#[derive(Debug)]
struct Watched {
    control: Control,
    asked: u64,
    ghosts: u64,
    missing: u64,
}

/// A question on its way to its comparison.
#[derive(Debug)]
pub struct Sample {
    asked: Asked,
    effort: Effort,
}

/// How a tenant's searches do.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    pub tenant: Tenant,
    /// Of the latest samples under this effort; `None`: there are none.
    pub figures: Option<Figures>,
    pub effort: Effort,
    pub target: f64,
    /// Answers whose document the record does not have.
    pub ghosts: u64,
    /// Answers that there should have been, and that the index does not find with the most effort.
    pub missing: u64,
}

#[derive(Debug)]
pub struct Monitor {
    settings: Settings,
    tenants: Mutex<BTreeMap<Tenant, Watched>>,
    samples: mpsc::Sender<Sample>,
    waiting: Mutex<Option<mpsc::Receiver<Sample>>>,
    skipped: AtomicU64,
}

impl Monitor {
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let (samples, waiting) = mpsc::channel(QUEUE);
        let (tenants, waiting) = (Mutex::default(), Mutex::new(Some(waiting)));
        Self { settings, tenants, samples, waiting, skipped: AtomicU64::new(0) }
    }

    /// A search with the tenant's effort; it is compared later, if its turn has come.
    pub fn search(&self, vectors: &Arc<dyn VectorSearch>, tenant: &Tenant, search: &Search<'_>) -> Result<Vec<Hit>> {
        let (effort, chosen) = self.turn(tenant);
        let Effort { ef, rescore } = effort.answers(search.limit);
        let hits = vectors.search(tenant, &Search { ef, rescore, ..*search })?;
        if chosen {
            let (vectors, tenant, vector) = (Arc::clone(vectors), tenant.clone(), search.vector.into());
            let asked = Asked { vectors, tenant, vector, limit: search.limit, filter: search.filter.clone() };
            if self.samples.try_send(Sample { asked, effort }).is_err() {
                self.skipped.fetch_add(1, Relaxed);
            }
        }
        Ok(hits)
    }

    fn turn(&self, tenant: &Tenant) -> (Effort, bool) {
        let every = self.settings.every;
        self.with(tenant, |watched| {
            watched.asked += 1;
            (watched.control.effort(), every > 0 && (watched.asked - 1).is_multiple_of(every))
        })
        .unwrap_or((self.settings.effort, false))
    }

    /// `None`: too many tenants are watched.
    fn with<T>(&self, tenant: &Tenant, look: impl FnOnce(&mut Watched) -> T) -> Option<T> {
        let mut tenants = self.tenants.lock();
        if !tenants.contains_key(tenant) {
            if tenants.len() >= TENANTS {
                return None;
            }
            let control = Control::new(self.settings.target, self.settings.effort);
            tenants.insert(tenant.clone(), Watched { control, asked: 0, ghosts: 0, missing: 0 });
        }
        tenants.get_mut(tenant).map(look)
    }

    /// From now on; the controller goes on from there.
    pub fn set(&self, tenant: &Tenant, effort: Effort) {
        self.with(tenant, |watched| watched.control.set(effort));
    }

    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let tenants = self.tenants.lock();
        let shown = |(tenant, watched): (&Tenant, &Watched)| Shown {
            tenant: tenant.clone(),
            figures: watched.control.figures(),
            effort: watched.control.effort(),
            target: self.settings.target,
            ghosts: watched.ghosts,
            missing: watched.missing,
        };
        tenants.iter().map(shown).collect()
    }

    /// Chosen questions that were not compared because too many waited.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Relaxed)
    }

    /// The next question that waits; who compares is one.
    pub fn next(&self) -> Option<Sample> {
        self.waiting.lock().as_mut()?.try_recv().ok()
    }

    /// Compares a question, and lets the effort follow. Takes processor time.
    pub fn compare(&self, sample: &Sample) -> Result<Option<(Compared, Step)>> {
        let Sample { asked, effort } = sample;
        let Some(compared) = asked.compared(*effort)? else { return Ok(None) };
        let knob = match asked.vectors.explained(Some(&asked.tenant)).first() {
            Some(explained) if explained.index == "hnsw" => Knob::Ef,
            _ => Knob::Rescore,
        };
        let step = self.with(&asked.tenant, |watched| {
            watched.missing += compared.missing.len() as u64;
            // Another effort than the present one says nothing about it.
            if watched.control.effort() == *effort { watched.control.add(compared.recall, knob) } else { Step::Stay }
        });
        for (key, chunk) in &compared.missing {
            tracing::warn!(%key, chunk, "the vector index does not find a vector that it holds, with the most effort there is");
        }
        Ok(Some((compared, step.unwrap_or(Step::Stay))))
    }

    /// Until it is dropped.
    pub(crate) async fn run(self: Arc<Self>, ledger: Ledger) {
        let Some(mut waiting) = self.waiting.lock().take() else { return };
        while let Some(sample) = waiting.recv().await {
            let (monitor, begun) = (Arc::clone(&self), Instant::now());
            let compared = crate::blocking(move || Ok((monitor.compare(&sample)?, sample))).await;
            let took = begun.elapsed();
            match compared {
                Ok((Some((compared, step)), sample)) => {
                    self.tell(&sample, step);
                    self.ghosts(&ledger, &sample, compared).await;
                }
                Ok((None, _)) => {}
                Err(error) if error.kind() == ErrorKind::Retry => {}
                Err(error) => tracing::warn!(code = error.code(), "a search could not be compared: {error}"),
            }
            sleep((took * REST).min(REST_MOST)).await;
        }
    }

    fn tell(&self, sample: &Sample, step: Step) {
        let (tenant, before) = (&sample.asked.tenant, sample.effort);
        let now = self.with(tenant, |watched| watched.control.effort()).unwrap_or(before);
        match step {
            Step::Stay => {}
            Step::Raised => tracing::info!(%tenant, ?before, ?now, "recall was under its target: more effort"),
            Step::Lowered => tracing::info!(%tenant, ?before, ?now, "recall was well above its target: less effort"),
            Step::Exhausted => {
                tracing::warn!(%tenant, ?now, "recall is under its target with the most effort there is")
            }
        }
    }

    /// Answers whose documents the record does not have, also when the copy has followed it.
    async fn ghosts(&self, ledger: &Ledger, sample: &Sample, compared: Compared) {
        let Some(kind) = compared.answered.first().map(|key| key.kind) else { return };
        let Ok(kept) = ledger.kept_of(kind, &compared.answered).await else { return };
        let suspects: Vec<_> =
            compared.answered.into_iter().filter(|key| kept.iter().all(|kept| kept.key != *key)).collect();
        if suspects.is_empty() {
            return;
        }
        let Ok(head) = ledger.head().await else { return };
        let followed = || sample.asked.vectors.reached().is_some_and(|at| at.order() >= head.order());
        let mut patience = PATIENCE;
        while !followed() {
            if patience == 0 {
                return;
            }
            patience -= 1;
            sleep(Duration::from_secs(2)).await;
        }
        let again = sample.asked.clone();
        let Ok(hits) = crate::blocking(move || again.search(Effort::MOST)).await else { return };
        let ghosts: Vec<_> = suspects.iter().filter(|key| hits.iter().any(|hit| hit.key == **key)).collect();
        for key in &ghosts {
            tracing::warn!(%key, "the vector index answers with a document that the record does not have; nephkeep rebuild vectors");
        }
        self.with(&sample.asked.tenant, |watched| watched.ghosts += ghosts.len() as u64);
    }
}
