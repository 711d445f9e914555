//! Which waiting groups form the next batch.
//!
//! No two groups of a batch share a key read or written, or an idempotency key (RECORD 1): a group that does waits
//! for a later batch, in the order it came. Nothing is delayed to fill a batch.

use super::job::{Job, Outcome};
use crate::cache::Passed;
use model::Error;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::BuildHasherDefault,
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

    /// The next batch: as many disjoint groups as fit, in order. `foregone`: a group whose outcome is known already.
    pub(crate) fn batch(&mut self, foregone: impl Fn(&Job) -> Option<Outcome>) -> Vec<Job> {
        let mut pick = Pick::default();
        for job in std::mem::take(&mut self.deferred) {
            self.consider(job, &mut pick, &foregone);
        }
        while pick.jobs.len() < self.groups_max
            && pick.bytes < self.bytes_max
            && self.deferred.len() < self.groups_max * 8
        {
            let Ok(job) = self.queue.try_recv() else { break };
            self.consider(job, &mut pick, &foregone);
        }
        pick.jobs
    }

    fn consider(&mut self, job: Job, pick: &mut Pick, foregone: &impl Fn(&Job) -> Option<Outcome>) {
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
        if let Some(outcome) = foregone(&job) {
            return job.answer(outcome);
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
    taken: HashSet<u64, BuildHasherDefault<Passed>>,
    /// Keys of groups that were passed over: later groups stay behind them.
    passed: HashMap<u64, usize, BuildHasherDefault<Passed>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn job(name: &str, locks: &[u64], bytes: usize) -> (Job, oneshot::Receiver<Outcome>) {
        let (reply, answer) = oneshot::channel();
        let (tenant, principal, purpose) = ("t".into(), name.into(), "".into());
        (
            Job { tenant, principal, purpose, members: Vec::new(), locks: locks.to_vec(), bytes, reply, permit: None },
            answer,
        )
    }

    fn names(jobs: &[Job]) -> Vec<&str> {
        jobs.iter().map(|job| &*job.principal).collect()
    }

    async fn waiting(
        jobs: &[(&str, &[u64], usize)],
        groups: usize,
        bytes: usize,
    ) -> (Waiting, Vec<oneshot::Receiver<Outcome>>) {
        let (sender, receiver) = mpsc::channel(4_096);
        let mut answers = Vec::new();
        for (name, locks, bytes) in jobs {
            let (job, answer) = job(name, locks, *bytes);
            sender.send(job).await.unwrap();
            answers.push(answer);
        }
        (Waiting::new(receiver, groups, bytes), answers)
    }

    #[tokio::test]
    async fn groups_of_a_batch_are_disjoint_and_each_key_stays_in_order() {
        // c waits for a's key; d shares no key with the batch, but one with c who came before it.
        let jobs: [(&str, &[u64], usize); 5] =
            [("a", &[1], 1), ("b", &[2], 1), ("c", &[1, 3], 1), ("d", &[3], 1), ("e", &[4], 1)];
        let (mut waiting, _answers) = waiting(&jobs, 10, 100).await;
        assert_eq!(names(&waiting.batch(|_| None)), ["a", "b", "e"]);
        assert_eq!(names(&waiting.batch(|_| None)), ["c"]);
        assert_eq!(names(&waiting.batch(|_| None)), ["d"]);
        assert!(waiting.batch(|_| None).is_empty());
    }

    #[tokio::test]
    async fn a_batch_is_bounded_in_groups_and_bytes_and_a_large_group_goes_alone() {
        let jobs: [(&str, &[u64], usize); 4] = [("a", &[1], 60), ("b", &[2], 60), ("c", &[3], 500), ("d", &[4], 1)];
        let (mut waiting, _answers) = waiting(&jobs, 2, 100).await;
        assert_eq!(names(&waiting.batch(|_| None)), ["a", "d"], "who fits goes along");
        assert_eq!(names(&waiting.batch(|_| None)), ["b"]);
        assert_eq!(names(&waiting.batch(|_| None)), ["c"]);
    }

    #[tokio::test]
    async fn a_key_that_too_many_wait_for_is_refused_and_who_left_is_forgotten() {
        let jobs: Vec<(&str, &[u64], usize)> = vec![("a", &[1], 1); HOT_KEY_WAITERS + 3];
        let (mut waiting, mut answers) = waiting(&jobs, 512, 1 << 20).await;
        assert_eq!(waiting.batch(|_| None).len(), 1);
        assert_eq!(waiting.len(), HOT_KEY_WAITERS);
        let refused = answers.iter_mut().filter_map(|answer| answer.try_recv().ok()).collect::<Vec<_>>();
        assert!(matches!(&refused[..], [Outcome::Failed(one), Outcome::Failed(_)] if one.code() == "hot-key"));
        drop(answers);
        assert!(waiting.batch(|_| None).is_empty() && waiting.len() == 0);
    }
}
