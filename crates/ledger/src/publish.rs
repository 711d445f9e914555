//! How far the log may be read (`published`, RECORD 3), and which incarnations it went through (RECORD 2).

use crate::clock::Moment;
use model::{Error, Incarnation, Position, Result, Shard};
use parking_lot::RwLock;
use std::time::Duration;
use tokio::sync::watch;

/// The highest position that may be shown to anybody; only ever raised.
#[derive(Debug)]
pub(crate) struct Published(watch::Sender<u64>);

impl Published {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }
    pub(crate) fn get(&self) -> u64 {
        *self.0.borrow()
    }
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
    pub(crate) fn raise(&self, n: u64) {
        self.0.send_if_modified(|published| {
            let raised = n > *published;
            *published = n.max(*published);
            raised
        });
    }
    /// False when it was not reached in time.
    pub(crate) async fn reached(&self, n: u64, limit: Duration) -> bool {
        if self.get() >= n {
            return true;
        }
        let mut seen = self.watch();
        matches!(tokio::time::timeout(limit, seen.wait_for(|published| *published >= n)).await, Ok(Ok(_)))
    }
    /// As `reached`, as an error.
    pub(crate) async fn wait_for(&self, n: u64, limit: Duration) -> Result<()> {
        let started = Moment::now();
        if self.reached(n, limit).await {
            return Ok(());
        }
        let message = "this server cannot answer from that position yet; ask again, or ask the leader";
        Err(Error::retry("position-timeout", message)
            .with("n", n)
            .with("published", self.get())
            .with("waited_ms", Moment::now().since(started).as_millis()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life {
    pub incarnation: Incarnation,
    /// First n of this incarnation; positions of its parents from here on are void.
    pub fork_n: u64,
}

/// The lives of one log, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Lives(RwLock<Vec<Life>>);

impl Lives {
    pub(crate) fn set(&self, lives: Vec<Life>) {
        *self.0.write() = lives;
    }
    pub(crate) fn current(&self) -> Option<Life> {
        self.0.read().last().copied()
    }
    /// The life that holds n (0, the place before all, belongs to the first).
    pub(crate) fn of(&self, n: u64) -> Option<Life> {
        let lives = self.0.read();
        lives.iter().rev().find(|life| life.fork_n <= n).or(lives.first()).copied()
    }
    /// A stored ordinal, as the incarnation it names.
    pub(crate) fn incarnation(&self, ordinal: u32) -> Result<Incarnation> {
        let lives = self.0.read();
        let found = lives.iter().find(|life| life.incarnation.ordinal == ordinal).map(|life| life.incarnation);
        found.ok_or_else(|| {
            Error::corrupt("incarnation-unknown", "a row names an incarnation that the history does not know")
                .with("ordinal", ordinal)
        })
    }

    /// The n to go on from, or `position-voided` with the fork.
    pub(crate) fn resume(&self, shard: Shard, after: Position) -> Result<u64> {
        let lives = self.0.read();
        if after.shard != shard {
            let message = "the position belongs to another shard";
            return Err(Error::invalid("position-elsewhere", message).with("position", after).with("shard", shard.0));
        }
        let known = lives.iter().position(|life| life.incarnation == after.incarnation);
        let fork = known.map_or(lives.first(), |at| lives[at + 1..].iter().find(|life| life.fork_n <= after.n));
        let Some(fork) = fork else { return Ok(after.n) };
        let fork = Position { shard, incarnation: fork.incarnation, n: fork.fork_n };
        let message = match known {
            Some(_) => "the log was forked before this position: read again from the fork what lies past it",
            None => {
                "this record's log has no such position: it is of another record, or of a life of the log that a \
                restore ended; read again from the fork"
            }
        };
        Err(Error::conflict("position-voided", message).with("position", after).with("fork", fork))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(ordinal: u32, fork_n: u64) -> Life {
        Life { incarnation: Incarnation { ordinal, random: u64::from(ordinal) * 7 }, fork_n }
    }
    fn at(ordinal: u32, n: u64) -> Position {
        Position { shard: Shard(0), incarnation: life(ordinal, 0).incarnation, n }
    }

    #[test]
    fn a_position_past_a_fork_is_voided_and_told_where() {
        let lives = Lives::default();
        lives.set(vec![life(1, 1), life(2, 1_001)]);
        assert_eq!(lives.resume(Shard(0), at(1, 1_000)).unwrap(), 1_000);
        assert_eq!(lives.resume(Shard(0), at(2, 1_500)).unwrap(), 1_500);
        assert_eq!([0, 1_000, 1_001].map(|n| lives.of(n).unwrap().incarnation.ordinal), [1, 1, 2]);
        let error = lives.resume(Shard(0), at(1, 1_500)).unwrap_err();
        assert_eq!((error.code(), error.fact("fork")), ("position-voided", Some("0.2-000000000000000e.1001")));
        assert_eq!(lives.resume(Shard(0), at(9, 3)).unwrap_err().code(), "position-voided");
        assert_eq!(lives.resume(Shard(1), at(1, 3)).unwrap_err().code(), "position-elsewhere");
    }

    #[tokio::test]
    async fn published_is_only_raised() {
        let published = Published::new();
        published.raise(5);
        published.raise(3);
        assert_eq!(published.get(), 5);
        assert!(published.reached(5, Duration::ZERO).await);
        assert_eq!(published.wait_for(6, Duration::ZERO).await.unwrap_err().code(), "position-timeout");
    }
}
