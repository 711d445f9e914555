//! Pages of one kind, filtered by clear columns, ordered by the position of creation; sealed.
//!
//! Page, total and head come from one statement, hence from one snapshot.

use super::{
    fetch::{StoredResource, stored},
    filters::{Clear, Parameter},
    rows::{signed, unsigned},
};
use crate::connection::{discard_if_gone, reader};
use deadpool_postgres::{Object, Pool};
use model::{Error, Kind, Result, Shard, Tenant};
use std::sync::Arc;
use tokio_postgres::{Row, types::ToSql};

/// Documents that one list may look into when no column answers its filter.
pub const SCAN_MOST: u64 = 10_000;

#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub shard: Shard,
    pub tenant: &'a Tenant,
    pub kind: Kind,
    pub clear: Clear,
    /// Digests of the names wanted, where `clear.names` is given.
    pub blinds: Vec<Vec<u8>>,
    /// Only what was created after this position.
    pub after: u64,
    pub offset: u64,
    pub limit: u32,
    /// `total` counts to one more than this at most.
    pub count_most: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Found {
    pub rows: Vec<(Arc<str>, StoredResource)>,
    /// How many match, wherever the page lies.
    pub total: u64,
    pub head: u64,
}

/// Restricted documents are write-only: they are not listed, nor can a filter probe them.
const LISTED: &str = "r.tenant = $2 AND r.kind = $3 AND NOT r.deleted AND r.class < 3";
/// A row that stands in the blind index while it is complete (a crash empties an UNLOGGED table).
pub(crate) const COMPLETE: &str = "EXISTS (SELECT FROM nephkeep.name_index WHERE tenant = '' AND kind = 0 AND id = '')";

pub(crate) async fn page(pool: &Pool, wanted: Wanted<'_>) -> Result<Found> {
    let mut parameters: Vec<Parameter> = vec![
        Box::new(i32::from(wanted.shard.0)),
        Box::new(wanted.tenant.as_str().to_owned()),
        Box::new(wanted.kind.code()),
        Box::new(signed(wanted.after)),
        Box::new(signed(wanted.offset)),
        Box::new(i64::from(wanted.limit)),
        Box::new(signed(wanted.count_most.saturating_add(1))),
    ];
    let by_name = wanted.clear.names.is_some();
    let text = statement(wanted.clear, wanted.blinds, &mut parameters);
    let client = reader(pool).await?;
    let rows = match query(&client, &text, &parameters).await {
        Ok(rows) => rows,
        Err(error) => return Err(discard_if_gone(client, &error)),
    };
    found(&rows, by_name)
}

/// The closed list of columns keeps the number of different texts, hence of prepared statements, bounded.
fn statement(clear: Clear, blinds: Vec<Vec<u8>>, parameters: &mut Vec<Parameter>) -> String {
    let (by_name, narrow) = (clear.names.is_some(), clear.is_narrow());
    let mut conditions = clear.render(parameters);
    if by_name {
        parameters.push(Box::new(blinds));
        conditions.push_str(&format!(
            " AND r.id = ANY(ARRAY(SELECT i.id FROM nephkeep.name_index i \
             WHERE i.tenant = $2 AND i.kind = $3 AND i.blind = ANY(${})))",
            parameters.len()
        ));
    }
    // OFFSET 0 keeps the planner from walking the order of creation for the sake of the limit.
    let fence = if narrow { " OFFSET 0" } else { "" };
    let rows = format!("SELECT r.* FROM nephkeep.resource r WHERE {LISTED}{conditions}{fence}");
    let complete = if by_name { COMPLETE } else { "true" };
    format!(
        "SELECT h.next - 1, (SELECT count(*) FROM (SELECT 1 FROM ({rows}) t LIMIT $7) c), {complete},
            r.id, r.version, r.ordinal, r.n, r.created_n, r.class, r.sealed
        FROM nephkeep.log_head h
        LEFT JOIN LATERAL (
            SELECT * FROM ({rows}) t WHERE t.created_n > $4 ORDER BY t.created_n OFFSET $5 LIMIT $6
        ) r ON true
        WHERE h.shard = $1 ORDER BY r.created_n"
    )
}

async fn query(client: &Object, text: &str, parameters: &[Parameter]) -> Result<Vec<Row>, tokio_postgres::Error> {
    let statement = client.prepare_cached(text).await?;
    let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|p| p.as_ref() as &(dyn ToSql + Sync)).collect();
    client.query(&statement, &parameters).await
}

fn found(rows: &[Row], by_name: bool) -> Result<Found> {
    let Some(first) = rows.first() else {
        let message = "the record has no head for this shard; has it been opened by a server?";
        return Err(Error::refused("record-not-migrated", message));
    };
    if by_name && !first.get::<_, bool>(2) {
        let message = "the index of names is being rebuilt after a crash; ask again, or filter by another attribute";
        return Err(Error::retry("name-index-rebuilding", message));
    }
    let mut found = Found { rows: Vec::new(), total: unsigned(first.get(1))?, head: unsigned(first.get(0))? };
    for row in rows {
        if let Some(id) = row.get::<_, Option<&str>>(3) {
            found.rows.push((id.into(), stored(row, 4)?));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::read::filters::split;
    use model::select::Filter;

    #[test]
    fn parameters_and_their_places_agree() {
        for query in ["", "name=a", "id=x&@type=T&creationDate.gt=2026-01-01T00:00:00Z&name=b", "isBundle=true"] {
            let (clear, _) = split(Kind::Intent, Filter::parse(query, &[]).unwrap());
            let mut parameters: Vec<Parameter> = (0..7).map(|n| Box::new(n) as Parameter).collect();
            let text = statement(clear, vec![], &mut parameters);
            for at in 1..=parameters.len() {
                assert!(text.contains(&format!("${at}")), "{query}: ${at}");
            }
            assert!(!text.contains(&format!("${}", parameters.len() + 1)), "{query}");
        }
    }
}
