//! The gateway: every call takes `&Access`, is checked, audited, and only then answered.

use crate::{
    ChangePage, Content, Group, Receipt, Resource, Settings, Written,
    cache::{Cache, Held},
    changes, clock,
    committer::{self, Job, Offenders, Outcome, Stored, Verdict, Waiting, hot_key},
    connection::{ADMINISTRATION, Connector, reader},
    fetch::Fetcher,
    lease::Lease,
    metrics::Metrics,
    migrations::{self, Phase},
    names,
    prepare::{self, Sealed, Versions},
    publish::{Lives, Published},
    recall,
    record::Record,
    refusal,
    ring::Ring,
    sequencer,
    settings::DATASET,
    subjects::Subjects,
};
use audit::{AccessNote, Entry, TransparencyLog};
use keys::{Bound, Keystore, Opened};
use model::{Access, Action, Class, Error, ErrorKind, Hlc, Position, ResourceKey, Result};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinHandle,
};

/// How often a group is sealed again for a key that keeps changing before it is given up.
const RESEALS: u32 = 16;
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
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    record: Arc<Record>,
    queue: mpsc::Sender<Job>,
    /// Kilobytes that may wait in the queue.
    room: Arc<Semaphore>,
    room_kb: u32,
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

impl Ledger {
    /// Brings the schema up to date, then leads or follows. Fails only when PostgreSQL cannot be reached or used.
    pub async fn open(
        settings: Settings,
        connector: Connector,
        keystore: Arc<Keystore>,
        log: Arc<TransparencyLog>,
    ) -> Result<Self> {
        let mut session = connector.connect("nephkeep migrations", ADMINISTRATION).await?;
        migrations::apply(&mut session.client, Phase::Expand).await?;
        drop(session);
        let (queue, receiver) = mpsc::channel(settings.queue_groups);
        let waiting = Waiting::new(receiver, settings.batch_groups, settings.batch_bytes);
        let room_kb = u32::try_from(settings.queue_bytes / 1024).unwrap_or(u32::MAX).max(1);
        let record = Arc::new(record(settings, connector, keystore, log)?);
        let (stop, stopped) = watch::channel(false);
        let (fetcher, fetchers) = Fetcher::start(&record);
        let committer = tokio::spawn(committer::run(record.clone(), waiting, stopped.clone()));
        let sequencer = tokio::spawn(sequencer::run(record.clone(), stopped.clone()));
        let tasks = vec![committer, sequencer, tokio::spawn(names::run(record.clone(), stopped))];
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
            n => self.inner.record.position_now(n).map(Some),
        }
    }
    /// n of `published`, for waking readers.
    #[must_use]
    pub fn watch_published(&self) -> watch::Receiver<u64> {
        self.inner.record.published.watch()
    }

    /// Durable when it returns. Errors: `version-conflict`, `already-exists`, `not-found`, `precondition-failed`,
    /// `idempotency-mismatch`, `not-leader`, `subject-erased`, `hot-key`, …
    pub async fn write(&self, access: &Access, group: Group) -> Result<Receipt> {
        let record = &self.inner.record;
        if let Err(error) = prepare::check(access, &group) {
            return Err(self.denied(access, Action::Write, error).await);
        }
        if let Some(why) = record.stopped.get() {
            return Err(Error::bug(why.clone()));
        }
        record.lease.check_leading()?;
        record.offenders.check(&access.principal)?;
        let mut versions = Versions::new();
        for _ in 0..RESEALS {
            let sealed = record.seal(access, &group, &versions).await?;
            // What a refusal speaks about: members are gone with the job.
            let members: Vec<_> = sealed.members.iter().map(|m| (m.step, m.key.clone(), m.subject.clone())).collect();
            match self.submit(access, sealed).await? {
                Outcome::Committed { n, writes, reads } => {
                    let keys = group.writes.into_iter().map(|write| write.key);
                    let writes = keys.zip(writes.iter().map(|done| (done.n, done.version)));
                    return self.receipt(access, n, writes, group.reads.iter().zip(reads), false).await;
                }
                Outcome::Replay { n, writes } => return self.replay(access, &group, n, writes).await,
                Outcome::Failed(error) => return Err(error),
                Outcome::Refused { member, verdict, current } => {
                    let Some((step, key, _)) = members.get(member) else {
                        return Err(Error::bug("a verdict without a member"));
                    };
                    let key = key.as_ref().map(|(key, _)| key);
                    return Err(refusal::error(verdict, *step, key, current));
                }
                Outcome::Reseal(needed) => {
                    record.metrics.reseals.add(1);
                    for (member, verdict, current) in needed {
                        let Some((_, key, subject)) = members.get(member) else { continue };
                        match (verdict, key, subject) {
                            (Verdict::ResealKey, _, Some((subject, _))) => record.subjects.forget(subject),
                            (_, Some((_, hash)), _) => drop(versions.insert(*hash, current.unwrap_or(0))),
                            _ => {}
                        }
                    }
                }
            }
        }
        Err(hot_key())
    }

    async fn submit(&self, access: &Access, sealed: Sealed) -> Result<Outcome> {
        let gone = || Error::retry("shutting-down", "this server is stopping: nothing was written");
        let kb = u32::try_from(sealed.bytes / 1024 + 1).unwrap_or(u32::MAX).min(self.inner.room_kb);
        let permit = self.inner.room.clone().acquire_many_owned(kb).await.map_err(|_| gone())?;
        let (reply, answer) = oneshot::channel();
        let job = Job {
            tenant: access.tenant.shared(),
            principal: access.principal.clone(),
            purpose: access.purpose.clone(),
            members: sealed.members,
            locks: sealed.locks,
            bytes: sealed.bytes,
            reply,
            permit: Some(permit),
        };
        self.inner.queue.send(job).await.map_err(|_| gone())?;
        answer.await.map_err(|_| {
            Error::retry(
                "outcome-unknown",
                "this server stopped while it wrote; read the key, or repeat with the same idempotency key",
            )
        })
    }

    /// The current version, its access entry durable by class before this returns.
    pub async fn read(&self, access: &Access, key: &ResourceKey) -> Result<Option<Resource>> {
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
            let Some(document) = held.document else { return Ok(None) };
            let position = record.position(held.ordinal, held.n)?;
            self.release_one(access, position, held.class).await?;
            let document = Content::Clear(document);
            return Ok(Some(Resource {
                key: key.clone(),
                version: held.version,
                position,
                class: held.class,
                document,
            }));
        }
        self.read_uncached(access, key, hash).await
    }

    async fn read_uncached(&self, access: &Access, key: &ResourceKey, hash: u64) -> Result<Option<Resource>> {
        let record = &self.inner.record;
        record.metrics.cache_misses.add(1);
        let generation = record.cache.generation();
        let fetched = self.inner.fetcher.fetch(record, key, hash).await?;
        let Some(stored) = fetched.row.and_then(Stored::live) else { return Ok(None) };
        access.check_release(stored.class)?;
        let resource = opened(record, key, &stored)?;
        if let (Content::Clear(document), true) = (&resource.document, record.lease.is_valid()) {
            let Stored { version, ordinal, n, class, .. } = stored;
            let held = Held { version, ordinal, n, class, document: Some(document.clone()) };
            record.cache.fill(hash, key, held, fetched.as_of, generation);
        }
        self.release_one(access, resource.position, resource.class).await?;
        Ok(Some(resource))
    }

    /// Confidential: durable before this returns; restricted: never.
    async fn release_one(&self, access: &Access, position: Position, class: Class) -> Result<()> {
        access.check_release(class)?;
        let note = note(access, position, class);
        self.inner.record.log.note([note])?.released().await
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
            hlc: Hlc::from_micros(clock::wall_micros()).0,
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

    async fn receipt(
        &self,
        access: &Access,
        n: u64,
        writes: impl Iterator<Item = (ResourceKey, (u64, u64))>,
        reads: impl Iterator<Item = (&ResourceKey, Option<Stored>)>,
        replayed: bool,
    ) -> Result<Receipt> {
        let record = &self.inner.record;
        let written = |(key, (n, version))| Ok(Written { key, version, position: record.position_now(n)? });
        let writes = writes.map(written).collect::<Result<_>>()?;
        let resource = |(key, stored): (&ResourceKey, Option<Stored>)| {
            stored.map(|stored| opened(record, key, &stored)).transpose()
        };
        let reads: Vec<Option<Resource>> = reads.map(resource).collect::<Result<_>>()?;
        if reads.iter().any(Option::is_some) {
            let shown: Vec<Resource> = reads.iter().flatten().cloned().collect();
            self.release(access, &shown).await?;
        }
        Ok(Receipt { position: record.position_now(n)?, writes, reads, replayed })
    }

    /// The first answer again, from the log at its position; one whose data was erased is gone (RECORD 14).
    async fn replay(&self, access: &Access, group: &Group, n: u64, writes: u64) -> Result<Receipt> {
        let record = &self.inner.record;
        let client = reader(&record.pool).await?;
        let first = n + 1 - writes.min(n);
        let written = recall::written(&client, first, n).await?;
        for (key, done) in &written {
            if let Some(stored) = recall::as_of(&client, key, done.n + 1).await?
                && opened(record, key, &stored)?.document == Content::Erased
            {
                return Err(crate::subjects::erased());
            }
        }
        let mut reads = Vec::new();
        for key in &group.reads {
            reads.push((key, recall::as_of(&client, key, first).await?));
        }
        drop(client);
        let writes = written.into_iter().map(|(key, done)| (key, (done.n, done.version)));
        self.receipt(access, n, writes, reads.into_iter(), true).await
    }

    /// Changes of the caller's tenant after a position (`None`: from the start), waiting up to `wait` for the first.
    pub async fn changes_after(
        &self,
        access: &Access,
        after: Option<Position>,
        limit: usize,
        wait: Duration,
    ) -> Result<ChangePage> {
        if let Err(error) = access.check(Action::Read, &access.tenant, None) {
            return Err(self.denied(access, Action::Read, error).await);
        }
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
) -> Result<Record> {
    Ok(Record {
        pool: connector.pool(READERS)?,
        connector,
        keystore,
        log,
        lease: Lease::new(settings.lease),
        published: Published::new(),
        lives: Lives::default(),
        cache: Cache::new(settings.cache_bytes),
        ring: Ring::new(settings.ring_bytes),
        subjects: Subjects::default(),
        offenders: Offenders::default(),
        metrics: Arc::default(),
        holder: uuid::Uuid::new_v4().to_string(),
        names_missed: tokio::sync::Notify::new(),
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
    let document = match record.keystore.open_envelope(bound, &stored.sealed)? {
        Opened::Clear(document) => Content::Clear(document),
        Opened::Erased => Content::Erased,
    };
    let position = record.position(stored.ordinal, stored.n)?;
    Ok(Resource { key: key.clone(), version: stored.version, position, class: stored.class, document })
}
