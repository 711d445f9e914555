//! Builds graphs beside everything else: one thread at a time, which reads a few rows under the lock, adds them without
//! it, and stops with its index.

use super::{
    code::Rotation,
    contents::Contents,
    graph::{Core, Graph},
    policy::Policy,
    seal::Seal,
    serving::{Due, Step},
    table::{Reading, Table},
};
use model::Tenant;
use parking_lot::{Mutex, RwLock};
use std::{
    collections::BTreeSet,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

/// Rows that are read at a time: a millisecond or two in which nobody writes.
const ROWS: usize = 512;

/// What a graph is built from.
#[derive(Debug)]
pub struct Builder {
    pub contents: Arc<RwLock<Contents>>,
    pub rotation: Arc<Rotation>,
    pub seal: Arc<Seal>,
    pub unreadable: Arc<Mutex<BTreeSet<u64>>>,
    pub dimensions: usize,
    pub policy: Policy,
    busy: AtomicBool,
    ended: AtomicBool,
}

impl Builder {
    pub fn new(
        contents: &Arc<RwLock<Contents>>,
        rotation: &Arc<Rotation>,
        seal: &Arc<Seal>,
        unreadable: &Arc<Mutex<BTreeSet<u64>>>,
        (dimensions, policy): (usize, Policy),
    ) -> Arc<Self> {
        Arc::new(Self {
            contents: Arc::clone(contents),
            rotation: Arc::clone(rotation),
            seal: Arc::clone(seal),
            unreadable: Arc::clone(unreadable),
            dimensions,
            policy,
            busy: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        })
    }

    /// What is built is of no more use.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// Does what is due about a tenant's graph, unless something is being done already.
    pub fn start(self: &Arc<Self>, tenant: &Tenant) {
        if self.ended.load(Ordering::Acquire) || self.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let (builder, of) = (Arc::clone(self), tenant.clone());
        let work = move || {
            // Also when it ends badly.
            let _free = Free(&builder.busy);
            builder.work(&of);
        };
        if let Err(error) = thread::Builder::new().name("vector-graph".into()).spawn(work) {
            self.busy.store(false, Ordering::Release);
            tracing::warn!(%tenant, "no graph is built, there is no thread for it: {error}");
        }
    }

    fn work(&self, tenant: &Tenant) {
        let begun = Instant::now();
        match self.built(tenant) {
            Ok(0) => {}
            Ok(vectors) => {
                tracing::info!(%tenant, vectors, seconds = begun.elapsed().as_secs(), "vectors were added to a graph");
            }
            Err(why) => {
                tracing::warn!(%tenant, "a graph could not be built, the scan goes on: {why}");
                self.with(tenant, |table| {
                    table.graph = None;
                    table.watch.failed(why);
                });
            }
        }
    }

    fn with<T>(&self, tenant: &Tenant, change: impl FnOnce(&mut Table) -> T) -> Option<T> {
        self.contents.write().tables.get_mut(tenant).map(change)
    }

    /// How many vectors were added.
    fn built(&self, tenant: &Tenant) -> Result<usize, String> {
        let taken = self.contents.read().graph_bytes();
        let begin = |table: &mut Table| -> Result<bool, String> {
            match table.due(&self.policy, self.dimensions, taken) {
                Some(Due::Build) => {
                    let core = Core::new(self.policy.shape(self.dimensions))?;
                    table.graph = Some(Graph::new(Arc::new(core)));
                    Ok(true)
                }
                Some(Due::Extend) => Ok(true),
                Some(Due::Drop) => {
                    table.graph = None;
                    Ok(false)
                }
                None => Ok(false),
            }
        };
        if !self.with(tenant, begin).transpose()?.unwrap_or(false) {
            return Ok(0);
        }
        let mut added = 0;
        while let Some(step) = self.step(tenant)? {
            if self.ended.load(Ordering::Acquire) {
                return Ok(0);
            }
            let first = self.add(&step)?;
            added += step.rows.len();
            if self.with(tenant, |table| table.stepped(&step, first)) != Some(true) {
                return Ok(0);
            }
        }
        self.with(tenant, |table| table.graph.as_mut().map(Graph::set_ready));
        Ok(added)
    }

    fn step(&self, tenant: &Tenant) -> Result<Option<Step>, String> {
        let contents = self.contents.read();
        let Some(table) = contents.tables.get(tenant) else { return Ok(None) };
        let Self { rotation, seal, unreadable, dimensions, .. } = self;
        let reading = Reading { rotation, file: &contents.file, seal, dimensions: *dimensions, unreadable };
        table.step(&reading, ROWS * self.hands()).map_err(|error| error.to_string())
    }

    fn hands(&self) -> usize {
        let half = || thread::available_parallelism().map_or(1, NonZero::get) / 2;
        // The engine has room for no more at a time.
        self.policy.hands.unwrap_or_else(half).clamp(1, super::graph::SEARCHES)
    }

    /// The first of the labels.
    fn add(&self, step: &Step) -> Result<u64, String> {
        let first = step.core.labels(step.rows.len())?;
        let mut labelled = (first..).zip(&step.rows);
        if step.ready {
            labelled.try_for_each(|(label, (_, vector))| step.core.add_alone(label, vector))?;
            return Ok(first);
        }
        let labelled: Vec<_> = labelled.collect();
        let part = |part: &[(u64, &(u32, Vec<f32>))]| {
            part.iter().try_for_each(|(label, (_, vector))| step.core.add_beside(*label, vector))
        };
        let each = labelled.len().div_ceil(self.hands()).max(1);
        thread::scope(|scope| {
            let parts: Vec<_> = labelled.chunks(each).map(|some| scope.spawn(move || part(some))).collect();
            let ended =
                parts.into_iter().map(|part| part.join().unwrap_or_else(|_| Err("a thread ended badly".into())));
            ended.collect::<Result<Vec<()>, String>>().map(|_| first)
        })
    }
}

/// Nobody builds any longer.
struct Free<'b>(&'b AtomicBool);

impl Drop for Free<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
