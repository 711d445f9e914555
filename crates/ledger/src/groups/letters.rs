//! Dead letters: what a sink or a consumer would not take, with the reason. The event itself is in the log.

use super::{ordinal, statements};
use crate::{
    Ledger,
    read::rows::{signed, unsigned, unsigned_int},
};
use model::{Position, Result, Tenant};
use std::time::SystemTime;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub topic: String,
    pub position: Position,
    pub attempts: u32,
    /// Why it was not taken; never the event's data.
    pub reason: String,
    pub at: SystemTime,
}

impl Ledger {
    /// Durable when it returns: only then may the consumer go on past the event.
    pub async fn letter_bury(
        &self,
        tenant: &Tenant,
        consumer: &str,
        (topic, position): (&str, Position),
        (attempts, reason): (u32, &str),
    ) -> Result<()> {
        let (n, ordinal) = (signed(position.n), ordinal(position));
        let attempts = i32::try_from(attempts).unwrap_or(i32::MAX);
        let tenant = tenant.as_str();
        self.write_apart(statements::BURY, &[&tenant, &consumer, &topic, &n, &ordinal, &attempts, &reason]).await?;
        Ok(())
    }

    /// In the order of the log, after a position.
    pub async fn letters(&self, tenant: &Tenant, consumer: &str, after: u64, limit: u32) -> Result<Vec<DeadLetter>> {
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&tenant.as_str(), &consumer, &signed(after), &i64::from(limit)];
        let rows = self.rows(statements::BURIED, &parameters).await?;
        let letter = |row: &tokio_postgres::Row| {
            Ok(DeadLetter {
                topic: row.get(0),
                position: self.record().position(unsigned_int(row.get(1))?, unsigned(row.get(2))?)?,
                attempts: unsigned_int(row.get(3))?,
                reason: row.get(4),
                at: row.get(5),
            })
        };
        rows.iter().map(letter).collect()
    }

    /// It was taken after all, or is given up.
    pub async fn letter_remove(&self, tenant: &Tenant, consumer: &str, topic: &str, position: Position) -> Result<()> {
        let n = signed(position.n);
        self.write_apart(statements::UNBURY, &[&tenant.as_str(), &consumer, &topic, &n]).await.map(drop)
    }
}
