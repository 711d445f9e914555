//! The change log as the event tier reads it: one tenant's changes that somebody wants, single ones by their position,
//! and the place of a moment. What of a change may be told is the event tier's decision; documents stay sealed here.

use crate::{
    Change, ChangePage, Ledger, changes,
    read::{
        changes as stored,
        rows::{signed, unsigned},
    },
};
use model::{Access, Action, Error, Hlc, Position, ResourceKey, Result, Tenant};
use std::time::Duration;

/// The current version has it too: its change may have been archived away.
const BORN: &str = "
    SELECT created_n FROM nephkeep.change WHERE n = $1 AND tenant = $2 AND kind = $3 AND id = $4
    UNION ALL
    SELECT created_n FROM nephkeep.resource WHERE n = $1 AND tenant = $2 AND kind = $3 AND id = $4";
/// The first change at or after a position: its place in time.
const AT: &str = "SELECT n, hlc FROM nephkeep.change WHERE n >= $1 ORDER BY n LIMIT 1";

impl Ledger {
    /// Whether the caller may do this in its own tenant; a denial is audited before it is told.
    pub async fn permit(&self, access: &Access, action: Action) -> Result<()> {
        match access.check(action, &access.tenant, None) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.denied(access, action, error).await),
        }
    }

    /// Changes of the caller's tenant that are `wanted`, waiting up to `wait` for the first. What the caller may read at
    /// all was decided by kind of topic before (`action`).
    pub async fn events_after(
        &self,
        access: &Access,
        action: Action,
        wanted: impl Fn(&Change) -> bool + Sync,
        (after, limit, wait): (Option<Position>, usize, Duration),
    ) -> Result<ChangePage> {
        self.permit(access, action).await?;
        changes::wanted(self.record(), &access.tenant, wanted, (after, limit, wait)).await
    }

    /// The caller's tenant's changes at these positions, in the order asked; `None` where there is none to be read.
    pub async fn changes_at(&self, access: &Access, positions: &[Position]) -> Result<Vec<Option<Change>>> {
        self.permit(access, Action::Read).await?;
        self.tenant_changes_at(&access.tenant, positions).await
    }

    /// The same for a caller who has decided what may be told: documents stay sealed.
    pub async fn tenant_changes_at(&self, tenant: &Tenant, positions: &[Position]) -> Result<Vec<Option<Change>>> {
        let (record, published) = (self.record(), self.record().published.get());
        let mut numbers = Vec::with_capacity(positions.len());
        for position in positions {
            let n = record.lives.resume(record.shard(), *position)?;
            numbers.push(n);
        }
        let found = stored::at(record, tenant, &numbers, published).await?;
        let of = |position: &Position| found.iter().find(|change| change.position == *position).cloned();
        Ok(positions.iter().map(of).collect())
    }

    /// Where the life of a resource began that a version of it belongs to: its creation, or the latest one after a
    /// deletion. `None` when the version is not known.
    pub async fn born(&self, key: &ResourceKey, version_at: Position) -> Result<Option<u64>> {
        let n = self.record().lives.resume(self.record().shard(), version_at)?;
        let rows = self.rows(BORN, &[&signed(n), &key.tenant.as_str(), &key.kind.code(), &&*key.id]).await?;
        rows.first().map(|row| unsigned(row.get(0))).transpose()
    }

    /// Where a reader begins who wants everything from a moment on: after the last change before it.
    pub async fn position_before(&self, micros: u64) -> Result<Option<Position>> {
        let wanted = Hlc::from_micros(micros).0;
        let (mut low, mut high) = (1, self.record().published.get() + 1);
        // The first n whose change is not before the moment; the clock of the log never goes back.
        while low < high {
            let middle = low + (high - low) / 2;
            match self.at(middle).await? {
                Some((n, hlc)) if n < high && hlc < wanted => low = n + 1,
                _ => high = middle,
            }
        }
        match low - 1 {
            0 => Ok(None),
            n => self.record().position_at(n).map(Some),
        }
    }

    /// Before everything that a reader may still want from: where `earliest` begins.
    pub fn position_of(&self, n: u64) -> Result<Position> {
        self.record().position_at(n)
    }

    /// The n to go on from after a position, or why there is no going on.
    pub fn resume(&self, position: Position) -> Result<u64> {
        let record = self.record();
        let n = record.lives.resume(record.shard(), position)?;
        let published = record.published.get();
        if n > published {
            let message = "this position is not in the log yet: nothing can have been read there";
            let error = Error::invalid("position-ahead", message).with("position", position);
            return Err(error.with("published", published));
        }
        Ok(n)
    }

    async fn at(&self, n: u64) -> Result<Option<(u64, u64)>> {
        let rows = self.rows(AT, &[&signed(n)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some((unsigned(row.get(0))?, unsigned(row.get(1))?)))
    }
}
