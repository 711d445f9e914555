//! Uncached reads: concurrent misses share one statement.
//!
//! The statement returns the head of its snapshot with the rows; an answer waits until that head is published
//! (RECORD 4), so nothing is shown that a failover could take back.

use crate::{
    read::{
        fetch::{StoredResource, fetch},
        serve::PUBLISH_LIMIT,
    },
    record::Record,
    together::Together,
};
use model::{ResourceKey, Result};
use tokio::task::JoinHandle;

/// Misses in one statement at most.
const TOGETHER: usize = 128;
/// Statements at once.
const LANES: usize = 2;

/// A current row and the head of the snapshot it was read in.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub row: Option<StoredResource>,
    pub as_of: u64,
}

#[derive(Debug)]
pub(crate) struct Fetcher(Vec<Together<ResourceKey, Fetched>>);

impl Fetcher {
    pub(crate) fn start(record: &Record) -> (Self, Vec<JoinHandle<()>>) {
        let lane = |_| {
            let (pool, shard) = (record.pool.clone(), record.shard());
            Together::start(TOGETHER, move |keys: Vec<ResourceKey>| {
                let pool = pool.clone();
                async move {
                    let found = fetch(&pool, shard, &keys).await?;
                    let as_of = found.head;
                    Ok(found.rows.into_iter().map(|row| Fetched { row, as_of }).collect())
                }
            })
        };
        let (lanes, tasks) = (0..LANES).map(lane).unzip();
        (Self(lanes), tasks)
    }

    /// The current version of a key, no older than the moment of the call, all of it published.
    pub(crate) async fn fetch(&self, record: &Record, key: &ResourceKey, hash: u64) -> Result<Fetched> {
        let lane = usize::try_from(hash % self.0.len() as u64).unwrap_or(0);
        let fetched = self.0[lane].ask(key.clone()).await?;
        record.published.wait_for(fetched.as_of, PUBLISH_LIMIT).await?;
        Ok(fetched)
    }
}
