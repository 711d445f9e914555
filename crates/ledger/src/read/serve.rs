//! The gateway's reads of many: lists, histories, the audit trail, and the record's own checks. Each is checked
//! against the caller's rights, waits until what it saw is published, and is noted before it is released.

use super::{
    AuditPage, AuditQuery, Inspection, Reconciliation, audit,
    fetch::StoredResource,
    filters::split,
    history, inspect,
    list::{self, Found, SCAN_MOST, Wanted},
    reconcile,
};
use crate::{
    Content, Ledger, ListQuery, Page, Resource, changes,
    committer::Stored,
    connection::{discard_if_gone, reader},
    gateway::opened,
    record::Record,
};
use keys::KeyId;
use model::{Access, Action, Error, Kind, ResourceKey, Result, Subject, Tenant, Version, json, select::Filter};
use std::{sync::Arc, time::Duration};

const PAGE_DEFAULT: u32 = 100;
const PAGE_MOST: u32 = 1_000;
/// Versions that `history` returns in one piece.
pub const HISTORY_MOST: usize = 10_000;
/// How long a snapshot's head may stay unpublished before a read is given up.
pub(crate) const PUBLISH_LIMIT: Duration = Duration::from_secs(5);
/// How long the sequencer may take to bring what is published into the transparency log.
const SEQUENCED: Duration = Duration::from_secs(30);

impl Ledger {
    /// One page of a kind, in the order of creation. Restricted documents are not listed.
    pub async fn list(&self, access: &Access, kind: Kind, query: &ListQuery) -> Result<Page> {
        if let Err(error) = access.check(Action::Read, &access.tenant, Some(kind)) {
            return Err(self.denied(access, Action::Read, error).await);
        }
        let record = self.record();
        let (after, limit) = (cursor(record, query.after.as_deref())?, limit(query.limit));
        let (clear, rest) = split(kind, query.filter.clone());
        let clear = clear.beginning(query.id_prefix.clone());
        let blinds = match &clear.names {
            Some(names) => blinds(record, &access.tenant, names).await?,
            None => Vec::new(),
        };
        let (shard, tenant) = (record.shard(), &access.tenant);
        // One more than asked for tells whether there is a next page.
        let wanted = Wanted {
            shard,
            tenant,
            kind,
            clear,
            blinds,
            after,
            offset: query.offset,
            limit: limit + 1,
            count_most: u64::MAX,
        };
        let (mut rows, total, head) = if rest.is_empty() {
            let Found { rows, total, head } = page(record, wanted).await?;
            (rows, total, head)
        } else {
            scan(record, wanted, rest).await?
        };
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| more).map(|(_, row)| record.position_at(row.created_n)).transpose()?;
        record.published.wait_for(head, PUBLISH_LIMIT).await?;
        let items = open(record, tenant, kind, rows).await?;
        self.release(access, &items).await?;
        Ok(Page { items, total, next: next.map(|position| position.to_string()), position: record.position_at(head)? })
    }

    /// All versions, oldest first, tombstones included; too long a history is refused, not cut.
    pub async fn history(&self, access: &Access, key: &ResourceKey) -> Result<Vec<Resource>> {
        let mut found = self.history_page(access, key, None, HISTORY_MOST + 1).await?;
        if found.len() > HISTORY_MOST {
            let message = "this resource has too many versions to return at once; ask for them in pages";
            return Err(Error::invalid("history-too-long", message).with("most", HISTORY_MOST));
        }
        found.reverse();
        Ok(found)
    }

    /// Versions below `before` (`None`: from the newest), newest first, at most `limit`.
    pub async fn history_page(
        &self,
        access: &Access,
        key: &ResourceKey,
        before: Option<Version>,
        limit: usize,
    ) -> Result<Vec<Resource>> {
        if let Err(error) = access.check(Action::Read, &key.tenant, Some(key.kind)) {
            return Err(self.denied(access, Action::Read, error).await);
        }
        let record = self.record();
        let found = history::versions(&record.pool, record.shard(), key, before, limit.min(HISTORY_MOST + 1)).await?;
        if let Some(newest) = found.first() {
            record.published.wait_for(newest.position.n, PUBLISH_LIMIT).await?;
        }
        let shared = Arc::clone(record);
        let versions: Vec<Resource> =
            blocking(move || found.iter().map(|change| changes::resource(&shared, change)).collect()).await?;
        self.release(access, &versions).await?;
        Ok(versions)
    }

    /// The caller's tenant's writes: who, what, when, why.
    pub async fn audit_list(&self, access: &Access, query: &AuditQuery) -> Result<AuditPage> {
        self.permit(access, Action::ReadAudit).await?;
        let record = self.record();
        audit::list(&record.pool, &access.tenant, record.published.get(), query).await
    }

    /// Whether the whole record holds together; reads all of it.
    pub async fn inspect(&self, access: &Access) -> Result<Inspection> {
        self.permit(access, Action::Operate).await?;
        inspect::inspect(&self.record().pool, self.record().shard()).await
    }

    /// Whether log, audit and changes tell the same, by position.
    pub async fn reconcile(&self, access: &Access) -> Result<Reconciliation> {
        self.permit(access, Action::ReadAudit).await?;
        let record = self.record();
        // What is published reaches the transparency log a moment later.
        if let Some(position) = self.published()?
            && tokio::time::timeout(SEQUENCED, record.log.wait_for_write(position)).await.is_err()
        {
            let message = "the transparency log lags behind the record; try again, and see whether its disk is full";
            return Err(Error::retry("audit-lags", message).with("position", position));
        }
        reconcile(&record.pool, &record.log, record.shard(), record.published.get()).await
    }
}

fn limit(asked: u32) -> u32 {
    if asked == 0 { PAGE_DEFAULT } else { asked.min(PAGE_MOST) }
}

/// A cursor is the position of creation of the last resource shown; one from before a fork is voided like any other.
fn cursor(record: &Record, text: Option<&str>) -> Result<u64> {
    text.map_or(Ok(0), |text| record.lives.resume(record.shard(), text.parse()?))
}

/// The digests of names under the tenant's key; a tenant without one has no names yet.
async fn blinds(record: &Record, tenant: &Tenant, names: &[String]) -> Result<Vec<Vec<u8>>> {
    let subject = Subject::of_tenant(tenant);
    let key = match record.subjects.known(&subject)? {
        Some(known) => known.key,
        None => {
            let text = "SELECT key_id FROM nephkeep.subject WHERE tenant = $1 AND subject = $2";
            let client = reader(&record.pool).await?;
            let found = async {
                let statement = client.prepare_cached(text).await?;
                client.query_opt(&statement, &[&tenant.as_str(), &subject.as_str()]).await
            };
            match found.await {
                Ok(Some(row)) => KeyId(row.get::<_, i64>(0).cast_unsigned()),
                Ok(None) => return Ok(Vec::new()),
                Err(error) => return Err(discard_if_gone(client, &error)),
            }
        }
    };
    names.iter().map(|name| Ok(record.keystore.blind(key, "name", name.as_bytes())?.to_vec())).collect()
}

/// A page; an index of names that is not complete is told to who rebuilds it.
async fn page(record: &Record, wanted: Wanted<'_>) -> Result<Found> {
    let found = list::page(&record.pool, wanted).await;
    if found.as_ref().is_err_and(|error| error.code() == "name-index-rebuilding") {
        record.names_missed.notify_one();
    }
    found
}

type Rows = Vec<(Arc<str>, StoredResource)>;

/// Looks into the documents that the columns leave, in one snapshot; refuses when they are too many.
async fn scan(record: &Arc<Record>, wanted: Wanted<'_>, rest: Filter) -> Result<(Rows, u64, u64)> {
    let (tenant, kind, after) = (wanted.tenant.clone(), wanted.kind, wanted.after);
    let (offset, limit) = (usize::try_from(wanted.offset).unwrap_or(usize::MAX), wanted.limit as usize);
    let most = u32::try_from(SCAN_MOST).unwrap_or(u32::MAX);
    let all = Wanted { after: 0, offset: 0, limit: most, count_most: SCAN_MOST, ..wanted };
    let Found { rows, total, head } = page(record, all).await?;
    if total > SCAN_MOST {
        let message = "too many documents are left to look into for this attribute; filter by a clear one as well";
        let attribute = rest.conditions.first().map_or("", |condition| &condition.path);
        return Err(Error::invalid("filter-not-bounded", message).with("attribute", attribute).with("most", SCAN_MOST));
    }
    let shared = Arc::clone(record);
    let matching = blocking(move || {
        let mut matching = Vec::new();
        for (id, row) in rows {
            if matches(&shared, &rest, &tenant, kind, &id, &row)? {
                matching.push((id, row));
            }
        }
        Ok(matching)
    });
    let matching = matching.await?;
    let total = matching.len() as u64;
    let page = matching.into_iter().filter(|(_, row)| row.created_n > after).skip(offset).take(limit).collect();
    Ok((page, total, head))
}

/// What was erased matches nothing.
fn matches(
    record: &Record,
    rest: &Filter,
    tenant: &Tenant,
    kind: Kind,
    id: &str,
    row: &StoredResource,
) -> Result<bool> {
    let key = ResourceKey { tenant: tenant.clone(), kind, id: id.into() };
    match resource(record, key, row)?.document {
        Content::Clear(document) => Ok(rest.matches(&json::parse(&document)?)),
        Content::Erased | Content::Deleted => Ok(false),
    }
}

async fn open(record: &Arc<Record>, tenant: &Tenant, kind: Kind, rows: Rows) -> Result<Vec<Resource>> {
    let (shared, tenant) = (Arc::clone(record), tenant.clone());
    let open = move || {
        let key = |id| ResourceKey { tenant: tenant.clone(), kind, id };
        rows.into_iter().map(|(id, row)| resource(&shared, key(id), &row)).collect()
    };
    blocking(open).await
}

/// A row in clear, `Erased`, or `Deleted`.
pub(crate) fn resource(record: &Record, key: ResourceKey, row: &StoredResource) -> Result<Resource> {
    let StoredResource { version, ordinal, n, class, .. } = *row;
    match &row.sealed {
        Some(sealed) => opened(record, &key, &Stored { version, ordinal, n, class, sealed: sealed.clone() }),
        None => {
            Ok(Resource { version, position: record.position(ordinal, n)?, class, document: Content::Deleted, key })
        }
    }
}

/// Opening envelopes is work for a processor, not for the threads that serve connections.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::bug("opening documents failed").caused_by(e))?
}
