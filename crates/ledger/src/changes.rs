//! Reading the change log: from the ring when the next change is there, else from PostgreSQL; up to `published`.

use crate::{
    Change, ChangeAction, ChangePage, Content, Resource, clock::Moment, committer::Stored, gateway::opened,
    read::changes::read, record::Record,
};
use model::{Access, Action, Position, Result, Tenant};
use std::time::Duration;

const LIMIT: usize = 10_000;
/// Of envelopes in one page out of the ring.
const PAGE_BYTES: usize = 8 << 20;
/// Rows of one page out of PostgreSQL: envelopes may be large.
const ROWS: usize = 2_048;

/// Changes of the caller's tenant that the caller may read.
pub(crate) async fn after(
    record: &Record,
    access: &Access,
    after: Option<Position>,
    limit: usize,
    wait: Duration,
) -> Result<ChangePage> {
    let allowed = |change: &Change| access.check(Action::Read, &change.key.tenant, Some(change.key.kind)).is_ok();
    turn(record, Some(&access.tenant), allowed, (after, limit, wait)).await
}

/// Changes of all tenants, for this process itself.
pub(crate) async fn of_all(
    record: &Record,
    after: Option<Position>,
    limit: usize,
    wait: Duration,
) -> Result<ChangePage> {
    turn(record, None, |_| true, (after, limit, wait)).await
}

/// Changes of one tenant that somebody wants; whether they may be told was decided before.
pub(crate) async fn wanted(
    record: &Record,
    tenant: &Tenant,
    wanted: impl Fn(&Change) -> bool,
    from: (Option<Position>, usize, Duration),
) -> Result<ChangePage> {
    turn(record, Some(tenant), wanted, from).await
}

async fn turn(
    record: &Record,
    tenant: Option<&Tenant>,
    allowed: impl Fn(&Change) -> bool,
    (after, limit, wait): (Option<Position>, usize, Duration),
) -> Result<ChangePage> {
    let limit = limit.clamp(1, LIMIT);
    let (began, until) = (start(record, after)?, Moment::now().after(wait));
    let mut at = began;
    let mut published = record.published.watch();
    loop {
        let head = *published.borrow_and_update();
        let mut changes = Vec::new();
        if at < head {
            (changes, at) = page(record, tenant, &allowed, (at, head, limit)).await?;
        }
        let left = until.since(Moment::now());
        // Who has no time left is told how far was looked: a long stretch without anything for him is gone through in
        // several turns.
        if !changes.is_empty() || (left.is_zero() && (at >= head || at > began)) {
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
    Ok(ChangePage { changes, next: record.position_at(at)?, published: record.position_at(head)? })
}

/// Changes of a tenant (or of all) after `at` that are wanted, and how far was looked. Bounded in number and in bytes.
async fn page(
    record: &Record,
    tenant: Option<&Tenant>,
    wanted: &impl Fn(&Change) -> bool,
    (at, head, limit): (u64, u64, usize),
) -> Result<(Vec<Change>, u64)> {
    if let Some(stretches) = record.ring.after(at, limit) {
        let all = stretches.iter().flat_map(|stretch| &stretch.changes);
        let (mut found, mut last, mut bytes) = (Vec::new(), at, 0);
        for change in all.filter(|change| change.position.n > at && change.position.n <= head) {
            if found.len() == limit || bytes > PAGE_BYTES {
                break;
            }
            last = change.position.n;
            if tenant.is_none_or(|tenant| change.key.tenant == *tenant) && wanted(change) {
                bytes += change.stored.len();
                found.push(change.clone());
            }
        }
        if last > at {
            return Ok((found, last));
        }
    }
    let mut stretch = read(&record.pool, record.shard(), tenant, at, head, limit.min(ROWS)).await?;
    stretch.changes.retain(wanted);
    Ok((stretch.changes, stretch.through))
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
