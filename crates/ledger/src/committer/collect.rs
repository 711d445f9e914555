//! Which waiting groups form the next batch.
//!
//! No two groups of a batch share a key read or written, or an idempotency key (RECORD 1): a group that does waits
//! for a later batch, in the order it came. Nothing is delayed to fill a batch.

use super::job::{Job, Outcome};
use model::Error;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};
use tokio::sync::mpsc;

/// Groups that may wait for one key; more are refused at once (`hot-key`).
const HOT_KEY_WAITERS: usize = 1_024;

#[derive(Debug)]
pub(crate) struct Waiting {
    queue: mpsc::Receiver<Job>,
    deferred: VecDeque<Job>,
    groups_max: usize,
    bytes_max: usize,
}

pub(crate) fn hot_key() -> Error {
    Error::conflict("hot-key", "too many writes wait for the same key; nothing was written: try again later")
}

impl Waiting {
    pub(crate) fn new(queue: mpsc::Receiver<Job>, groups_max: usize, bytes_max: usize) -> Self {
        Self { queue, deferred: VecDeque::new(), groups_max, bytes_max }
    }

    pub(crate) fn len(&self) -> usize {
        self.deferred.len() + self.queue.len()
    }

    /// Until there is a group to run. False: nobody can send any more and none waits.
    pub(crate) async fn ready(&mut self) -> bool {
        if self.deferred.is_empty() {
            match self.queue.recv().await {
                Some(job) => self.deferred.push_back(job),
                None => return false,
            }
        }
        true
    }

    /// Groups go back to the front: their batch came to nothing.
    pub(crate) fn put_back(&mut self, jobs: Vec<Job>) {
        for job in jobs.into_iter().rev() {
            self.deferred.push_front(job);
        }
    }

    /// The next batch: as many disjoint groups as fit, in order.
    pub(crate) fn batch(&mut self) -> Vec<Job> {
        let mut pick = Pick::default();
        for job in std::mem::take(&mut self.deferred) {
            self.consider(job, &mut pick);
        }
        while pick.jobs.len() < self.groups_max
            && pick.bytes < self.bytes_max
            && self.deferred.len() < self.groups_max * 8
        {
            let Ok(job) = self.queue.try_recv() else { break };
            self.consider(job, &mut pick);
        }
        pick.jobs
    }

    fn consider(&mut self, job: Job, pick: &mut Pick) {
        if job.reply.is_closed() {
            return;
        }
        let full =
            pick.jobs.len() >= self.groups_max || (pick.bytes + job.bytes > self.bytes_max && !pick.jobs.is_empty());
        let overlaps = job.locks.iter().any(|lock| pick.taken.contains(lock) || pick.passed.contains_key(lock));
        if !full && !overlaps {
            pick.taken.extend(&job.locks);
            pick.bytes += job.bytes;
            pick.jobs.push(job);
            return;
        }
        let mut hottest = 0;
        for lock in &job.locks {
            let waiters = pick.passed.entry(*lock).or_insert(0);
            *waiters += 1;
            hottest = hottest.max(*waiters);
        }
        if hottest > HOT_KEY_WAITERS {
            job.answer(Outcome::Failed(hot_key()));
        } else {
            self.deferred.push_back(job);
        }
    }

    /// Refuses everything that waits.
    pub(crate) fn refuse(&mut self, error: impl Fn() -> Error) {
        while let Some(job) = self.deferred.pop_front().or_else(|| self.queue.try_recv().ok()) {
            job.answer(Outcome::Failed(error()));
        }
    }

    /// Refuses what comes, for as long as given.
    pub(crate) async fn refuse_for(&mut self, duration: Duration, error: impl Fn() -> Error) {
        self.refuse(&error);
        let refusing = async {
            while let Some(job) = self.queue.recv().await {
                job.answer(Outcome::Failed(error()));
            }
            std::future::pending::<()>().await;
        };
        // The end of the time is the expected end.
        let _ = tokio::time::timeout(duration, refusing).await;
    }
}

#[derive(Debug, Default)]
struct Pick {
    jobs: Vec<Job>,
    bytes: usize,
    taken: HashSet<u64>,
    /// Keys of groups that were passed over: later groups stay behind them.
    passed: HashMap<u64, usize>,
}
