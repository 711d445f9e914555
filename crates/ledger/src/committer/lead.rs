//! Leading: one batch after the other on one connection; between them the lease, `published` and partitions.

use super::{
    Job, Member, Outcome, Step, Verdict, Waiting,
    fault::Fault,
    follow::{Won, stopped},
    head::{self, Term},
    partitions::{self, Ensured},
    session::Session,
    statement,
};
use crate::{clock::Moment, read::rows::signed, record::Record};
use model::{Error, Hlc, Result};
use std::{ops::ControlFlow, time::Duration};
use tokio::sync::watch;

/// Other processes learn this soon after the last batch how far they may read.
const PUBLISH_AFTER: Duration = Duration::from_millis(8);
const BEGIN_AGAIN: Duration = Duration::from_millis(500);
/// How often it is looked whether PostgreSQL was set otherwise meanwhile.
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// How long a stopping leader goes on answering what already waits.
const DRAIN: Duration = Duration::from_secs(10);

/// `Break`: the lease is lost, or this process must not write any more.
pub(crate) type Flow = ControlFlow<()>;

#[derive(Debug)]
pub(crate) struct Leader<'a> {
    pub record: &'a Record,
    pub session: Session,
    pub epoch: u64,
    pub hlc: Hlc,
    /// n of the next change.
    pub next: u64,
    pub ensured: Ensured,
    /// When the last statement that renewed the lease was sent.
    pub renewed: Moment,
    /// When PostgreSQL was last seen to keep what it commits.
    pub looked: Moment,
    /// What `log_head.published` holds at least.
    pub written: u64,
    pub stop: watch::Receiver<bool>,
}

pub(crate) async fn run(record: &Record, won: Won, waiting: &mut Waiting, stop: &mut watch::Receiver<bool>) {
    let mut leader = match Leader::begin(record, won, stop.clone()).await {
        Ok(leader) => leader,
        Err(error) => {
            tracing::warn!(%error, "leading could not begin; trying again");
            return waiting.refuse_for(BEGIN_AGAIN, || record.lease.not_leader()).await;
        }
    };
    loop {
        let chore = leader.chore_in();
        let flow = tokio::select! {
            biased;
            () = stopped(stop) => return leader.end(waiting).await,
            ready = waiting.ready() => {
                if !ready {
                    return leader.end(waiting).await;
                }
                leader.batch(waiting).await
            }
            () = tokio::time::sleep(chore) => leader.chores(waiting).await,
        };
        if flow.is_break() {
            return;
        }
    }
}

impl<'a> Leader<'a> {
    async fn begin(record: &'a Record, won: Won, stop: watch::Receiver<bool>) -> Result<Self> {
        let Won { session, term } = won;
        record.lives.set(head::lives(session.client(), record.shard()).await?);
        record.see_erasures().await?;
        let micros = record.settings.wall.micros().max(term.hlc.micros());
        let width = record.settings.change_partition;
        let ensured = partitions::ensure(session.client(), width, term.next, micros).await?;
        let written = term.next - 1;
        let renewed = term.sent;
        let (looked, hlc) = (term.sent, Hlc(0));
        let mut leader = Self { record, session, epoch: 0, hlc, next: 0, ensured, renewed, looked, written, stop };
        leader.enter(&term).await?;
        Ok(leader)
    }

    /// A term begins: what was remembered may be another's past; what is durable is shown; only then is it served.
    pub(crate) async fn enter(&mut self, term: &Term) -> Result<()> {
        let record = self.record;
        record.ring.clear();
        record.cache.clear(term.next - 1);
        head::publish_all(&self.session, record, term).await?;
        (self.epoch, self.next, self.renewed) = (term.epoch, term.next, term.sent);
        self.hlc = self.hlc.max(term.hlc);
        self.written = term.next - 1;
        record.lease.lead(term.epoch, term.sent);
        record.metrics.epoch.set(term.epoch);
        record.metrics.leading.set(1);
        tracing::info!(epoch = term.epoch, next = term.next, "leading");
        Ok(())
    }

    pub(crate) fn tick(&mut self) -> Hlc {
        self.hlc = self.hlc.next(self.record.settings.wall.micros());
        self.hlc
    }

    fn chore_in(&self) -> Duration {
        let renew = self.renewed.after(self.record.lease.renewal()).since(Moment::now());
        if self.record.published.get() > self.written { renew.min(PUBLISH_AFTER) } else { renew }
    }

    /// Between batches: renew when due, else show other processes how far the log is published.
    async fn chores(&mut self, waiting: &mut Waiting) -> Flow {
        self.durable().await?;
        let due = Moment::now() >= self.renewed.after(self.record.lease.renewal());
        let published = self.record.published.get();
        self.record.metrics.cache_bytes.set(self.record.cache.bytes() as u64);
        let done = if due {
            let sent = Moment::now();
            let renewed = head::renew(&self.session, self.record, self.epoch).await;
            self.renewed = sent;
            renewed
        } else {
            head::publish_idle(&self.session, self.record, self.epoch).await.map(|()| true)
        };
        match done {
            Ok(true) => self.written = published,
            Ok(false) if self.record.settings.skips_epoch() => {}
            Ok(false) => return self.lost(Vec::new()),
            Err(error) if matches!(Fault::of(&error), Fault::Unknown | Fault::Demoted) => {
                return self.recover(waiting).await;
            }
            Err(error) => {
                // The transaction may still be open: a broken chore must not swallow the next batch.
                tracing::warn!(%error, "the lease could not be renewed; trying again");
                self.renewed = Moment::now();
                if self.session.client().batch_execute("ROLLBACK").await.is_err() {
                    return self.recover(waiting).await;
                }
            }
        }
        self.partitions_ahead(waiting).await
    }

    async fn partitions_ahead(&mut self, waiting: &mut Waiting) -> Flow {
        let micros = self.record.settings.wall.micros().max(self.hlc.micros());
        if self.ensured.covers(self.next, micros) {
            return Flow::Continue(());
        }
        let width = self.record.settings.change_partition;
        match partitions::ensure(self.session.client(), width, self.next, micros).await {
            Ok(ensured) => self.ensured = ensured,
            Err(error) => {
                tracing::warn!(%error, "partitions could not be made ahead; trying again");
                if self.session.client().is_closed() {
                    return self.recover(waiting).await;
                }
            }
        }
        Flow::Continue(())
    }

    /// Its settings can be changed and loaded while it runs: nothing more is acknowledged then.
    async fn durable(&mut self) -> Flow {
        let now = Moment::now();
        if now < self.looked.after(LOOK_AFTER) {
            return Flow::Continue(());
        }
        self.looked = now;
        match self.record.is_durable(self.session.client()).await {
            Ok(false) => self.lost(Vec::new()),
            // The next statement finds out what is wrong with the connection.
            Ok(true) | Err(_) => Flow::Continue(()),
        }
    }

    async fn batch(&mut self, waiting: &mut Waiting) -> Flow {
        self.durable().await?;
        let record = self.record;
        let mut jobs = waiting.batch(|job| known_conflict(record, job));
        for job in &mut jobs {
            record.freshen(job);
        }
        self.record.metrics.queue_length.set(waiting.len() as u64);
        if jobs.is_empty() {
            return Flow::Continue(());
        }
        let flow = self.execute(jobs, waiting).await;
        if flow.is_continue() { self.partitions_ahead(waiting).await } else { flow }
    }

    /// Another epoch writes this log: nothing is acknowledged, nothing remembered is served.
    pub(crate) fn lost(&self, jobs: Vec<Job>) -> Flow {
        tracing::warn!(epoch = self.epoch, "the lease is lost");
        self.record.lease.lose(None);
        for job in jobs {
            job.answer(Outcome::Failed(self.record.lease.not_leader()));
        }
        Flow::Break(())
    }

    /// NK002: the statement is wrong. Nothing was written, and nothing more will be.
    pub(crate) fn broken(&self, jobs: Vec<Job>, why: &str) -> Flow {
        tracing::error!(why, "the committer stops");
        let _ = self.record.stopped.set(why.to_owned());
        self.record.lease.lose(None);
        for job in jobs {
            job.answer(Outcome::Failed(Error::bug(why)));
        }
        Flow::Break(())
    }

    /// Told to stop: answers what waits, then lets go of the lease.
    async fn end(&mut self, waiting: &mut Waiting) {
        let until = Moment::now().after(DRAIN);
        while waiting.len() > 0 && Moment::now() < until {
            if self.batch(waiting).await.is_break() {
                return;
            }
        }
        self.record.lease.lose(None);
        if let Err(error) = head::release(&self.session, self.record, self.epoch).await {
            tracing::warn!(%error, "the lease could not be released; a successor waits for its end");
        }
    }

    pub(crate) fn head(&mut self, batch_uuid: String) -> statement::Head {
        let hlc = self.tick();
        statement::Head {
            shard: head::shard_code(self.record.shard()),
            epoch: signed(self.epoch),
            hlc,
            batch_uuid,
            published: signed(self.record.published.get()),
        }
    }
}

/// Of many who compare-and-set one key only one can win per batch; the others are told at once, out of the cache,
/// which is exact as long as the lease holds. A group with an idempotency key is not: it may be a repetition.
fn known_conflict(record: &Record, job: &Job) -> Option<Outcome> {
    let [Member { step: Step::Replace, key: Some((key, hash)), expected: Some(expected), .. }] = &job.members[..]
    else {
        return None;
    };
    let (current, gone) = record.cache.version(*hash, key)?;
    let verdict = if gone { Verdict::Absent } else { Verdict::VersionConflict };
    let conflict = (gone || current != *expected) && record.lease.is_valid();
    conflict.then_some(Outcome::Refused { member: 0, verdict, current: Some(current) })
}
