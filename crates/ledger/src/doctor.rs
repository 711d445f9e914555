//! What `nephkeep doctor` asks the record's PostgreSQL: is it set so that nothing acknowledged can be lost, does it
//! keep values to itself, do the clocks agree, is the schema this build's, are partitions ready.

use crate::{
    clock::Wall,
    connection::{ADMINISTRATION, Connector, classify},
    durability,
    migrations::{self, Phase},
};
use model::{Hlc, Result, Shard};
use serde::Serialize;
use tokio_postgres::Client;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Good,
    /// Works; should be otherwise.
    Poor,
    /// Breaks a promise.
    Bad,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    pub name: &'static str,
    pub value: String,
    pub verdict: Verdict,
    /// Empty when there is nothing to do.
    pub remedy: &'static str,
}

/// A setting, the values that are good, what anything else is, and what to do then.
type Rule = (&'static str, &'static [&'static str], Verdict, &'static str);

const SETTINGS: [Rule; 12] = [
    ("data_checksums", &["on"], Verdict::Poor, "enable them with pg_checksums while the server is stopped"),
    ("fsync", &["on"], Verdict::Bad, "set fsync = on: a power cut loses or tears what was acknowledged"),
    ("full_page_writes", &["on"], Verdict::Bad, "set full_page_writes = on: a power cut tears pages"),
    (
        "synchronous_commit",
        &["on", "remote_apply"],
        Verdict::Poor,
        "set synchronous_commit = on; with off nothing is written, otherwise the committer insists on it itself",
    ),
    ("wal_level", &["replica", "logical"], Verdict::Bad, "set wal_level = replica: backups and standbys need it"),
    ("wal_compression", &["off"], Verdict::Poor, "set wal_compression = off: envelopes do not compress"),
    ("server_encoding", &["UTF8"], Verdict::Bad, "create the database with ENCODING UTF8"),
    ("log_statement", &["none", "ddl"], Verdict::Poor, "set log_statement = none: values must not reach the log"),
    ("log_error_verbosity", &["terse"], Verdict::Poor, "set log_error_verbosity = terse: details quote values"),
    (
        "log_parameter_max_length_on_error",
        &["0"],
        Verdict::Poor,
        "set log_parameter_max_length_on_error = 0: values must not reach the log",
    ),
    (
        "log_min_messages",
        &["log", "fatal", "panic"],
        Verdict::Poor,
        "set log_min_messages = log: messages of errors may quote values",
    ),
    ("password_encryption", &["scram-sha-256"], Verdict::Poor, "set password_encryption = scram-sha-256"),
];

const CLOCK_POOR_MICROS: u64 = 1_000_000;

/// Connects and looks; fails only when the record cannot be reached.
pub async fn examine(connector: &Connector, shard: Shard) -> Result<Vec<Fact>> {
    let session = connector.connect("nephkeep doctor", ADMINISTRATION).await?;
    let client = &session.client;
    let mut facts = vec![version(client).await?, clocks(client).await?];
    for rule in SETTINGS {
        facts.push(setting(client, rule).await?);
    }
    let migrations = schema(client).await?;
    let migrated = migrations.verdict != Verdict::Bad;
    facts.push(migrations);
    if migrated {
        facts.extend(log(client, shard).await?);
    }
    Ok(facts)
}

async fn version(client: &Client) -> Result<Fact> {
    let text = "SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000, pg_is_in_recovery()";
    let row = client.query_one(text, &[]).await.map_err(|e| classify(&e))?;
    let (value, major, standby): (String, i32, bool) = (row.get(0), row.get(1), row.get(2));
    let old = u32::try_from(major).unwrap_or(0) < crate::server::OLDEST_MAJOR;
    let (verdict, remedy) = match (old, standby) {
        (true, _) => (Verdict::Bad, "upgrade PostgreSQL"),
        (_, true) => (Verdict::Bad, "this is a standby: list the primary in the record's URL"),
        _ => (Verdict::Good, ""),
    };
    Ok(Fact { name: "server version", value, verdict, remedy })
}

async fn setting(client: &Client, (name, good, otherwise, remedy): Rule) -> Result<Fact> {
    let row = client.query_one("SELECT current_setting($1, true)", &[&name]).await.map_err(|e| classify(&e))?;
    let value: Option<String> = row.get(0);
    // An absent setting belongs to another version; it cannot be wrong.
    let fine = value.as_deref().is_none_or(|value| good.contains(&value));
    let lossy = value.as_deref() == Some("off") && durability::SETTINGS.contains(&name);
    let (verdict, remedy) = match (fine, lossy) {
        (true, _) => (Verdict::Good, ""),
        (false, true) => (Verdict::Bad, remedy),
        (false, false) => (otherwise, remedy),
    };
    Ok(Fact { name, value: value.unwrap_or_default(), verdict, remedy })
}

/// The round trip bounds how well two clocks can be compared; it counts for the server.
async fn clocks(client: &Client) -> Result<Fact> {
    let text = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8";
    let before = Wall::default().micros();
    let row = client.query_one(text, &[]).await.map_err(|e| classify(&e))?;
    let after = Wall::default().micros();
    let theirs = u64::try_from(row.get::<_, i64>(0)).unwrap_or(0);
    let apart = before.saturating_sub(theirs).max(theirs.saturating_sub(after));
    let poor = apart > CLOCK_POOR_MICROS;
    let (verdict, remedy) = if poor {
        (Verdict::Poor, "let NTP hold both clocks; positions stay right meanwhile")
    } else {
        (Verdict::Good, "")
    };
    Ok(Fact { name: "clocks", value: format!("{} ms apart", apart / 1_000), verdict, remedy })
}

async fn schema(client: &Client) -> Result<Fact> {
    let (value, verdict, remedy) = match migrations::plan(client, Phase::Contract).await {
        Ok(plan) if plan.pending.is_empty() => {
            (format!("{} migrations applied", plan.applied.len()), Verdict::Good, "")
        }
        Ok(plan) if plan.applied.is_empty() => {
            ("no record yet".to_owned(), Verdict::Bad, "start a server on it: nephkeep up, nephkeep serve")
        }
        Ok(plan) => {
            (format!("{} migrations pending", plan.pending.len()), Verdict::Poor, "start a server of this build on it")
        }
        Err(error) => (error.to_string(), Verdict::Bad, "nephkeep explain migration-drift, record-newer"),
    };
    Ok(Fact { name: "schema", value, verdict, remedy })
}

async fn log(client: &Client, shard: Shard) -> Result<Vec<Fact>> {
    let text = "SELECT h.next, h.published, h.hlc,
            (SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = 'nephkeep.change'::regclass
                AND substring(pg_get_expr(c.relpartbound, c.oid) FROM $$TO \\('?([0-9]+)$$)::int8 > h.next)
        FROM nephkeep.log_head h WHERE h.shard = $1";
    let Some(row) = client.query_opt(text, &[&i32::from(shard.0)]).await.map_err(|e| classify(&e))? else {
        let remedy = "start a server on it: nephkeep up, nephkeep serve";
        return Ok(vec![Fact { name: "log head", value: "none".to_owned(), verdict: Verdict::Poor, remedy }]);
    };
    let (next, published, hlc, ahead): (i64, i64, i64, i64) = (row.get(0), row.get(1), row.get(2), row.get(3));
    let whole = published < next;
    let head = Fact {
        name: "log head",
        value: format!("{} written, {published} published", next - 1),
        verdict: if whole { Verdict::Good } else { Verdict::Bad },
        remedy: if whole {
            ""
        } else {
            "more is published than written: keep everything as it is and compare with a backup"
        },
    };
    // The one that holds the next position, and at least one beyond.
    let ready = ahead >= 2;
    let partitions = Fact {
        name: "partitions ahead",
        value: ahead.to_string(),
        verdict: if ready { Verdict::Good } else { Verdict::Poor },
        remedy: if ready { "" } else { "the leader makes them: does one run?" },
    };
    let ahead_micros = Hlc(hlc.cast_unsigned()).micros().saturating_sub(Wall::default().micros());
    let backwards = ahead_micros > CLOCK_POOR_MICROS;
    let time = Fact {
        name: "clock of the log",
        value: format!("{} ms ahead of this machine", ahead_micros / 1_000),
        verdict: if backwards { Verdict::Poor } else { Verdict::Good },
        remedy: if backwards {
            "the clock was set back: the log goes on from its last time until the clock catches up"
        } else {
            ""
        },
    };
    Ok(vec![head, partitions, time])
}
