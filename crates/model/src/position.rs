//! Log positions: `shard.incarnation.n` wherever they leave memory (RECORD 2).
//!
//! Text form: `0.1-9f86d081884c7d65.42`: shard (decimal), incarnation (ordinal, a dash, 16 hex digits of a random
//! 64-bit number), n (decimal, gapless from 1 within the shard across incarnations that continue one another).

use crate::{Error, Result};
use std::{fmt, str::FromStr};

/// One PostgreSQL cluster, one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard(pub u16);

/// One life of a log: a restore to an earlier moment starts a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation {
    pub ordinal: u32,
    pub random: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    pub shard: Shard,
    pub incarnation: Incarnation,
    pub n: u64,
}

impl Position {
    /// A position is later when its life is, or its number within one life. Of positions of one log; no order of its own,
    /// so that nobody compares those of two.
    #[must_use]
    pub fn order(self) -> (u32, u64) {
        (self.incarnation.ordinal, self.n)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.ordinal, self.random)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.shard.0, self.incarnation, self.n)
    }
}

fn malformed(text: &str) -> Error {
    let shown: String = text.chars().take(80).collect();
    Error::invalid("position-malformed", "a position reads shard.ordinal-random.n, for example 0.1-9f86d081884c7d65.42")
        .with("position", shown)
}

/// Decimal digits only, no sign, no leading zero: each position has one spelling.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

impl FromStr for Incarnation {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('-').and_then(|(ordinal, random)| {
            let canonical = random.len() == 16 && random.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            let random = if canonical { u64::from_str_radix(random, 16).ok()? } else { return None };
            Some(Self { ordinal: decimal(ordinal)?, random })
        });
        parsed.ok_or_else(|| malformed(text))
    }
}

impl FromStr for Position {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.splitn(3, '.');
        let (Some(shard), Some(incarnation), Some(n)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed(text));
        };
        let shard = Shard(decimal(shard).ok_or_else(|| malformed(text))?);
        let incarnation = incarnation.parse().map_err(|_| malformed(text))?;
        let n = decimal(n).ok_or_else(|| malformed(text))?;
        Ok(Self { shard, incarnation, n })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_as_it_was_written() {
        let position = Position { shard: Shard(3), incarnation: Incarnation { ordinal: 2, random: 0x0f }, n: u64::MAX };
        let text = position.to_string();
        assert_eq!(text, "3.2-000000000000000f.18446744073709551615");
        assert_eq!(text.parse::<Position>().ok(), Some(position));
    }

    #[test]
    fn a_later_life_goes_before_a_higher_number() {
        let at = |ordinal, random, n| Position { shard: Shard(0), incarnation: Incarnation { ordinal, random }, n };
        assert!(at(2, 1, 4).order() > at(1, 9, 5).order() && at(1, 1, 5).order() > at(1, 9, 4).order());
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for text in [
            "",
            "0",
            "0.1-00000000000000ff",
            "0.1-ff.1",
            "00.1-00000000000000ff.1",
            "0.1-00000000000000FF.1",
            "0.1-00000000000000ff.-1",
            "0.1-00000000000000ff.1.2",
            "65536.1-00000000000000ff.1",
            "0.1-00000000000000ff.+1",
        ] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }
}
