//! Uncached reads: concurrent misses share one statement (natural batching, no delay).
//!
//! The statement returns the head of its snapshot with the rows; an answer waits until that head is published
//! (RECORD 4), so nothing is shown that a failover could take back.

use crate::{
    read::{
        fetch::{StoredResource, fetch},
        serve::PUBLISH_LIMIT,
    },
    record::Record,
};
use model::{Error, ResourceKey, Result};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Misses in one statement at most.
const TOGETHER: usize = 128;
const QUEUE: usize = 4_096;
/// Statements at once.
const LANES: usize = 2;

/// A current row and the head of the snapshot it was read in.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub row: Option<StoredResource>,
    pub as_of: u64,
}

#[derive(Debug)]
pub(crate) struct Miss {
    key: ResourceKey,
    reply: oneshot::Sender<Result<Fetched>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Fetcher(Vec<mpsc::Sender<Miss>>);

impl Fetcher {
    /// The tasks end with the last handle.
    pub(crate) fn start(record: &Arc<Record>) -> (Self, Vec<tokio::task::JoinHandle<()>>) {
        let (mut senders, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..LANES {
            let (sender, receiver) = mpsc::channel(QUEUE);
            senders.push(sender);
            tasks.push(tokio::spawn(serve(record.clone(), receiver)));
        }
        (Self(senders), tasks)
    }

    /// The current version of a key, no older than the moment of the call, all of it published.
    pub(crate) async fn fetch(&self, record: &Record, key: &ResourceKey, hash: u64) -> Result<Fetched> {
        let (reply, answer) = oneshot::channel();
        let lane = usize::try_from(hash % self.0.len() as u64).unwrap_or(0);
        let gone = || Error::retry("shutting-down", "this server is stopping");
        self.0[lane].send(Miss { key: key.clone(), reply }).await.map_err(|_| gone())?;
        let fetched = answer.await.map_err(|_| gone())??;
        record.published.wait_for(fetched.as_of, PUBLISH_LIMIT).await?;
        Ok(fetched)
    }
}

async fn serve(record: Arc<Record>, mut queue: mpsc::Receiver<Miss>) {
    let mut misses = Vec::with_capacity(TOGETHER);
    while queue.recv_many(&mut misses, TOGETHER).await > 0 {
        let keys: Vec<ResourceKey> = misses.iter().map(|miss| miss.key.clone()).collect();
        match fetch(&record.pool, record.shard(), &keys).await {
            Ok(found) => {
                for (miss, row) in misses.drain(..).zip(found.rows) {
                    // The asker may have gone.
                    let _ = miss.reply.send(Ok(Fetched { row, as_of: found.head }));
                }
            }
            Err(error) => misses.drain(..).for_each(|miss| {
                let _ = miss.reply.send(Err(again(&error)));
            }),
        }
    }
}

/// One error for all who shared the statement.
fn again(error: &Error) -> Error {
    Error::new(error.kind(), error.code(), error.message())
}
