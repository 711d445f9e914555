//! Reading the change log: from the ring when the next change is there, else from PostgreSQL; up to `published`.

use crate::{
    Change, ChangeAction, ChangePage, Content, Resource,
    clock::Moment,
    committer::{
        Stored,
        statement::{signed, unsigned},
    },
    connection::{discard_if_gone, reader},
    gateway::opened,
    recall::key_of,
    record::Record,
};
use bytes::Bytes;
use model::{Access, Action, Class, Error, Incarnation, Position, Result, Tenant};
use std::time::Duration;
use tokio_postgres::Row;

const LIMIT: usize = 10_000;
/// Positions looked through in one statement: a tenant with few changes costs no more than this.
const WINDOW: u64 = 20_000;

const TEXT: &str = "SELECT tenant, kind, id, n, ordinal, random, version, action, class, principal, hlc, content_tag,
        sealed
    FROM nephkeep.change WHERE n > $1 AND n <= $2 AND tenant = $3 ORDER BY n LIMIT $4";

pub(crate) async fn after(
    record: &Record,
    access: &Access,
    after: Option<Position>,
    limit: usize,
    wait: Duration,
) -> Result<ChangePage> {
    let limit = limit.clamp(1, LIMIT);
    let (mut at, until) = (start(record, after)?, Moment::now().after(wait));
    let mut published = record.published.watch();
    loop {
        let head = *published.borrow_and_update();
        let mut changes = Vec::new();
        if at < head {
            (changes, at) = page(record, &access.tenant, at, head, limit).await?;
            changes.retain(|change| access.check(Action::Read, &change.key.tenant, Some(change.key.kind)).is_ok());
        }
        let left = until.since(Moment::now());
        if !changes.is_empty() || (at >= head && left.is_zero()) {
            return finish(record, changes, at, head);
        }
        // An error would mean that the record is closed: the page is given as it is.
        if at >= head && tokio::time::timeout(left, published.changed()).await.is_ok_and(|changed| changed.is_err()) {
            return finish(record, changes, at, head);
        }
    }
}

fn start(record: &Record, after: Option<Position>) -> Result<u64> {
    after.map_or(Ok(0), |after| record.lives.resume(record.shard(), after))
}

fn finish(record: &Record, changes: Vec<Change>, at: u64, head: u64) -> Result<ChangePage> {
    Ok(ChangePage { changes, next: record.position_now(at)?, published: record.position_now(head)? })
}

/// Changes of a tenant after `at`, and how far was looked.
async fn page(record: &Record, tenant: &Tenant, at: u64, head: u64, limit: usize) -> Result<(Vec<Change>, u64)> {
    if let Some(stretches) = record.ring.after(at, limit) {
        let all = stretches.iter().flat_map(|stretch| &stretch.changes);
        let (mut found, mut last) = (Vec::new(), at);
        for change in all.filter(|change| change.position.n > at && change.position.n <= head) {
            if found.len() == limit {
                break;
            }
            last = change.position.n;
            if change.key.tenant == *tenant {
                found.push(change.clone());
            }
        }
        if last > at {
            return Ok((found, last));
        }
    }
    let to = head.min(at.saturating_add(WINDOW));
    let client = reader(&record.pool).await?;
    let asked = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = match client.query(TEXT, &[&signed(at), &signed(to), &tenant.as_str(), &asked]).await {
        Ok(rows) => rows,
        Err(error) => return Err(discard_if_gone(client, &error)),
    };
    let changes = rows.iter().map(|row| decode(record, row)).collect::<Result<Vec<_>>>()?;
    let last = changes.last().filter(|_| changes.len() == limit).map_or(to, |change| change.position.n);
    Ok((changes, last))
}

pub(crate) fn action_of(code: i16) -> Result<ChangeAction> {
    Ok(match code {
        1 => ChangeAction::Created,
        2 => ChangeAction::Updated,
        3 => ChangeAction::Deleted,
        4 => ChangeAction::Fork,
        5 => ChangeAction::Barrier,
        _ => return Err(Error::corrupt("action-unknown", "a stored action is not one of 1..=5").with("action", code)),
    })
}

pub(crate) fn tag_of(bytes: &[u8]) -> Result<[u8; 32]> {
    let wrong = || Error::corrupt("tag-malformed", "a stored content tag is not 32 bytes").with("bytes", bytes.len());
    bytes.try_into().map_err(|_| wrong())
}

fn decode(record: &Record, row: &Row) -> Result<Change> {
    let incarnation =
        Incarnation { ordinal: row.get::<_, i32>(4).cast_unsigned(), random: row.get::<_, i64>(5).cast_unsigned() };
    Ok(Change {
        position: Position { shard: record.shard(), incarnation, n: unsigned(row.get(3))? },
        hlc: unsigned(row.get(10))?,
        key: key_of(row, 0)?,
        version: unsigned(row.get(6))?,
        class: Class::from_code(row.get(8))?,
        action: action_of(row.get(7))?,
        principal: row.get(9),
        content_tag: tag_of(row.get(11))?,
        stored: row.get::<_, Option<&[u8]>>(12).map_or(Bytes::new(), Bytes::copy_from_slice),
    })
}

/// The document of a change, in clear.
pub(crate) fn resource(record: &Record, change: &Change) -> Result<Resource> {
    let Change { position, version, class, ref key, ref stored, .. } = *change;
    if change.action == ChangeAction::Deleted {
        return Ok(Resource { key: key.clone(), version, position, class, document: Content::Deleted });
    }
    let ordinal = position.incarnation.ordinal;
    opened(record, key, &Stored { version, ordinal, n: position.n, class, sealed: stored.clone() })
}

/// How an action is called in leaves and answers.
pub(crate) fn action_name(action: ChangeAction) -> &'static str {
    match action {
        ChangeAction::Created => "created",
        ChangeAction::Updated => "updated",
        ChangeAction::Deleted => "deleted",
        ChangeAction::Fork => "fork",
        ChangeAction::Barrier => "barrier",
    }
}
