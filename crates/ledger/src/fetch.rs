//! Uncached reads: concurrent misses share one statement on one of two connections (natural batching, no delay).
//!
//! The statement returns the head of its snapshot with the rows; an answer waits until that head is published
//! (RECORD 4), so nothing is shown that a failover could take back.

use crate::{
    committer::{Stored, head::shard_code, statement::unsigned},
    connection::{Session, classify, is_gone},
    record::Record,
};
use bytes::Bytes;
use model::{Class, Error, ResourceKey, Result};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Client, Statement};

/// Misses in one statement at most.
const TOGETHER: usize = 128;
const QUEUE: usize = 4_096;
const CONNECTIONS: usize = 2;
/// How long a snapshot's head may stay unpublished before the read is given up.
const PUBLISH_LIMIT: Duration = Duration::from_secs(5);

const READER: &str = "SET default_transaction_isolation = 'repeatable read'; SET default_transaction_read_only = on; \
    SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_bitmapscan = off; \
    SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; SET statement_timeout = '30s'";
const TEXT: &str = "SELECT m.ord, h.next - 1, r.version, r.ordinal, r.n, r.class, r.sealed
    FROM unnest($1::text[], $2::int2[], $3::text[]) WITH ORDINALITY AS m(tenant, kind, id, ord)
    CROSS JOIN (SELECT next FROM nephkeep.log_head WHERE shard = $4) h
    LEFT JOIN nephkeep.resource r ON r.tenant = m.tenant AND r.kind = m.kind AND r.id = m.id AND NOT r.deleted";

/// A current row and the head of the snapshot it was read in.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub stored: Option<Stored>,
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
    /// The tasks end when the last handle is dropped.
    pub(crate) fn start(record: &Arc<Record>) -> (Self, Vec<tokio::task::JoinHandle<()>>) {
        let (mut senders, mut tasks) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS {
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
    let mut open: Option<(Session, Statement)> = None;
    let mut misses = Vec::with_capacity(TOGETHER);
    while queue.recv_many(&mut misses, TOGETHER).await > 0 {
        if open.as_ref().is_none_or(|(session, _)| session.client.is_closed()) {
            open = match prepare(&record).await {
                Ok(opened) => Some(opened),
                Err(error) => {
                    for miss in misses.drain(..) {
                        let again = Error::retry("record-unreachable", "PostgreSQL does not answer; try again");
                        let _ = miss.reply.send(Err(again.with("cause", &error)));
                    }
                    continue;
                }
            };
        }
        if let Some((session, statement)) = &open
            && !answer(&record, &session.client, statement, &mut misses).await
        {
            open = None;
        }
    }
}

async fn prepare(record: &Record) -> Result<(Session, Statement)> {
    let session = record.connector.connect("nephkeep fetcher", READER).await?;
    let statement = session.client.prepare(TEXT).await.map_err(|error| classify(&error))?;
    Ok((session, statement))
}

/// False: the connection is of no more use.
async fn answer(record: &Record, client: &Client, statement: &Statement, misses: &mut Vec<Miss>) -> bool {
    let rows = {
        let tenants: Vec<&str> = misses.iter().map(|miss| miss.key.tenant.as_str()).collect();
        let kinds: Vec<i16> = misses.iter().map(|miss| miss.key.kind.code()).collect();
        let ids: Vec<&str> = misses.iter().map(|miss| &*miss.key.id).collect();
        client.query(statement, &[&tenants, &kinds, &ids, &shard_code(record.shard())]).await
    };
    let usable = !rows.as_ref().is_err_and(is_gone);
    let mut found: Vec<Option<Result<Fetched>>> = misses.iter().map(|_| None).collect();
    match &rows {
        Ok(rows) => {
            for row in rows {
                let at = usize::try_from(row.get::<_, i64>(0) - 1).unwrap_or(usize::MAX);
                if let Some(place) = found.get_mut(at) {
                    *place = Some(decode(row));
                }
            }
        }
        Err(error) => found.iter_mut().for_each(|place| *place = Some(Err(classify(error)))),
    }
    for (miss, found) in misses.drain(..).zip(found) {
        let missing = || Err(Error::retry("record-unreachable", "the record has no head yet; try again"));
        // The asker may have gone.
        let _ = miss.reply.send(found.unwrap_or_else(missing));
    }
    usable
}

fn decode(row: &tokio_postgres::Row) -> Result<Fetched> {
    let as_of = unsigned(row.get(1))?;
    let Some(sealed) = row.get::<_, Option<&[u8]>>(6) else { return Ok(Fetched { stored: None, as_of }) };
    let stored = Stored {
        version: unsigned(row.get(2))?,
        ordinal: row.get::<_, i32>(3).cast_unsigned(),
        n: unsigned(row.get(4))?,
        class: Class::from_code(row.get(5))?,
        sealed: Bytes::copy_from_slice(sealed),
    };
    Ok(Fetched { stored: Some(stored), as_of })
}
