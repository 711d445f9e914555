//! Storage parameters of partitions: how autovacuum visits them. Set when a partition is made, and by the leader on those
//! that an older server made. Parameters of plain tables stand in a migration, with their reasons.

use crate::{connection::classify, retention::quoted};
use model::Result;
use tokio_postgres::{Client, error::SqlState};

/// Rows that are appended and never touched again. By count and not by a share: the default fifth would leave the last
/// million rows of a full partition unfrozen, to be read and written again when transaction ids wrap. 500,000 are 40
/// seconds of writing at full rate, still in memory when the visit comes. Frozen at the first visit, because nothing
/// updates them; their side table, which holds larger documents, likewise. Nothing is ever cut off at the end.
const APPENDED: &str = "autovacuum_vacuum_insert_scale_factor=0, autovacuum_vacuum_insert_threshold=500000, \
    autovacuum_freeze_min_age=0, vacuum_truncate=false";
const APPENDED_TOAST: &str = ", toast.autovacuum_vacuum_insert_scale_factor=0, \
    toast.autovacuum_vacuum_insert_threshold=500000, toast.autovacuum_freeze_min_age=0, toast.vacuum_truncate=false";

/// A day of idempotency keys is dropped whole after a few days: visiting it for its inserts would be work for nothing.
const DROPPED_SOON: &str = "autovacuum_vacuum_insert_threshold=-1, vacuum_truncate=false";

/// The tables that are partitioned.
pub(crate) const PARTITIONED: [&str; 3] = ["change", "audit", "request"];

/// As `WITH (…)` takes them.
#[must_use]
pub(crate) fn of_partition(table: &str) -> String {
    match table {
        "request" => DROPPED_SOON.to_owned(),
        "change" => format!("{APPENDED}{APPENDED_TOAST}"),
        _ => APPENDED.to_owned(),
    }
}

/// Partitions of a table that lack one of these parameters; those of the side table are set in the same statement.
const LACKING: &str = "
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass($1) AND NOT i.inhdetachpending
        AND NOT coalesce(c.reloptions, '{}') @> $2::text[]
    ORDER BY c.relname";

const PASSING: [SqlState; 2] = [SqlState::LOCK_NOT_AVAILABLE, SqlState::UNDEFINED_TABLE];

/// Returns how many were set. Blocks neither readers nor writers.
pub(super) async fn settle(client: &Client) -> Result<usize> {
    let mut settled = 0;
    for table in PARTITIONED {
        let parameters = of_partition(table);
        let own: Vec<&str> = parameters.split(", ").filter(|one| !one.starts_with("toast.")).collect();
        let lacking = client.query(LACKING, &[&format!("nephkeep.{table}"), &own]).await;
        for row in lacking.map_err(|e| classify(&e))? {
            let name = quoted(row.get(0));
            let set = format!("ALTER TABLE nephkeep.{name} SET ({parameters})");
            match client.batch_execute(&set).await {
                Ok(()) => settled += 1,
                // Somebody is at it, or it is gone: the next run comes back to it.
                Err(error) if error.code().is_some_and(|code| PASSING.contains(code)) => {}
                Err(error) => return Err(classify(&error)),
            }
        }
    }
    Ok(settled)
}
