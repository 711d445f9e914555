//! What a run of the upkeep has to do, decided from what PostgreSQL counts about its tables. Autovacuum does the daily
//! work; this looks after what it leaves: a table that nobody visited for a day, one that autovacuum does not get to or
//! is switched off for, transaction ids half-way to their end, and partitioned parents, which autovacuum never analyses.

use crate::{connection::classify, read::rows::unsigned};
use model::Result;
use std::time::Duration;
use tokio_postgres::{Client, Row};

/// Rows below which it is not worth a visit: everything of such a table is one look anyway.
const FEW: u64 = 1_000;
/// Garbage that autovacuum should have taken: a tenth of the table.
const GARBAGE: f64 = 0.1;
const A_DAY: Duration = Duration::from_secs(86_400);

/// What is known of one table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub name: String,
    /// A parent holds no rows; only its statistics can be out of date.
    pub parent: bool,
    /// Dropped whole within days.
    pub dropped_soon: bool,
    /// Its statistics do not change, and making them again would cost its readers a plan: the storage parameters say so.
    pub unanalyzed: bool,
    pub live: u64,
    pub dead: u64,
    pub inserted: u64,
    pub modified: u64,
    /// Age of the oldest transaction id, as a part of the age at which PostgreSQL forces a visit.
    pub age: f64,
    /// `None`: never.
    pub since_vacuum: Option<Duration>,
    pub since_analyze: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Due {
    pub vacuum: bool,
    pub analyze: bool,
    /// Larger goes first.
    pub urgency: f64,
}

/// The name index of a crashed server is empty and unlogged; it counts like any other.
const TABLES: &str = "
    SELECT c.relname, c.relkind = 'p',
        i.inhparent IS NOT NULL AND i.inhparent = to_regclass('nephkeep.request'),
        coalesce(c.reloptions, '{}') @> '{autovacuum_analyze_threshold=2147483647}',
        coalesce(s.n_live_tup, 0), coalesce(s.n_dead_tup, 0), coalesce(s.n_ins_since_vacuum, 0),
        coalesce(s.n_mod_since_analyze, 0),
        CASE WHEN c.relkind = 'p' THEN 0
            ELSE age(c.relfrozenxid)::float8 / current_setting('autovacuum_freeze_max_age')::float8 END,
        extract(epoch FROM clock_timestamp() - greatest(s.last_vacuum, s.last_autovacuum))::float8,
        extract(epoch FROM clock_timestamp() - greatest(s.last_analyze, s.last_autoanalyze))::float8
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
    LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
    WHERE n.nspname = 'nephkeep' AND c.relkind IN ('r', 'p') AND i.inhdetachpending IS NOT TRUE
    ORDER BY c.relname";

pub(super) async fn tables(client: &Client) -> Result<Vec<Table>> {
    let rows = client.query(TABLES, &[]).await.map_err(|e| classify(&e))?;
    rows.iter().map(Table::of).collect()
}

impl Table {
    fn of(row: &Row) -> Result<Self> {
        let since = |at| row.get::<_, Option<f64>>(at).map(|seconds| Duration::from_secs_f64(seconds.max(0.0)));
        Ok(Self {
            name: row.get(0),
            parent: row.get(1),
            dropped_soon: row.get(2),
            unanalyzed: row.get(3),
            live: unsigned(row.get(4))?,
            dead: unsigned(row.get(5))?,
            inserted: unsigned(row.get(6))?,
            modified: unsigned(row.get(7))?,
            age: row.get(8),
            since_vacuum: since(9),
            since_analyze: since(10),
        })
    }

    pub(super) fn due(&self) -> Option<Due> {
        let (vacuum, analyze) = (self.vacuum(), self.analyze());
        let urgency = vacuum.unwrap_or(0.0).max(if analyze { 0.01 } else { 0.0 });
        (vacuum.is_some() || analyze).then_some(Due { vacuum: vacuum.is_some(), analyze, urgency })
    }

    /// How urgent a visit is, where one is.
    #[expect(clippy::cast_precision_loss, reason = "a share of rows")]
    fn vacuum(&self) -> Option<f64> {
        if self.parent {
            return None;
        }
        if self.age >= 0.5 {
            return Some(10.0 + self.age);
        }
        let garbage = self.dead as f64 / (self.live + self.dead).max(1) as f64;
        let behind = self.dead >= FEW && garbage >= GARBAGE;
        let forgotten = match self.since_vacuum {
            Some(since) => since >= A_DAY && self.dead + self.inserted > 0,
            None => self.dead + self.inserted >= FEW,
        };
        (behind || (forgotten && !self.dropped_soon)).then_some(garbage)
    }

    fn analyze(&self) -> bool {
        match self.since_analyze {
            _ if self.unanalyzed => false,
            // Nothing counts what changes below a parent.
            Some(since) => since >= A_DAY && (self.parent || self.modified > 0),
            None => self.parent || self.modified >= FEW,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        Table {
            name: "resource".into(),
            parent: false,
            dropped_soon: false,
            unanalyzed: false,
            live: 100_000,
            dead: 0,
            inserted: 0,
            modified: 0,
            age: 0.0,
            since_vacuum: Some(Duration::from_secs(60)),
            since_analyze: Some(Duration::from_secs(60)),
        }
    }

    #[test]
    fn what_was_visited_is_left_alone() {
        assert_eq!(table().due(), None);
        assert_eq!(Table { dead: 10_000, ..table() }.due(), None, "autovacuum comes to a tenth by itself");
        let day = Some(A_DAY);
        assert_eq!(Table { since_vacuum: day, since_analyze: day, ..table() }.due(), None, "nothing has happened");
    }

    #[test]
    fn garbage_that_autovacuum_left_goes_before_what_was_forgotten() {
        let garbage = Table { dead: 50_000, ..table() }.due().unwrap();
        let forgotten = Table { dead: 10, since_vacuum: Some(A_DAY), ..table() }.due().unwrap();
        assert!(garbage.vacuum && forgotten.vacuum && !garbage.analyze);
        assert!(garbage.urgency > forgotten.urgency);
        let old = Table { age: 0.5, ..table() }.due().unwrap();
        assert!(old.urgency > garbage.urgency, "transaction ids first");
    }

    #[test]
    fn a_table_without_autovacuum_is_visited_once_it_has_rows() {
        let never = Table { since_vacuum: None, since_analyze: None, inserted: 1_000, modified: 1_000, ..table() };
        assert!(matches!(never.due(), Some(Due { vacuum: true, analyze: true, .. })));
        let few = Table { inserted: 999, modified: 999, ..never };
        assert_eq!(few.due(), None);
    }

    #[test]
    fn parents_are_analysed_daily_and_never_vacuumed() {
        let parent = Table { parent: true, since_vacuum: None, since_analyze: None, dead: 90_000, ..table() };
        assert!(matches!(parent.due(), Some(Due { vacuum: false, analyze: true, .. })));
        assert_eq!(Table { since_analyze: Some(Duration::from_secs(60)), ..parent }.due(), None);
    }

    #[test]
    fn the_head_row_is_never_analysed() {
        let head = Table { since_analyze: None, modified: 1_000_000, ..table() };
        assert!(head.due().is_some());
        assert_eq!(Table { unanalyzed: true, ..head }.due(), None);
    }

    #[test]
    fn what_is_dropped_soon_is_visited_only_for_its_transaction_ids_and_its_garbage() {
        let day = Table { dropped_soon: true, inserted: 1_000_000, since_vacuum: None, ..table() };
        assert_eq!(day.due(), None);
        assert!(Table { age: 0.6, ..day }.due().is_some());
    }
}
