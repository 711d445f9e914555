//! The record's mark on its keystore (RECORD 8: never rolled back): which one it is, and the oldest generation of it that
//! may still be used.
//!
//! A generation is durable in every directory of the keystore first. Then the mark is raised to it, and only then is
//! anything committed that was sealed with it. A crash between leaves a keystore that is newer than its mark, which is
//! fine; never a record that needs a generation which the mark does not demand.

use crate::{
    Ledger,
    connection::{ADMINISTRATION, Connector, classify},
    read::rows::{signed, unsigned},
    record::Record,
    subjects::State,
};
use keys::{KeyId, Keystore, Lost};
use model::{Error, Result};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_postgres::{Client, IsolationLevel};

/// What the record demands of the keystore it is opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    pub keystore: [u8; 16],
    pub generation: u64,
}

const THERE: &str = "SELECT to_regclass('nephkeep.keystore') IS NOT NULL";
const READ: &str = "SELECT id, generation FROM nephkeep.keystore";

/// Only upwards, and for one keystore; no row: the record names another.
const RAISE: &str = "
    INSERT INTO nephkeep.keystore AS k (id, generation) VALUES ($1, $2)
    ON CONFLICT (one) DO UPDATE SET generation = greatest(k.generation, excluded.generation) WHERE k.id = excluded.id
    RETURNING generation";

/// The newest key in use, and those that are gone for good.
const USED: &str = "
    SELECT max(key_id), false FROM nephkeep.subject HAVING count(*) > 0
    UNION ALL SELECT key_id, true FROM nephkeep.subject WHERE state = $1";

const SUBJECT_KEYS: &str = "SELECT key_id, state FROM nephkeep.subject";
const REPLACE: &str = "
    UPDATE nephkeep.subject s SET key_id = f.fresh FROM unnest($1::bigint[], $2::bigint[]) AS f(lost, fresh)
    WHERE s.key_id = f.lost AND s.state = 0";

/// What the mark is known to be.
#[derive(Debug, Default)]
pub(crate) struct Mark {
    known: AtomicU64,
    /// One raises it, the others wait for him.
    raising: tokio::sync::Mutex<()>,
}

/// What the record demands; `None` before its first opening.
pub async fn demand(connector: &Connector) -> Result<Option<Demand>> {
    let session = connector.connect("nephkeep keystore", ADMINISTRATION).await?;
    read(&session.client).await
}

async fn read(client: &Client) -> Result<Option<Demand>> {
    let there: bool = client.query_one(THERE, &[]).await.map_err(|error| classify(&error))?.get(0);
    if !there {
        return Ok(None);
    }
    let Some(row) = client.query_opt(READ, &[]).await.map_err(|error| classify(&error))? else { return Ok(None) };
    let keystore = row.get::<_, &[u8]>(0).try_into();
    let keystore = keystore.map_err(|_| Error::corrupt("record-corrupt", "the record names a keystore by no id"))?;
    Ok(Some(Demand { keystore, generation: unsigned(row.get(1))? }))
}

fn other(keystore: &Keystore) -> Error {
    let message = "this is another keystore than the record was written with: correct the keystore's settings";
    Error::refused("keystore-other", message).with("found", hex::encode(keystore.id()))
}

/// Refuses a keystore that is another, or older than the record (it would hand keys out again, or bring erased ones
/// back), and marks its generation. What was written before there was a mark tells by itself.
///
/// The record is read first, the keystore after it: a server that leads meanwhile makes a generation durable before the
/// record demands it, so that what is on disk then is never older than what was read, unless it was rolled back.
pub(crate) async fn check(client: &mut Client, keystore: &Keystore) -> Result<Mark> {
    let demand = read(client).await?;
    let used = client.query(USED, &[&State::Erased.code()]).await.map_err(|error| classify(&error))?;
    keystore.refresh()?;
    if let Some(demand) = demand {
        if demand.keystore != keystore.id() {
            return Err(other(keystore).with("expected", hex::encode(demand.keystore)));
        }
        if keystore.generation() < demand.generation {
            let message =
                "this keystore is older than what was written with it: bring the newest generation and slot back";
            let error = Error::refused("keystore-too-old", message);
            return Err(error.with("found", keystore.generation()).with("needed", demand.generation));
        }
    }
    for row in used {
        let key = KeyId(unsigned(row.get(0))?);
        if !keystore.is_destroyed(key)? && row.get(1) {
            let message = "this keystore is older than the record: it still has a key that was destroyed by an erasure; \
                bring the newest generation and slot back";
            return Err(Error::refused("keystore-too-old", message).with("key", key.0));
        }
    }
    Ok(Mark { known: AtomicU64::new(raise_on(client, keystore).await?), ..Mark::default() })
}

/// For a process that changes the keystore beside the server, on the same machine. Returns what the record demands now.
pub async fn raise(connector: &Connector, keystore: &Keystore) -> Result<u64> {
    let mut session = connector.connect("nephkeep keystore", ADMINISTRATION).await?;
    raise_on(&mut session.client, keystore).await
}

async fn raise_on(client: &mut Client, keystore: &Keystore) -> Result<u64> {
    let (id, durable) = (keystore.id(), signed(keystore.durable_generation()));
    let raised = async {
        // Two servers may open one record at once: each waits for the other, none fails.
        let transaction = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?;
        let raised = transaction.query_opt(RAISE, &[&id.as_slice(), &durable]).await?;
        transaction.commit().await?;
        Ok::<_, tokio_postgres::Error>(raised)
    };
    let raised = raised.await.map_err(|error| classify(&error))?;
    unsigned(raised.ok_or_else(|| other(keystore))?.get(0))
}

/// What came of going on with an older generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Accepted {
    pub found: u64,
    pub demanded: u64,
    /// Newer than the one demanded.
    pub generation: u64,
    /// Live subjects whose key is lost with the newer generations: what was stored of them reads as erased, and what
    /// they store from now on has a fresh key.
    pub subjects_lost: u64,
    /// Keys that were erased since, and are again.
    pub erased_again: u64,
}

/// The way through when everything newer than the keystore at hand is lost for good. The keystore goes on past what the
/// record demands, first; then the record gives fresh keys where it names lost ones. May be repeated. No server may run.
pub async fn accept_older(connector: &Connector, keystore: &Keystore) -> Result<Accepted> {
    let mut session = connector.connect("nephkeep keystore", ADMINISTRATION).await?;
    let client = &mut session.client;
    let found = keystore.generation();
    let demand = read(client).await?;
    let demanded = demand.map_or(0, |demand| demand.generation);
    if demand.is_some_and(|demand| demand.keystore != keystore.id()) {
        return Err(other(keystore));
    }
    let mut lost = Lost { generation: demanded, ..Lost::default() };
    let mut live = Vec::new();
    for row in client.query(SUBJECT_KEYS, &[]).await.map_err(|error| classify(&error))? {
        let (key, state) = (KeyId(unsigned(row.get(0))?), State::from_code(row.get(1))?);
        lost.newest_key = lost.newest_key.max(Some(key));
        if state == State::Live { live.push(key) } else { lost.destroyed.push(key) }
    }
    let erased_again = if found < demanded {
        let present = lost.destroyed.iter().filter(|key| keystore.is_destroyed(**key).is_ok_and(|gone| !gone)).count();
        if !keystore.go_on_without(&lost)?.is_complete() {
            let message = "a slot of the keystore did not take the new epoch: repair it, then repeat this";
            return Err(Error::retry("keystore-slots-unconfirmed", message));
        }
        present as u64
    } else {
        0
    };
    let mut replaced = (Vec::new(), Vec::new());
    for key in live {
        if keystore.is_destroyed(key)? {
            replaced.0.push(signed(key.0));
            replaced.1.push(signed(keystore.take_key()?.0));
        }
    }
    raise_on(client, keystore).await?;
    if !replaced.0.is_empty() {
        replace_keys(client, &replaced).await.map_err(|error| classify(&error))?;
    }
    let (generation, subjects_lost) = (keystore.generation(), replaced.0.len() as u64);
    Ok(Accepted { found, demanded, generation, subjects_lost, erased_again })
}

/// The digests of names were made with the tenants' keys: they are made again.
async fn replace_keys(client: &mut Client, (old, fresh): &(Vec<i64>, Vec<i64>)) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction.execute(REPLACE, &[old, fresh]).await?;
    transaction.execute("DELETE FROM nephkeep.name_index", &[]).await?;
    transaction.commit().await
}

impl Record {
    /// Nothing that was sealed meanwhile is committed before this is durable.
    pub(crate) async fn mark_keystore(&self) -> Result<()> {
        if self.keystore_is_marked() {
            return Ok(());
        }
        let _one = self.mark.raising.lock().await;
        if self.keystore_is_marked() {
            return Ok(());
        }
        let (id, durable) = (self.keystore.id(), self.keystore.durable_generation());
        if self.write_apart(RAISE, &[&id.as_slice(), &signed(durable)]).await?.is_empty() {
            return Err(other(&self.keystore));
        }
        self.mark.known.fetch_max(durable, Ordering::AcqRel);
        Ok(())
    }

    pub(crate) fn keystore_is_marked(&self) -> bool {
        self.keystore.durable_generation() <= self.mark.known.load(Ordering::Acquire)
    }
}

impl Ledger {
    /// After a change of the keystore: from now on the record demands this generation, or a newer one.
    pub async fn mark_keystore(&self) -> Result<()> {
        self.record().mark_keystore().await
    }
}
