//! The gateway: every call takes `&Access`, is checked, audited, and only then answered.

use crate::{
    ChangePage, Content, Resource, Settings,
    cache::{Cache, Held},
    changes,
    committer::{self, Job, Offenders, Stored, Waiting},
    connection::{ADMINISTRATION, Connector},
    durability, erasure, expiry,
    fetch::Fetcher,
    keystore_mark::{self, Mark},
    lease::Lease,
    metrics::Metrics,
    migrations::{self, Phase},
    names,
    publish::{Lives, Published},
    record::Record,
    ring::Ring,
    sequencer,
    settings::DATASET,
    subject_rows::SubjectRows,
    subjects::Subjects,
    upkeep,
};
use audit::{AccessNote, Entry, Noted, TransparencyLog};
use keys::{Bound, EnvelopeHeader, Keystore, Opened};
use model::{Access, Action, Class, Error, ErrorKind, Hlc, Position, ResourceKey, Result};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinHandle,
};

const READERS: usize = 8;
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    Leader {
        epoch: u64,
    },
    /// Writes are answered with 307 and this address, when one is known.
    Follower {
        leader_url: Option<String>,
    },
}

/// A handle to the record; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub record: Arc<Record>,
    pub queue: mpsc::Sender<Job>,
    /// Kilobytes that may wait in the queue.
    pub room: Arc<Semaphore>,
    pub room_kb: u32,
    fetcher: Fetcher,
    stop: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// They have nothing to finish.
    fetchers: Vec<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.fetchers.iter().for_each(JoinHandle::abort);
    }
}

impl Inner {
    /// One of the record's own tasks is gone although nobody has closed the record.
    pub fn tasks_ended(&self) -> bool {
        !*self.stop.borrow() && self.tasks.lock().iter().any(JoinHandle::is_finished)
    }
}

impl Ledger {
    /// Brings the schema up to date, then leads or follows. Fails only when PostgreSQL cannot be reached or used,
    /// or is set to lose what it commits.
    pub async fn open(
        settings: Settings,
        connector: Connector,
        keystore: Arc<Keystore>,
        log: Arc<TransparencyLog>,
    ) -> Result<Self> {
        let mut session = connector.connect("nephkeep migrations", ADMINISTRATION).await?;
        if !settings.without_durability {
            durability::check(&session.client).await?;
        }
        migrations::apply(&mut session.client, Phase::Expand).await?;
        let mark = keystore_mark::check(&mut session.client, &keystore).await?;
        let closed = erasure::begun(&session.client).await?;
        drop(session);
        let (queue, receiver) = mpsc::channel(settings.queue_groups);
        let waiting = Waiting::new(receiver, settings.batch_groups, settings.batch_bytes);
        let room_kb = u32::try_from(settings.queue_bytes / 1024).unwrap_or(u32::MAX).max(1);
        let record = Arc::new(record(settings, connector, keystore, log, mark)?);
        record.subjects.close(closed);
        let (stop, stopped) = watch::channel(false);
        let (fetcher, fetchers) = Fetcher::start(&record);
        // The sequencer ends after the committer, so that it copies the last batch too.
        let (ended, drained) = watch::channel(false);
        let committing = committer::run(record.clone(), waiting, stopped.clone());
        let committer = tokio::spawn(async move {
            committing.await;
            ended.send_replace(true);
        });
        let sequencer = tokio::spawn(sequencer::run(record.clone(), drained));
        let names = tokio::spawn(names::run(record.clone(), stopped.clone()));
        let expiry = tokio::spawn(expiry::run(record.clone(), stopped.clone()));
        let upkeep = tokio::spawn(upkeep::run(record.clone(), stopped));
        let tasks = vec![committer, sequencer, names, expiry, upkeep];
        let room = Arc::new(Semaphore::new(room_kb as usize));
        let tasks = Mutex::new(tasks);
        let inner = Inner { record, queue, room, room_kb, fetcher, stop, tasks, fetchers };
        let ledger = Self { inner: Arc::new(inner) };
        if !ledger.inner.record.lease.settled(SETTLE_LIMIT).await {
            ledger.close().await;
            let message = "the record's head could not be read in time; is PostgreSQL overloaded or locked?";
            return Err(Error::retry("record-unreachable", message));
        }
        Ok(ledger)
    }

    /// Answers what waits, releases the lease, ends all tasks.
    pub async fn close(&self) {
        self.inner.stop.send_replace(true);
        let tasks = std::mem::take(&mut *self.inner.tasks.lock());
        self.inner.fetchers.iter().for_each(JoinHandle::abort);
        for task in tasks {
            if let Err(error) = task.await
                && error.is_panic()
            {
                tracing::error!(%error, "a task of the record panicked");
            }
        }
        // Before PostgreSQL stops: a connection that it ends is a warning.
        self.inner.record.pool.close();
    }

    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.inner.record
    }

    #[must_use]
    pub fn leadership(&self) -> Leadership {
        self.inner.record.lease.leadership()
    }
    #[must_use]
    pub fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.record.lease.watch()
    }
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        self.inner.record.metrics.clone()
    }
    /// The highest position that may be read. `None` before the first change.
    pub fn published(&self) -> Result<Option<Position>> {
        match self.inner.record.published.get() {
            0 => Ok(None),
            n => self.inner.record.position_at(n).map(Some),
        }
    }
    /// n of `published`, for waking readers.
    #[must_use]
    pub fn watch_published(&self) -> watch::Receiver<u64> {
        self.inner.record.published.watch()
    }

    /// The current version, its access entry durable by class before this returns.
    pub async fn read(&self, access: &Access, key: &ResourceKey) -> Result<Option<Resource>> {
        let (resource, noted) = self.read_noted(access, key).await?;
        noted.released().await?;
        Ok(resource)
    }

    /// The same for a caller who works with the document before he shows it: nothing of it, and no error that came of
    /// it, is answered before `released`. So the entry's sync overlaps with that of the change.
    pub async fn read_noted(&self, access: &Access, key: &ResourceKey) -> Result<(Option<Resource>, Noted)> {
        let record = &self.inner.record;
        if let Err(error) = access.check(Action::Read, &key.tenant, Some(key.kind)) {
            return Err(self.denied(access, Action::Read, error).await);
        }
        let hash = record.cache.hash(key);
        // The lease is looked at after the value was taken (RECORD 4).
        if let Some(held) = record.cache.get(hash, key)
            && (record.lease.is_valid() || record.settings.skips_lease())
        {
            record.metrics.cache_hits.add(1);
            let Held { version, ordinal, n, class, document } = held;
            let Some(document) = document else { return Ok((None, Noted::nothing())) };
            let position = record.position(ordinal, n)?;
            let noted = self.note_one(access, position, class)?;
            let document = Content::Clear(document);
            return Ok((Some(Resource { key: key.clone(), version, position, class, document }), noted));
        }
        self.read_uncached(access, key, hash).await
    }

    async fn read_uncached(&self, access: &Access, key: &ResourceKey, hash: u64) -> Result<(Option<Resource>, Noted)> {
        let record = &self.inner.record;
        record.metrics.cache_misses.add(1);
        let generation = record.cache.generation();
        let fetched = self.inner.fetcher.fetch(record, key, hash).await?;
        let Some(stored) = fetched.row.and_then(Stored::live) else { return Ok((None, Noted::nothing())) };
        access.check_release(stored.class)?;
        let resource = opened(record, key, &stored)?;
        if let (Content::Clear(document), true) = (&resource.document, record.lease.is_valid()) {
            let Stored { version, ordinal, n, class, .. } = stored;
            let held = Held { version, ordinal, n, class, document: Some(document.clone()) };
            record.cache.fill(hash, key, held, fetched.as_of, generation);
        }
        let noted = self.note_one(access, resource.position, resource.class)?;
        Ok((Some(resource), noted))
    }

    /// Confidential: durable before it is released; restricted: never.
    fn note_one(&self, access: &Access, position: Position, class: Class) -> Result<Noted> {
        access.check_release(class)?;
        self.inner.record.log.note([note(access, position, class)])
    }

    /// Notes the release of several documents at once; call it before they are handed out.
    pub(crate) async fn release(&self, access: &Access, resources: &[Resource]) -> Result<()> {
        for resource in resources {
            access.check_release(resource.class)?;
        }
        let shown = resources.iter().filter(|resource| matches!(resource.document, Content::Clear(_)));
        let notes = shown.map(|resource| note(access, resource.position, resource.class));
        self.inner.record.log.note(notes)?.released().await
    }

    /// A denial is audited before it is told.
    pub(crate) async fn denied(&self, access: &Access, action: Action, error: Error) -> Error {
        if error.kind() != ErrorKind::Refused {
            return error;
        }
        let entry = Entry::Act {
            hlc: Hlc::from_micros(self.inner.record.settings.wall.micros()).0,
            principal: (*access.principal).to_owned(),
            tenant: access.tenant.as_str().to_owned(),
            action: action.as_str().to_owned(),
            outcome: error.code().to_owned(),
            detail: String::new(),
        };
        match self.inner.record.log.append(vec![entry]).await {
            Ok(_) => error,
            Err(failed) => failed,
        }
    }

    /// Changes of the caller's tenant after a position (`None`: from the start), waiting up to `wait` for the first.
    pub async fn changes_after(
        &self,
        access: &Access,
        after: Option<Position>,
        limit: usize,
        wait: Duration,
    ) -> Result<ChangePage> {
        self.permit(access, Action::Read).await?;
        changes::after(&self.inner.record, access, after, limit, wait).await
    }

    /// The documents of changes, in clear, each release noted first.
    pub async fn open_changes(&self, access: &Access, changes: &[crate::Change]) -> Result<Vec<Resource>> {
        let mut resources = Vec::with_capacity(changes.len());
        for change in changes {
            access.check(Action::Read, &change.key.tenant, Some(change.key.kind))?;
            resources.push(changes::resource(&self.inner.record, change)?);
        }
        self.release(access, &resources).await?;
        Ok(resources)
    }

    /// Waits until this server can answer from at least this position (read-your-writes), or fails with `position-timeout`.
    pub async fn wait_for(&self, position: Position, limit: Duration) -> Result<()> {
        let record = &self.inner.record;
        let n = record.lives.resume(record.shard(), position)?;
        record.published.wait_for(n, limit).await
    }
}

fn record(
    settings: Settings,
    connector: Connector,
    keystore: Arc<Keystore>,
    log: Arc<TransparencyLog>,
    mark: Mark,
) -> Result<Record> {
    let pool = connector.pool(READERS)?;
    Ok(Record {
        subject_rows: SubjectRows::start(pool.clone()),
        pool,
        connector,
        keystore,
        log,
        lease: Lease::new(settings.lease),
        published: Published::new(),
        lives: Lives::default(),
        cache: Cache::new(settings.cache_bytes),
        ring: Ring::new(settings.ring_bytes),
        subjects: Subjects::default(),
        mark,
        offenders: Offenders::default(),
        metrics: Arc::default(),
        holder: uuid::Uuid::new_v4().to_string(),
        names_missed: tokio::sync::Notify::new(),
        settling: tokio::sync::Mutex::default(),
        refusing: Mutex::default(),
        undurable: Mutex::default(),
        stopped: std::sync::OnceLock::new(),
        settings,
    })
}

fn note(access: &Access, position: Position, class: Class) -> AccessNote {
    AccessNote {
        principal: access.principal.clone(),
        tenant: access.tenant.shared(),
        purpose: access.purpose.clone(),
        class,
        position,
    }
}

/// A stored row in clear, or `Erased`.
pub(crate) fn opened(record: &Record, key: &ResourceKey, stored: &Stored) -> Result<Resource> {
    let bound = Bound { dataset: DATASET, key, version: stored.version };
    // From the beginning of an erasure on, also while a slot of the keystore has not confirmed it.
    let document = if record.subjects.is_closed(EnvelopeHeader::read(&stored.sealed)?.key) {
        Content::Erased
    } else {
        match record.keystore.open_envelope(bound, &stored.sealed)? {
            Opened::Clear(document) => Content::Clear(document),
            Opened::Erased => Content::Erased,
        }
    };
    let position = record.position(stored.ordinal, stored.n)?;
    Ok(Resource { key: key.clone(), version: stored.version, position, class: stored.class, document })
}
