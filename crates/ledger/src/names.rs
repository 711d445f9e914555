//! The blind index of `name` (RECORD 15): empty after a crash of PostgreSQL by nature, rebuilt here by the leader
//! while that one filter answers `name-index-rebuilding`.
//!
//! The committer goes on writing it meanwhile. What it has written is newer than what is read here, so a row that
//! is there already stays. Nothing here is serializable: it must never make the committer's statement fail.

use crate::{
    Content, Leadership,
    committer::has_names,
    connection::{Session, classify},
    read::{
        fetch::stored,
        list::COMPLETE,
        serve::{blocking, resource},
    },
    recall::key_of,
    record::Record,
};
use keys::KeyId;
use model::{Json, Kind, ResourceKey, Result, Subject, Tenant, json};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_postgres::Row;

const SESSION: &str = "SET default_transaction_isolation = 'read committed'; SET enable_seqscan = off; SET jit = off; \
    SET lock_timeout = '10s'";
const TOGETHER: i64 = 500;
const RETRY: Duration = Duration::from_secs(1);

const PAGE: &str = "
    SELECT tenant, kind, id, version, ordinal, n, created_n, class, sealed FROM nephkeep.resource
    WHERE (tenant, kind, id) > ($1, $2, $3) ORDER BY tenant, kind, id LIMIT $4";
const ADD: &str = "
    INSERT INTO nephkeep.name_index (tenant, kind, id, blind)
    SELECT * FROM unnest($1::text[], $2::int2[], $3::text[], $4::bytea[]) ON CONFLICT DO NOTHING";
const MARK: &str =
    "INSERT INTO nephkeep.name_index (tenant, kind, id, blind) VALUES ('', 0, '', NULL) ON CONFLICT DO NOTHING";

/// Whenever this server begins to lead, and whenever a reader has met an incomplete index.
pub(crate) async fn run(record: Arc<Record>, mut stop: watch::Receiver<bool>) {
    let work = async {
        let mut leadership = record.lease.watch();
        loop {
            // An error means that the record is gone; the stop below ends the loop then.
            let _ = leadership.wait_for(|now| matches!(now, Leadership::Leader { .. })).await;
            match rebuild(&record).await {
                Ok(0) => {}
                Ok(names) => tracing::info!(names, "the index of names is complete again"),
                Err(error) => {
                    tracing::warn!(%error, "the index of names could not be rebuilt; trying again");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
            tokio::select! {
                () = record.names_missed.notified() => {}
                // Also another epoch: it begins after a crash of PostgreSQL, which has emptied the index.
                _ = leadership.changed() => {}
            }
        }
    };
    tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => {}
        () = work => {}
    }
}

/// Fills the index unless it is complete; returns how many names it read.
async fn rebuild(record: &Arc<Record>) -> Result<u64> {
    let session = record.connector.connect("nephkeep names", SESSION).await?;
    let complete = session.client.query_one(&format!("SELECT {COMPLETE}"), &[]).await.map_err(|e| classify(&e))?;
    if complete.get(0) {
        return Ok(0);
    }
    let (mut last, mut keys, mut count) = ((String::new(), 0_i16, String::new()), HashMap::new(), 0);
    loop {
        let rows =
            session.client.query(PAGE, &[&last.0, &last.1, &last.2, &TOGETHER]).await.map_err(|e| classify(&e))?;
        let Some(row) = rows.last() else { break };
        last = (row.get(0), row.get(1), row.get(2));
        let shared = Arc::clone(record);
        let named = blocking(move || names(&shared, &rows)).await?;
        count += add(record, &session, named, &mut keys).await?;
    }
    session.client.execute(MARK, &[]).await.map_err(|e| classify(&e))?;
    Ok(count)
}

/// The names in a page of rows, in clear for the moment it takes to make their digests.
fn names(record: &Record, rows: &[Row]) -> Result<Vec<(ResourceKey, String)>> {
    let mut found = Vec::new();
    for row in rows.iter().filter(|row| has_names(row.get(1))) {
        let key = key_of(row, 0)?;
        if let Content::Clear(document) = resource(record, key.clone(), &stored(row, 3)?)?.document
            && let Some(name) = json::parse(&document)?.get("name").and_then(Json::as_str)
        {
            found.push((key, name.to_owned()));
        }
    }
    Ok(found)
}

async fn add(
    record: &Record,
    session: &Session,
    named: Vec<(ResourceKey, String)>,
    keys: &mut HashMap<Tenant, Option<KeyId>>,
) -> Result<u64> {
    let (mut tenants, mut kinds, mut ids, mut blinds) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (key, name) in &named {
        if !keys.contains_key(&key.tenant) {
            keys.insert(key.tenant.clone(), tenant_key(session, &key.tenant).await?);
        }
        // Without a key of the tenant nothing of it has ever been named.
        let Some(tenant_key) = keys.get(&key.tenant).copied().flatten() else { continue };
        tenants.push(key.tenant.as_str());
        kinds.push(Kind::code(key.kind));
        ids.push(&*key.id);
        blinds.push(record.keystore.blind(tenant_key, "name", name.as_bytes())?.to_vec());
    }
    session.client.execute(ADD, &[&tenants, &kinds, &ids, &blinds]).await.map_err(|e| classify(&e))?;
    Ok(tenants.len() as u64)
}

async fn tenant_key(session: &Session, tenant: &Tenant) -> Result<Option<KeyId>> {
    let (text, subject) =
        ("SELECT key_id FROM nephkeep.subject WHERE tenant = $1 AND subject = $2", Subject::of_tenant(tenant));
    let row = session.client.query_opt(text, &[&tenant.as_str(), &subject.as_str()]).await.map_err(|e| classify(&e))?;
    Ok(row.map(|row| KeyId(row.get::<_, i64>(0).cast_unsigned())))
}
