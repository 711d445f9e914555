//! The head row: read, created, taken over, renewed, released (RECORD 2 to 4).

use super::{fault::Fault, session::Session};
use crate::{
    clock::Moment,
    connection::classify,
    publish::Life,
    read::rows::{signed, unsigned},
    record::Record,
};
use model::{Error, Hlc, Incarnation, Result, Shard};
use std::time::Duration;
use tokio_postgres::{Client, Row};

/// The row as read.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub published: u64,
    pub epoch: u64,
    pub holder: String,
    pub holder_url: Option<String>,
    pub flock: bool,
    pub lease: Duration,
    pub renewals: u64,
    pub released: bool,
}

/// An epoch of ours, taken by a bump that is known to be durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Term {
    pub epoch: u64,
    pub next: u64,
    pub hlc: Hlc,
    /// The moment before the bump was sent.
    pub sent: Moment,
}

const COLUMNS: &str = "published, epoch, holder, holder_url, flock, lease_ms, renewals, released";

fn decode(row: &Row) -> Result<Head> {
    let number = |at: usize| unsigned(row.get(at));
    Ok(Head {
        published: number(0)?,
        epoch: number(1)?,
        holder: row.get(2),
        holder_url: row.get(3),
        flock: row.get(4),
        lease: Duration::from_millis(unsigned(row.get::<_, i32>(5).into())?),
        renewals: number(6)?,
        released: row.get(7),
    })
}

pub(crate) fn shard_code(shard: Shard) -> i32 {
    i32::from(shard.0)
}

pub(crate) async fn read(client: &Client, shard: Shard) -> Result<Option<Head>> {
    let text = format!("SELECT {COLUMNS} FROM nephkeep.log_head WHERE shard = $1");
    let row = client.query_opt(&text, &[&shard_code(shard)]).await.map_err(|error| classify(&error))?;
    row.as_ref().map(decode).transpose()
}

/// The lives of the log, oldest first.
pub(crate) async fn lives(client: &Client, shard: Shard) -> Result<Vec<Life>> {
    let text = "SELECT ordinal, random, fork_n FROM nephkeep.history WHERE shard = $1 ORDER BY ordinal";
    let rows = client.query(text, &[&shard_code(shard)]).await.map_err(|error| classify(&error))?;
    let life = |row: &Row| {
        let ordinal = row.get::<_, i32>(0).cast_unsigned();
        let incarnation = Incarnation { ordinal, random: row.get::<_, i64>(1).cast_unsigned() };
        Ok(Life { incarnation, fork_n: unsigned(row.get(2))? })
    };
    rows.iter().map(life).collect()
}

/// The first opening of an empty record: its head, unheld, and its first incarnation.
pub(crate) async fn create(client: &Client, record: &Record) -> Result<()> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| Error::bug("no randomness for a new incarnation").caused_by(error))?;
    let (shard, random) = (shard_code(record.shard()), i64::from_le_bytes(random));
    let text = "WITH head AS (
            INSERT INTO nephkeep.log_head
            VALUES ($1::int4, 1, $2::int8, 1, 0, 0, $3::int8, '', NULL, false, $4::int4, 0, true)
            ON CONFLICT (shard) DO NOTHING RETURNING shard, ordinal, random, hlc)
        INSERT INTO nephkeep.history (shard, ordinal, random, parent_ordinal, fork_n, hlc)
        SELECT shard, ordinal, random, NULL, 1, hlc FROM head";
    let hlc = signed(Hlc::from_micros(record.settings.wall.micros()).0);
    client.execute(text, &[&shard, &random, &hlc, &lease_ms(record)]).await.map_err(|error| classify(&error))?;
    Ok(())
}

fn lease_ms(record: &Record) -> i32 {
    i32::try_from(record.lease.duration().as_millis()).unwrap_or(i32::MAX)
}

/// Takes the lease away from `epoch`: waits for a zombie's row lock, and repeats until one bump is committed
/// synchronously and without a warning (RECORD 3). `None`: another was faster, or the holder was: it has renewed
/// since its `renewals` were seen, and trusts what it remembers (RECORD 4).
pub(crate) async fn bump(
    session: &Session,
    record: &Record,
    mut epoch: u64,
    seen: Option<u64>,
) -> Result<Option<Term>> {
    let mut seen = seen.map(signed);
    let text =
        "UPDATE nephkeep.log_head SET epoch = epoch + 1, holder = $3, holder_url = $4, flock = $5, lease_ms = $6,
            renewals = renewals + 1, released = false
        WHERE shard = $1 AND epoch = $2 AND renewals = coalesce($7::int8, renewals) RETURNING epoch, next, hlc";
    let (shard, lease_ms) = (shard_code(record.shard()), lease_ms(record));
    loop {
        session.take_unreplicated();
        let sent = Moment::now();
        let url = &record.settings.holder_url;
        let flock = record.settings.flock;
        let own = signed(epoch);
        let bumped =
            session.client().query_opt(text, &[&shard, &own, &record.holder, url, &flock, &lease_ms, &seen]).await;
        let row = match bumped {
            Ok(Some(row)) => row,
            Ok(None) => return Ok(None),
            Err(error) if Fault::of(&error) == Fault::Again => continue,
            Err(error) => return Err(classify(&error)),
        };
        (epoch, seen) = (unsigned(row.get(0))?, None);
        if !session.take_unreplicated() {
            return Ok(Some(Term { epoch, next: unsigned(row.get(1))?, hlc: Hlc(unsigned(row.get(2))?), sent }));
        }
        tracing::warn!(epoch, "the epoch is not yet on the synchronous standby: trying again");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// All below `next` was durable before our clean bump: it may be read.
pub(crate) async fn publish_all(session: &Session, record: &Record, term: &Term) -> Result<()> {
    let text = "UPDATE nephkeep.log_head SET published = next - 1 WHERE shard = $1 AND epoch = $2";
    let parameters = (shard_code(record.shard()), signed(term.epoch));
    let done =
        session.client().execute(text, &[&parameters.0, &parameters.1]).await.map_err(|error| classify(&error))?;
    if done == 0 {
        return Err(record.lease.not_leader());
    }
    record.publish(term.next - 1);
    Ok(())
}

/// An idle renewal: synchronous, since a lost one would let a successor in too early. False: the lease is lost.
pub(crate) async fn renew(session: &Session, record: &Record, epoch: u64) -> Result<bool, tokio_postgres::Error> {
    let text = "UPDATE nephkeep.log_head SET renewals = renewals + 1, published = greatest(published, $3)
        WHERE shard = $1 AND epoch = $2";
    session.take_unreplicated();
    let sent = Moment::now();
    let parameters = (shard_code(record.shard()), signed(epoch), signed(record.published.get()));
    let done = session.client().execute(text, &[&parameters.0, &parameters.1, &parameters.2]).await?;
    if done == 1 && !session.take_unreplicated() {
        record.lease.renewed(sent);
    }
    Ok(done == 1)
}

/// Tells readers of other processes how far they may go, soon after the last batch; need not be durable.
pub(crate) async fn publish_idle(session: &Session, record: &Record, epoch: u64) -> Result<(), tokio_postgres::Error> {
    let (shard, published) = (shard_code(record.shard()), record.published.get());
    let text = format!(
        "BEGIN; SET LOCAL synchronous_commit = off; \
         UPDATE nephkeep.log_head SET published = greatest(published, {published}) \
         WHERE shard = {shard} AND epoch = {epoch}; COMMIT"
    );
    session.client().batch_execute(&text).await
}

/// A clean end: a successor need not wait.
pub(crate) async fn release(session: &Session, record: &Record, epoch: u64) -> Result<(), tokio_postgres::Error> {
    let text = "UPDATE nephkeep.log_head SET released = true, published = greatest(published, $3)
        WHERE shard = $1 AND epoch = $2";
    let parameters = (shard_code(record.shard()), signed(epoch), signed(record.published.get()));
    session.client().execute(text, &[&parameters.0, &parameters.1, &parameters.2]).await?;
    Ok(())
}
