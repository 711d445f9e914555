//! The schema's own history: ordered, embedded, checksummed files, each in expand or contract form.
//!
//! Expanding changes leave older servers working and are applied at start; contracting ones wait until somebody
//! says that no older server runs. A file that changed after it was applied (drift) and a record that knows
//! newer migrations than this build are refused: both mean that two builds disagree about the schema.

use crate::connection::classify;
use model::{Error, Result};
use sha2::{Digest, Sha256};
use tokio_postgres::Client;

/// Named and numbered by its file; the phase stands in the file's first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    pub id: i32,
    pub name: &'static str,
    pub sql: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Older servers go on working.
    Expand,
    /// Removes what only older servers use.
    Contract,
}

/// What `apply` would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub applied: Vec<i32>,
    pub pending: Vec<Migration>,
    /// Contracting ones (and whatever follows them) that wait for permission.
    pub held: Vec<Migration>,
}

pub const SHIPPED: &[Migration] = &[
    Migration { id: 1, name: "record", sql: include_str!("../migrations/0001_record.sql") },
    Migration { id: 2, name: "groups", sql: include_str!("../migrations/0002_groups.sql") },
    Migration { id: 3, name: "keystore", sql: include_str!("../migrations/0003_keystore.sql") },
    Migration { id: 4, name: "embedding", sql: include_str!("../migrations/0004_embedding.sql") },
    Migration { id: 5, name: "upkeep", sql: include_str!("../migrations/0005_upkeep.sql") },
];

/// Only names the advisory lock; two runners take turns.
const LOCK: i64 = 0x6e65_7068_6b65_6570;
const OWN_TABLE: &str = "
    CREATE SCHEMA IF NOT EXISTS nephkeep;
    CREATE TABLE IF NOT EXISTS nephkeep.migration (
        id int PRIMARY KEY, name text NOT NULL, sha256 bytea NOT NULL, phase text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now())";

impl Migration {
    pub fn phase(&self) -> Result<Phase> {
        match self.sql.lines().next() {
            Some("-- phase: expand") => Ok(Phase::Expand),
            Some("-- phase: contract") => Ok(Phase::Contract),
            _ => Err(Error::bug("a migration begins with `-- phase: expand` or `-- phase: contract`")
                .with("name", self.name)),
        }
    }

    #[must_use]
    pub fn checksum(&self) -> [u8; 32] {
        Sha256::digest(self.sql.as_bytes()).into()
    }
}

/// Compares the record with this build, changing nothing.
pub async fn plan(client: &Client, allow: Phase) -> Result<Plan> {
    plan_of(SHIPPED, &applied(client).await?, allow)
}

/// Brings the record up to this build; several servers may try at once. Returns what it applied.
pub async fn apply(client: &mut Client, allow: Phase) -> Result<Vec<Migration>> {
    apply_these(client, SHIPPED, allow).await
}

/// As `apply`, with a list of the caller's (tests of the runner itself).
pub async fn apply_these(client: &mut Client, shipped: &[Migration], allow: Phase) -> Result<Vec<Migration>> {
    // A lock that is not to be had within a few seconds is held by somebody's query: better to say so than to
    // queue, and with us every later writer.
    client.batch_execute("SET lock_timeout = '10s'").await.map_err(|e| classify(&e))?;
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(|e| classify(&e))?;
    let outcome = apply_locked(client, shipped, allow).await;
    let released = client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await.map_err(|e| classify(&e));
    let reset = client.batch_execute("RESET lock_timeout").await.map_err(|e| classify(&e));
    let applied = outcome?;
    released.and(reset)?;
    Ok(applied)
}

async fn apply_locked(client: &mut Client, shipped: &[Migration], allow: Phase) -> Result<Vec<Migration>> {
    let plan = plan_of(shipped, &applied(client).await?, allow)?;
    for migration in &plan.pending {
        apply_one(client, migration).await?;
        tracing::info!(id = migration.id, name = migration.name, "migration applied");
    }
    Ok(plan.pending)
}

async fn apply_one(client: &mut Client, migration: &Migration) -> Result<()> {
    let phase = match migration.phase()? {
        Phase::Expand => "expand",
        Phase::Contract => "contract",
    };
    let failed = |e: tokio_postgres::Error| {
        let cause = classify(&e);
        Error::new(cause.kind(), "migration-failed", "a migration failed and was rolled back; nothing of it remains")
            .with("id", migration.id)
            .with("name", migration.name)
            .caused_by(cause)
    };
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(OWN_TABLE).await.map_err(failed)?;
    transaction.batch_execute(migration.sql).await.map_err(failed)?;
    let statement = "INSERT INTO nephkeep.migration (id, name, sha256, phase) VALUES ($1, $2, $3, $4)";
    let checksum = migration.checksum();
    let row: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
        [&migration.id, &migration.name, &checksum.as_slice(), &phase];
    transaction.execute(statement, &row).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

/// Ids and checksums, in order; nothing where there is no record yet.
async fn applied(client: &Client) -> Result<Vec<(i32, Vec<u8>)>> {
    let exists = "SELECT to_regclass('nephkeep.migration') IS NOT NULL";
    let exists: bool = client.query_one(exists, &[]).await.map_err(|e| classify(&e))?.get(0);
    if !exists {
        return Ok(Vec::new());
    }
    let rows = client.query("SELECT id, sha256 FROM nephkeep.migration ORDER BY id", &[]).await;
    Ok(rows.map_err(|e| classify(&e))?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn plan_of(shipped: &[Migration], applied: &[(i32, Vec<u8>)], allow: Phase) -> Result<Plan> {
    for (id, checksum) in applied {
        let Some(ours) = shipped.iter().find(|migration| migration.id == *id) else {
            let message = "the record was migrated by a newer nephkeep; run that version, or a newer one";
            return Err(Error::refused("record-newer", message).with("migration", id));
        };
        if ours.checksum().as_slice() != checksum.as_slice() {
            let message = "a migration was changed after it was applied to this record; run the build that applied it";
            return Err(Error::refused("migration-drift", message).with("migration", id).with("name", ours.name));
        }
    }
    let mut plan = Plan { applied: applied.iter().map(|(id, _)| *id).collect(), ..Plan::default() };
    for migration in shipped.iter().filter(|migration| !plan.applied.contains(&migration.id)) {
        // Order is kept: nothing overtakes one that is held.
        let held = !plan.held.is_empty() || migration.phase()? > allow;
        if held { plan.held.push(*migration) } else { plan.pending.push(*migration) }
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Migration = Migration { id: 1, name: "one", sql: "-- phase: expand\nSELECT 1;" };
    const TWO: Migration = Migration { id: 2, name: "two", sql: "-- phase: contract\nSELECT 2;" };
    const THREE: Migration = Migration { id: 3, name: "three", sql: "-- phase: expand\nSELECT 3;" };

    fn done(migration: Migration) -> (i32, Vec<u8>) {
        (migration.id, migration.checksum().to_vec())
    }

    #[test]
    fn contracting_ones_and_what_follows_them_wait_for_permission() {
        let plan = plan_of(&[ONE, TWO, THREE], &[], Phase::Expand).ok();
        assert_eq!(plan, Some(Plan { applied: vec![], pending: vec![ONE], held: vec![TWO, THREE] }));
        let plan = plan_of(&[ONE, TWO, THREE], &[done(ONE)], Phase::Contract).ok();
        assert_eq!(plan, Some(Plan { applied: vec![1], pending: vec![TWO, THREE], held: vec![] }));
    }

    #[test]
    fn drift_and_newer_records_are_refused() {
        let refused = plan_of(&[ONE], &[(1, vec![0; 32])], Phase::Expand).err();
        assert_eq!(refused.map(|e| e.code()), Some("migration-drift"));
        let refused = plan_of(&[ONE], &[done(ONE), done(TWO)], Phase::Expand).err();
        assert_eq!(refused.map(|e| e.code()), Some("record-newer"));
    }

    #[test]
    fn ids_ascend_without_gaps_and_every_file_names_its_phase() {
        for (migration, id) in SHIPPED.iter().zip(1..) {
            assert_eq!(migration.id, id, "{}", migration.name);
            assert!(migration.phase().is_ok(), "{}", migration.name);
        }
    }

    /// No rule is excluded here: a file that needs an exception says so, with the reason, at the place.
    #[test]
    fn every_migration_passes_the_linter() {
        for migration in SHIPPED {
            let file = squawk_syntax::SourceFile::parse(migration.sql);
            assert!(file.errors().is_empty(), "{}: {:?}", migration.name, file.errors());
            let found = squawk_linter::Linter::with_default_rules().lint(&file, migration.sql);
            let found: Vec<_> = found.iter().map(|v| (v.code.to_string(), v.message.clone())).collect();
            assert!(found.is_empty(), "{}: {found:?}", migration.name);
        }
    }

    #[test]
    fn the_linter_would_find_a_dangerous_migration() {
        let sql = "CREATE INDEX slow ON nephkeep.resource (version); ALTER TABLE nephkeep.resource ADD COLUMN x int NOT NULL;";
        let found = squawk_linter::Linter::with_default_rules().lint(&squawk_syntax::SourceFile::parse(sql), sql);
        assert!(found.len() >= 2, "{}", found.len());
    }
}
