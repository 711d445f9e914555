//! Commits of a group, gathered: at most one statement a second for each group (RECORD 16), and each commit is durable
//! when it is answered. No task of its own: whoever's turn it is writes for all who wait.

use ledger::{GroupKey, Ledger, groups::Commit};
use model::{Error, Result};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex as Turn, oneshot},
    time::Instant,
};

/// Between two statements of one group.
const PACE: Duration = Duration::from_secs(1);
/// Groups remembered; beyond this those that nobody waits for are forgotten.
const GROUPS: usize = 10_000;

#[derive(Debug, Default)]
pub struct Commits {
    lanes: Mutex<HashMap<GroupKey, Arc<Lane>>>,
}

#[derive(Debug, Default)]
struct Lane {
    /// When the last statement was sent.
    turn: Turn<Option<Instant>>,
    waiting: Mutex<Vec<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    commit: Commit,
    /// `None`: only noted; nobody waits.
    reply: Option<oneshot::Sender<Result<u64>>>,
}

impl Commits {
    fn lane(&self, key: &GroupKey) -> Arc<Lane> {
        let mut lanes = self.lanes.lock();
        if lanes.len() >= GROUPS {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1 || !lane.waiting.lock().is_empty());
        }
        Arc::clone(lanes.entry(key.clone()).or_default())
    }

    /// Durable when it returns: for how many partitions, or `consumer-fenced`.
    pub async fn commit(&self, ledger: &Ledger, key: &GroupKey, commit: Commit) -> Result<u64> {
        let lane = self.lane(key);
        loop {
            let (reply, mut answer) = oneshot::channel();
            lane.waiting.lock().push(Waiting { commit: commit.clone(), reply: Some(reply) });
            let answered = tokio::select! {
                biased;
                answered = &mut answer => answered,
                mut turn = lane.turn.lock() => {
                    if let Some(last) = *turn {
                        tokio::time::sleep_until(last + PACE).await;
                    }
                    lane.write(&mut turn, ledger, key).await;
                    drop(turn);
                    answer.await
                }
            };
            // Whoever was writing for us went away in the middle: a commit can be said twice.
            if let Ok(answered) = answered {
                return answered;
            }
        }
    }

    /// Without waiting: written with the next statement of the group, a second later at most while its members poll.
    pub async fn note(&self, ledger: &Ledger, key: &GroupKey, commit: Commit) {
        let lane = self.lane(key);
        {
            let mut waiting = lane.waiting.lock();
            let same =
                |w: &Waiting| w.reply.is_none() && w.commit.member == commit.member && w.commit.epoch == commit.epoch;
            match waiting.iter_mut().find(|waiting| same(waiting)) {
                Some(noted) if further(&noted.commit, &commit) => {}
                Some(noted) => noted.commit = commit,
                None => waiting.push(Waiting { commit, reply: None }),
            }
        }
        self.tend(ledger, key).await;
    }

    /// Writes what was noted, if its time has come.
    pub async fn tend(&self, ledger: &Ledger, key: &GroupKey) {
        let lane = self.lane(key);
        let Ok(mut turn) = lane.turn.try_lock() else { return };
        if lane.waiting.lock().is_empty() || turn.is_some_and(|last| last.elapsed() < PACE) {
            return;
        }
        lane.write(&mut turn, ledger, key).await;
    }

    /// Writes what was noted, now: its member is leaving.
    pub async fn settle(&self, ledger: &Ledger, key: &GroupKey) {
        let lane = self.lane(key);
        lane.write(&mut *lane.turn.lock().await, ledger, key).await;
    }
}

/// Whether the first says at least as much as the second.
fn further(a: &Commit, b: &Commit) -> bool {
    a.through.order() >= b.through.order()
}

/// One commit for each member and epoch, and whose it answers.
fn gathered(waiting: &[Waiting]) -> (Vec<Commit>, Vec<usize>) {
    let (mut commits, mut of) = (Vec::<Commit>::new(), Vec::with_capacity(waiting.len()));
    for Waiting { commit, .. } in waiting {
        let known = commits.iter().position(|known| known.member == commit.member && known.epoch == commit.epoch);
        let at = known.unwrap_or_else(|| {
            commits.push(commit.clone());
            commits.len() - 1
        });
        if !further(&commits[at], commit) {
            commits[at] = commit.clone();
        }
        of.push(at);
    }
    (commits, of)
}

impl Lane {
    /// One statement for all who wait, and the time of it; where nobody does, none.
    async fn write(&self, turn: &mut Option<Instant>, ledger: &Ledger, key: &GroupKey) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        if waiting.is_empty() {
            return;
        }
        let (commits, of) = gathered(&waiting);
        let written = ledger.group_commit(key, &commits).await;
        *turn = Some(Instant::now());
        for (waiting, at) in waiting.into_iter().zip(of) {
            let answer = match &written {
                Ok(answers) => answers.get(at).map_or_else(|| Err(Error::bug("a commit without an answer")), same),
                Err(error) => Err(error.again()),
            };
            if let Some(reply) = waiting.reply {
                // Who does not wait any more needs no answer.
                let _ = reply.send(answer);
            } else if let Err(error) = answer {
                tracing::debug!(group = %key, code = error.code(), "a noted position: {error}");
            }
        }
    }
}

fn same(answer: &Result<u64>) -> Result<u64> {
    match answer {
        Ok(kept) => Ok(*kept),
        Err(error) => Err(error.again()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Incarnation, Position, Shard};

    fn waiting(member: &str, epoch: u64, ordinal: u32, n: u64) -> Waiting {
        let incarnation = Incarnation { ordinal, random: 1 };
        let through = Position { shard: Shard(0), incarnation, n };
        Waiting { commit: Commit { member: member.into(), epoch, through }, reply: None }
    }

    #[test]
    fn what_waits_together_is_one_commit_for_each_member_and_epoch() {
        let all = [
            waiting("a", 1, 1, 5),
            waiting("b", 1, 1, 9),
            waiting("a", 1, 1, 7),
            waiting("a", 2, 1, 3),
            waiting("b", 1, 2, 4),
            waiting("a", 1, 1, 6),
        ];
        let (commits, of) = gathered(&all);
        let told: Vec<_> = commits.iter().map(|c| (c.member.as_str(), c.epoch, c.through.n)).collect();
        assert_eq!(told, [("a", 1, 7), ("b", 1, 4), ("a", 2, 3)], "a later life goes before a higher number");
        assert_eq!(of, [0, 1, 0, 2, 1, 0]);
    }
}
