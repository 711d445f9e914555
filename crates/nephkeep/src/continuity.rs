//! Whether the record is the one that this audit log tells of, and still holds what was told.
//!
//! The audit log is never rolled back, not even by a restore, and learns of a change only when it is durable (RECORD
//! 11). So a record that has vanished (a disk that is not mounted), is another one, or ends before the log does, is
//! found at the start; opening it all the same would answer that nothing was ever there.

use crate::settings::Record;
use model::{Error, Position, Result};

/// Before PostgreSQL starts: an empty directory would be initialised.
pub fn before(record: &Record, told: Option<Position>) -> Result<()> {
    let (Record::Local(directory), Some(told)) = (record, told) else { return Ok(()) };
    if directory.join("data/PG_VERSION").exists() {
        return Ok(());
    }
    let what = "the directory of the record is empty, but the audit log tells of changes in it; is its disk mounted?";
    Err(Error::refused("record-missing", what).with("directory", directory.display()).with("audit", told))
}

/// Once the record is open and led: `told` is the log's last change from before, `published` where the record ends now.
pub fn after(told: Option<Position>, published: Option<Position>) -> Result<()> {
    let Some(told) = told else { return Ok(()) };
    let known = published.filter(|found| {
        // A later life of the log goes on from an earlier one.
        found.incarnation == told.incarnation || found.incarnation.ordinal > told.incarnation.ordinal
    });
    let refused = |code, what: &str| {
        let found = published.map_or_else(|| "none".to_owned(), |found| found.to_string());
        Err(Error::corrupt(code, what).with("record", found).with("audit", told))
    };
    match known {
        None => refused("record-other", "the audit log tells of another record than the one that was opened"),
        Some(found) if found.incarnation == told.incarnation && found.n < told.n => {
            refused("record-behind-audit", "the record ends before the audit log does: acknowledged changes are gone")
        }
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> Option<Position> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_record_that_is_another_or_has_lost_something_is_refused() {
        let told = at("0.2-00000000000000aa.50");
        let code = |found| after(told, found).map_err(|error| error.code());
        assert_eq!(code(at("0.2-00000000000000aa.50")), Ok(()));
        assert_eq!(code(at("0.2-00000000000000aa.51")), Ok(()));
        assert_eq!(code(at("0.3-00000000000000bb.10")), Ok(()), "restored to an earlier moment: a later life");
        assert_eq!(code(at("0.2-00000000000000aa.49")), Err("record-behind-audit"));
        assert_eq!(code(at("0.2-00000000000000bb.60")), Err("record-other"));
        assert_eq!(code(at("0.1-00000000000000aa.60")), Err("record-other"));
        assert_eq!(code(None), Err("record-other"));
        assert!(after(None, None).is_ok());
    }
}
