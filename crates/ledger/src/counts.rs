//! How many changes a stretch of the log holds, by tenant, kind and action: what counters of documents are compared
//! with.

use crate::{
    ChangeAction, Ledger,
    read::{
        changes::action,
        rows::{Tenants, signed, unsigned},
    },
};
use model::{Kind, Result, Tenant};
use std::collections::BTreeMap;

/// Positions that one statement walks over.
const STRETCH: u64 = 1_000_000;
/// Forks and barriers are about no document.
const COUNTS: &str = "
    SELECT tenant, kind, action, count(*) FROM nephkeep.change
    WHERE n > $1 AND n <= $2 AND action IN (1, 2, 3) GROUP BY tenant, kind, action";

/// By tenant, kind and action.
pub type Counts = BTreeMap<(Tenant, Kind, ChangeAction), u64>;

impl Ledger {
    /// Of the changes after `after` through `through`.
    pub async fn count_changes(&self, after: u64, through: u64) -> Result<Counts> {
        let (mut counts, mut at) = (Counts::new(), after);
        while at < through {
            let end = through.min(at.saturating_add(STRETCH));
            let mut tenants = Tenants::default();
            for row in self.rows(COUNTS, &[&signed(at), &signed(end)]).await? {
                let key = (tenants.of(&row, 0)?, Kind::from_code(row.get(1))?, action(row.get(2))?);
                *counts.entry(key).or_default() += unsigned(row.get(3))?;
            }
            at = end;
        }
        Ok(counts)
    }
}
