//! Unknown outcomes are decided by identity (RECORD 3): bump the epoch, then look the batch up.

use super::{
    Done, Job, Member, Outcome, Step, Waiting,
    follow::unavailable,
    head,
    lead::{Flow, Leader},
    session::Session,
};
use crate::{clock::Moment, recall};
use model::{Error, ResourceKey, Result};
use std::{collections::HashMap, time::Duration};
use tokio_postgres::Client;

const BACK_OFF: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// After this long without PostgreSQL, waiting groups are refused; they were never sent.
const PATIENCE: Duration = Duration::from_secs(5);
/// After this long, groups in flight are told that nobody knows.
const PATIENCE_IN_FLIGHT: Duration = Duration::from_secs(30);

fn outcome_unknown() -> Error {
    let message = "PostgreSQL went away while it committed and has not come back: the write may be there; \
        read it, or repeat it with the same idempotency key";
    Error::retry("outcome-unknown", message)
}

enum Standing {
    /// A clean epoch of ours.
    Ours,
    /// Another holder's epoch, bumped cleanly after ours.
    Fenced,
    /// Told to stop before PostgreSQL came back.
    Stopped,
}

impl Leader<'_> {
    /// Nothing was in flight; only the connection has to come back.
    pub(crate) async fn recover(&mut self, waiting: &mut Waiting) -> Flow {
        match self.resolve(Vec::new(), "", waiting).await {
            Ok(_) => Flow::Continue(()),
            Err(()) => self.lost(Vec::new()),
        }
    }

    /// Answers what had committed and returns what had not, to be run again. `Err`: the lease is lost, all answered.
    pub(crate) async fn resolve(
        &mut self,
        mut jobs: Vec<Job>,
        uuid: &str,
        waiting: &mut Waiting,
    ) -> Result<Vec<Job>, ()> {
        self.record.metrics.unknown_outcomes.add(u64::from(!jobs.is_empty()));
        tracing::warn!(groups = jobs.len(), "the connection to the record broke; finding out what was committed");
        let (started, mut pause) = (Moment::now(), BACK_OFF);
        // The old connection is not trusted with anything; a new one is kept until it fails.
        let mut fresh = false;
        loop {
            let waited = Moment::now().since(started);
            // Somebody has to set PostgreSQL right first: nobody waits for that.
            let halted = self.record.halted().is_some();
            if waited > PATIENCE_IN_FLIGHT || halted {
                jobs.drain(..).for_each(|job| job.answer(Outcome::Failed(outcome_unknown())));
            }
            match self.stand(&mut jobs, uuid, &mut fresh).await {
                Ok(Standing::Ours) => return Ok(jobs),
                Ok(Standing::Fenced) => {
                    let refused = self.record.lease.not_leader();
                    tracing::warn!(%refused, groups = jobs.len(), "another leader has taken over");
                    let _ = self.lost(jobs);
                    return Err(());
                }
                Ok(Standing::Stopped) => {
                    jobs.drain(..).for_each(|job| job.answer(Outcome::Failed(outcome_unknown())));
                    return Err(());
                }
                Err(error) => {
                    fresh = false;
                    tracing::debug!(%error, "the record is not back yet");
                }
            }
            if waited > PATIENCE || halted {
                waiting.refuse_for(pause, || unavailable(self.record)).await;
            } else {
                tokio::time::sleep(pause).await;
            }
            pause = (pause * 2).min(BACK_OFF_MAX);
        }
    }

    async fn stand(&mut self, jobs: &mut Vec<Job>, uuid: &str, fresh: &mut bool) -> Result<Standing> {
        if !*fresh {
            match Session::open(&self.record.connector, &self.record.settings).await {
                Ok(session) => self.session = session,
                Err(_) if *self.stop.borrow() => return Ok(Standing::Stopped),
                Err(error) => return Err(error),
            }
            *fresh = true;
        }
        if !self.record.is_durable(self.session.client()).await? {
            return Err(unavailable(self.record));
        }
        let term = loop {
            if let Some(term) = head::bump(&self.session, self.record, self.epoch, None).await? {
                break term;
            }
            let Some(found) = head::read(self.session.client(), self.record.shard()).await? else {
                return Err(Error::corrupt("head-missing", "the record has lost its head row"));
            };
            if found.holder != self.record.holder {
                self.record.lease.lose(found.holder_url.clone());
                let known = look_up(self.session.client(), jobs, uuid).await?;
                // Its leader raises `published` right after its own clean bump.
                if found.published < known.1 {
                    return Err(Error::retry("record-unreachable", "the new leader has not shown what it took over"));
                }
                answer(jobs, known);
                return Ok(Standing::Fenced);
            }
            // An earlier bump of ours whose answer was lost.
            self.epoch = found.epoch;
        };
        // Kept at once: a failure below must not make us compare with an epoch that is past.
        self.epoch = term.epoch;
        let found = look_up(self.session.client(), jobs, uuid).await?;
        self.enter(&term).await?;
        answer(jobs, found);
        Ok(Standing::Ours)
    }
}

/// What the batch did, if it committed: per job its outcome (`None`: it did nothing), and the batch's last position.
type Found = (Vec<Option<Outcome>>, u64);

/// Groups are all or nothing: one that has one of its writes in the batch has them all.
async fn look_up(client: &Client, jobs: &[Job], uuid: &str) -> Result<Found> {
    let mut outcomes: Vec<Option<Outcome>> = jobs.iter().map(|_| None).collect();
    if uuid.is_empty() {
        // Nothing was in flight.
        return Ok((outcomes, 0));
    }
    let Some((first, last)) = recall::batch(client, uuid).await? else { return Ok((outcomes, 0)) };
    let written: HashMap<ResourceKey, Done> = recall::written(client, first, last).await?.into_iter().collect();
    for (job, outcome) in jobs.iter().zip(&mut outcomes) {
        let done = |member: &Member| member.key.as_ref().and_then(|(key, _)| written.get(key)).copied();
        let writes: Option<Vec<Done>> = job.writes().map(done).collect();
        let Some(writes) = writes.filter(|writes| !writes.is_empty()) else { continue };
        let (from, n) = (writes.iter().map(|done| done.n).min(), writes.iter().map(|done| done.n).max());
        let mut reads = Vec::new();
        for (key, _) in job.members.iter().filter(|member| member.step == Step::Read).filter_map(|m| m.key.as_ref()) {
            reads.push(recall::as_of(client, key, from.unwrap_or(0)).await?);
        }
        *outcome = Some(Outcome::Committed { n: n.unwrap_or(0), writes, reads });
    }
    Ok((outcomes, last))
}

/// Answers the groups that committed and leaves the others.
fn answer(jobs: &mut Vec<Job>, (outcomes, _): Found) {
    for (job, outcome) in std::mem::take(jobs).into_iter().zip(outcomes) {
        match outcome {
            Some(outcome) => job.answer(outcome),
            None => jobs.push(job),
        }
    }
}
