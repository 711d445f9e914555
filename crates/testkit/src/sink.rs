//! A sink that stores its position with its data: rows of events and the place they go up to, in one transaction.
//! Nothing in the table keeps a row from coming twice, so that a repetition would be seen.

use crate::postgresql::connect;
use tokio_postgres::{Client, Config, Error};

const TABLES: &str = "
    CREATE TABLE taken (seq bigint GENERATED ALWAYS AS IDENTITY, id text NOT NULL);
    CREATE TABLE place (one boolean PRIMARY KEY DEFAULT true, next text NOT NULL);
    INSERT INTO place (next) VALUES ('earliest')";

#[derive(Debug)]
pub struct Table {
    client: Client,
}

impl Table {
    pub async fn make(config: &Config) -> Result<Self, Error> {
        let table = Self::open(config).await?;
        table.client.batch_execute(TABLES).await?;
        Ok(table)
    }

    /// One that was made.
    pub async fn open(config: &Config) -> Result<Self, Error> {
        Ok(Self { client: connect(config).await? })
    }

    /// Where to go on.
    pub async fn next(&self) -> Result<String, Error> {
        Ok(self.client.query_one("SELECT next FROM place", &[]).await?.get(0))
    }

    /// Stores events and where to go on after them, all or nothing. False: another has gone on from there meanwhile, and
    /// nothing was stored.
    pub async fn take(&mut self, ids: &[String], from: &str, next: &str) -> Result<bool, Error> {
        let transaction = self.client.build_transaction();
        let transaction = transaction.isolation_level(tokio_postgres::IsolationLevel::ReadCommitted).start().await?;
        for id in ids {
            transaction.execute("INSERT INTO taken (id) VALUES ($1)", &[id]).await?;
        }
        let moved = transaction.execute("UPDATE place SET next = $2 WHERE next = $1", &[&from, &next]).await?;
        if moved == 0 {
            transaction.rollback().await?;
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// What was stored, in the order in which it was.
    pub async fn taken(&self) -> Result<Vec<String>, Error> {
        let rows = self.client.query("SELECT id FROM taken ORDER BY seq", &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}
