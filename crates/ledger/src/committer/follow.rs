//! Following: watches the holder's renewals, shows what is published, refuses writes, and takes over when it may.

use super::{
    Waiting,
    head::{self, Head, Term},
    session::Session,
};
use crate::{clock::Moment, lease::Watch, record::Record};
use model::{Error, Result};
use std::time::Duration;
use tokio::sync::watch;

/// How often a follower looks at the head.
const LOOK: Duration = Duration::from_millis(100);
/// How soon a follower sees what the leader has erased.
const SEE_ERASURES: Duration = Duration::from_secs(1);
const BACK_OFF: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);

/// A session whose epoch is ours.
#[derive(Debug)]
pub(crate) struct Won {
    pub session: Session,
    pub term: Term,
}

/// Until the lease is won. `None`: told to stop.
pub(crate) async fn run(record: &Record, waiting: &mut Waiting, stop: &mut watch::Receiver<bool>) -> Option<Won> {
    let mut pause = BACK_OFF;
    loop {
        tokio::select! {
            biased;
            () = stopped(stop) => return None,
            outcome = follow(record, waiting, &mut pause) => match outcome {
                Ok(won) => return Some(won),
                Err(error) => tracing::warn!(%error, "the record cannot be followed; trying again"),
            },
        }
        tokio::select! {
            biased;
            () = stopped(stop) => return None,
            () = waiting.refuse_for(pause, || unavailable(record)) => {}
        }
        pause = (pause * 2).min(BACK_OFF_MAX);
    }
}

/// Resolves when told to stop, or when nobody is left to tell.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}

pub(crate) fn unavailable(record: &Record) -> Error {
    let unreachable = || Error::retry("record-unreachable", "PostgreSQL does not answer; nothing was written");
    record.halted().unwrap_or_else(unreachable)
}

async fn follow(record: &Record, waiting: &mut Waiting, pause: &mut Duration) -> Result<Won> {
    let session = Session::open(&record.connector, &record.settings).await?;
    let (mut watch, mut erasures) = (Watch::default(), Erasures::default());
    loop {
        let sent = Moment::now();
        let Some(found) = head::read(session.client(), record.shard()).await? else {
            head::create(session.client(), record).await?;
            continue;
        };
        record.lives.set(head::lives(session.client(), record.shard()).await?);
        record.publish(found.published);
        *pause = BACK_OFF;
        erasures.look(record).await;
        let expired = watch.expired(found.epoch, found.renewals, found.lease, sent);
        let free = expired || may_skip(record, &found);
        if !free {
            // Whoever leads has looked for itself.
            record.undurable.lock().take();
        }
        if free
            && record.stopped.get().is_none()
            && record.is_durable(session.client()).await?
            && let Some(term) = head::bump(&session, record, found.epoch, Some(found.renewals)).await?
        {
            return Ok(Won { session, term });
        }
        record.lease.lose(found.holder_url.clone().filter(|_| found.holder != record.holder));
        waiting.refuse_for(LOOK.min(record.lease.duration() / 10), || refusal(record)).await;
    }
}

/// When the keystore was last looked at for what the leader has erased.
#[derive(Default)]
struct Erasures(Option<Moment>);

impl Erasures {
    async fn look(&mut self, record: &Record) {
        let now = Moment::now();
        if self.0.is_some_and(|last| now.since(last) < SEE_ERASURES) {
            return;
        }
        // In the middle of the leader's change it may not be readable; a leader begins only after a look that was.
        match record.see_erasures().await {
            Ok(()) => self.0 = Some(now),
            Err(error) => tracing::warn!(%error, "what was erased cannot be seen; looking again"),
        }
    }
}

fn refusal(record: &Record) -> Error {
    record.halted().unwrap_or_else(|| record.lease.not_leader())
}

/// The wait is skipped after a clean release, when the holder was ourselves, and under the local flock.
fn may_skip(record: &Record, head: &Head) -> bool {
    head.released || head.holder == record.holder || (head.flock && record.settings.flock)
}
