//! Whether PostgreSQL is set so that what it calls committed survives a power cut (RECORD 1: an acknowledged write is
//! durable). Its own files and switches are another's to set, so it is asked: before anything is written, before each
//! term, and while leading.

use crate::{connection::classify, record::Record};
use model::{Error, Result};
use tokio_postgres::Client;

/// What loses or tears acknowledged writes when it is off.
pub(crate) const SETTINGS: [&str; 3] = ["fsync", "full_page_writes", "synchronous_commit"];

/// The committer's own session insists on `synchronous_commit`; what others would get counts.
const ASK: &str = "SELECT name, coalesce(sourcefile || ' line ' || sourceline, source) FROM pg_catalog.pg_settings
    WHERE name = ANY($1) AND (CASE name WHEN 'synchronous_commit' THEN reset_val ELSE setting END) = 'off' ORDER BY name";

/// The error `record-not-durable` when a setting is off.
pub(crate) async fn check(client: &Client) -> Result<()> {
    let rows = client.query(ASK, &[&SETTINGS.as_slice()]).await.map_err(|error| classify(&error))?;
    if rows.is_empty() {
        return Ok(());
    }
    let off: Vec<String> = rows.iter().map(|row| format!("{} = off", row.get::<_, String>(0))).collect();
    let set: Vec<String> =
        rows.iter().map(|row| row.get::<_, Option<String>>(1)).map(|place| place.unwrap_or_default()).collect();
    let message = format!(
        "PostgreSQL runs with {}: a power cut would lose what was acknowledged, so nothing is written; \
        switch it on where it was switched off",
        off.join(", ")
    );
    Err(Error::retry("record-not-durable", message).with("set in", set.join(", ")))
}

impl Record {
    /// False, and told once, while PostgreSQL does not keep what it commits.
    pub(crate) async fn is_durable(&self, client: &Client) -> Result<bool> {
        if self.settings.without_durability {
            return Ok(true);
        }
        match check(client).await {
            Ok(()) => {
                if self.undurable.lock().take().is_some() {
                    tracing::info!("PostgreSQL keeps what it commits again: writes are taken again");
                }
                Ok(true)
            }
            Err(error) if error.code() == "record-not-durable" => {
                // Callers are told what is wrong; where the files lie is for the log.
                let told = Error::new(error.kind(), error.code(), error.message());
                if self.undurable.lock().replace(told).is_none() {
                    tracing::error!(%error, "PostgreSQL would not keep what it commits: writes are refused");
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Why this process writes nothing, whoever leads.
    pub(crate) fn halted(&self) -> Option<Error> {
        if let Some(why) = self.stopped.get() {
            return Some(Error::bug(why.clone()));
        }
        self.undurable.lock().as_ref().map(Error::again)
    }

    pub(crate) fn check_writing(&self) -> Result<()> {
        self.halted().map_or(Ok(()), Err)?;
        self.lease.check_leading()
    }
}
