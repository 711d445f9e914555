//! Whether this server can answer reads and, when it leads, take writes.
//!
//! A refusal stands until its cause is gone, and nobody has to write to find that out: whoever asks has it tried again, at
//! most about once a second. PostgreSQL is asked for a little room on its disk, the keystore for the block of keys that it
//! could not write.

use crate::{
    Ledger,
    clock::Moment,
    connection::{Connector, classify},
    read::serve::blocking,
    record::{Record, Refusing, starting},
};
use model::{Error, Result};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};

/// Between a refusal and the next try.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// How long a refusal of the audit log counts; its writer tries again with whatever is read or written.
pub(crate) const AUDIT_REFUSING_FOR: Duration = Duration::from_secs(10);

const PROBE: &str = "SET jit = off; SET statement_timeout = '5s'; SET temp_buffers = '1MB'";

/// Half a megabyte of rows that are not worth compressing: files have to grow for it.
const ROOM: &str = "BEGIN READ WRITE; CREATE TEMP TABLE nephkeep_room ON COMMIT DROP AS
    SELECT repeat(md5(n::text), 30) AS filling FROM generate_series(1, 512) AS n; ROLLBACK";

impl Ledger {
    /// Whether the record can be read and, on a leader, written now; the error says why not.
    pub async fn ready(&self) -> Result<()> {
        let record = self.record();
        if let Some(error) = record.halted() {
            return Err(error);
        }
        if self.inner.tasks_ended() {
            return Err(Error::bug("a task of the record has ended unexpectedly; restart this server"));
        }
        takes_batches(record).await?;
        hands_out_keys(record).await?;
        if let Some(error) = record.log.failing(AUDIT_REFUSING_FOR) {
            return Err(error);
        }
        let head = "SELECT 1 FROM nephkeep.log_head WHERE shard = $1";
        match self.rows(head, &[&i32::from(record.shard().0)]).await?.first() {
            Some(_) => Ok(()),
            None => Err(starting()),
        }
    }
}

/// After a batch that PostgreSQL could not take for want of its own (a full disk): has it room again?
async fn takes_batches(record: &Record) -> Result<()> {
    let Some(Refusing { code, message, at }) = next_try(&record.refusing, Moment::now())? else { return Ok(()) };
    match room(&record.connector).await {
        Err(error) if error.code() == code => Err(Error::retry(code, message)),
        // Gone, or of a kind that only a batch can find out; a batch may have found it out meanwhile.
        _ => {
            drop(record.refusing.lock().take_if(|refusing| refusing.at == at));
            Ok(())
        }
    }
}

/// What is to be tried again now; the error while another try is too young. The moment is taken before the try begins:
/// who asks during it is told the error and tries nothing.
fn next_try(refusing: &Mutex<Option<Refusing>>, now: Moment) -> Result<Option<Refusing>> {
    let mut refusing = refusing.lock();
    let Some(refusing) = refusing.as_mut() else { return Ok(None) };
    if now.since(refusing.at) < AGAIN_AFTER {
        return Err(Error::retry(refusing.code, refusing.message.clone()));
    }
    refusing.at = now;
    Ok(Some(refusing.clone()))
}

async fn room(connector: &Connector) -> Result<()> {
    let session = connector.connect("nephkeep probe", PROBE).await?;
    session.client.batch_execute(ROOM).await.map_err(|error| classify(&error))
}

/// A key for a new subject is needed by a leader only. The paths stay in the log: who asks shows no credential.
async fn hands_out_keys(record: &Record) -> Result<()> {
    if record.lease.check_leading().is_err() || record.keystore.failing().is_none() {
        return Ok(());
    }
    let keystore = Arc::clone(&record.keystore);
    let failing = blocking(move || {
        keystore.probe();
        Ok(keystore.failing())
    });
    match failing.await? {
        Some(error) => Err(Error::new(error.kind(), error.code(), error.message())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn of_many_who_ask_at_once_one_tries() {
        let begun = Moment::now();
        let refusing = Mutex::new(Some(Refusing { code: "disk-full", message: "full".into(), at: begun }));
        for second in 1..4 {
            let now = begun.after(AGAIN_AFTER * second);
            assert_eq!(next_try(&refusing, now).unwrap().unwrap().at, now);
            for later in [now, now.after(AGAIN_AFTER / 2)] {
                assert_eq!(next_try(&refusing, later).unwrap_err().code(), "disk-full");
            }
        }
        assert!(next_try(&Mutex::default(), begun).unwrap().is_none());
    }
}
