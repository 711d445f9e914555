//! How far back a topic can be read: its retention, as a place in the log.
//!
//! The log itself is kept longer: it is also history and the source of rebuilds, and its partitions are detached only
//! when those are archived (RECORD 13). So retention is what readers are held to, and looked up at most once a minute.

use jiff::{SignedDuration, Timestamp};
use ledger::Ledger;
use model::{Error, Position, Result};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    str::FromStr,
    time::{Duration, Instant},
};

const KNOWN_FOR: Duration = Duration::from_secs(60);

/// Where a reader wants to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The oldest event there is.
    Earliest,
    /// With what comes next.
    Latest,
    /// After a position.
    At(Position),
    /// With the first event at or after a moment.
    Time(Timestamp),
}

impl FromStr for Start {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            _ => {
                if let Ok(time) = text.parse() {
                    return Ok(Self::Time(time));
                }
                text.parse().map(Self::At).map_err(|_| {
                    let shown: String = text.chars().take(80).collect();
                    let rule = "a place is earliest, latest, a position such as 0.1-9f86d081884c7d65.42, or a time \
                                such as 2026-01-31T12:00:00Z";
                    Error::invalid("place-malformed", rule).with("place", shown)
                })
            }
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Horizon(Mutex<HashMap<u32, (Instant, u64)>>);

impl Horizon {
    /// The last n that is over, for so many days.
    async fn over(&self, ledger: &Ledger, days: u32) -> Result<u64> {
        let known = self.0.lock().get(&days).copied();
        if let Some((at, n)) = known
            && at.elapsed() < KNOWN_FOR
        {
            return Ok(n);
        }
        let span = SignedDuration::from_hours(24 * i64::from(days));
        let before = crate::clock::wall().checked_sub(span).unwrap_or(Timestamp::UNIX_EPOCH);
        let n = match u64::try_from(before.as_microsecond()) {
            Ok(micros) => ledger.position_before(micros).await?.map_or(0, |position| position.n),
            Err(_) => 0,
        };
        self.0.lock().insert(days, (Instant::now(), n));
        Ok(n)
    }

    pub async fn place(&self, ledger: &Ledger, start: &Start, days: u32) -> Result<Position> {
        let over = self.over(ledger, days).await?;
        let n = match start {
            Start::Earliest => over,
            Start::Latest => ledger.published()?.map_or(0, |position| position.n),
            Start::At(position) => ledger.resume(*position)?,
            Start::Time(time) => {
                let micros = u64::try_from(time.as_microsecond()).unwrap_or(0);
                ledger.position_before(micros).await?.map_or(0, |position| position.n).max(over)
            }
        };
        if n < over {
            let message = "events this old are no longer delivered; begin at `earliest`, or seek there";
            let earliest = ledger.position_of(over)?;
            return Err(Error::not_found("position-gone", message).with("earliest", earliest).with("days", days));
        }
        ledger.position_of(n)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_place_is_a_word_a_position_or_a_moment() {
        let read = |text: &str| text.parse::<Start>();
        assert_eq!(read("earliest").unwrap(), Start::Earliest);
        assert_eq!(read("latest").unwrap(), Start::Latest);
        assert!(matches!(read("0.1-9f86d081884c7d65.42").unwrap(), Start::At(position) if position.n == 42));
        assert!(matches!(read("2026-01-31T12:00:00Z").unwrap(), Start::Time(_)));
        for text in ["", "now", "42", "2026-01-31", "0.1-9f.1"] {
            assert_eq!(read(text).unwrap_err().code(), "place-malformed", "{text}");
        }
    }
}
