//! Write leaves are gapless per shard (RECORD 11): what the next one of each shard must be.

use crate::entry::Entry;
use model::{Error, Position, Result, Shard};
use std::collections::BTreeMap;

/// The last write of each shard and, after a restore leaf, where its log continues.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WriteTrack {
    last: BTreeMap<Shard, Position>,
    restored: BTreeMap<Shard, Position>,
}

/// What of an entry concerns the track.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Write(Position),
    Restore(Position),
}

impl Step {
    pub(crate) fn of(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::Write { position, .. } => Some(Self::Write(*position)),
            Entry::Restore { to, .. } => Some(Self::Restore(*to)),
            Entry::Access { .. } | Entry::Act { .. } => None,
        }
    }
}

impl WriteTrack {
    pub(crate) fn last(&self, shard: Shard) -> Option<Position> {
        self.last.get(&shard).copied()
    }

    pub(crate) fn positions(&self) -> impl Iterator<Item = Position> {
        self.last.values().copied()
    }

    /// Takes a step whatever it is; says what was expected when it does not follow.
    pub(crate) fn take(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Restore(to) => {
                self.restored.insert(to.shard, to);
                Ok(())
            }
            Step::Write(position) => {
                let expected = self.expected(position);
                self.restored.remove(&position.shard);
                self.last.insert(position.shard, position);
                if expected.n == position.n && expected.incarnation == position.incarnation {
                    return Ok(());
                }
                let message = "a write entry does not follow the last one of its shard; resume from the last write";
                Err(Error::conflict("audit-write-gap", message).with("expected", expected).with("found", position))
            }
        }
    }

    /// After a restore the position it named; else the next number, also of a new incarnation; a shard begins at 1.
    fn expected(&self, found: Position) -> Position {
        match (self.restored.get(&found.shard), self.last.get(&found.shard)) {
            (Some(to), _) => *to,
            (None, Some(last)) if found.incarnation.ordinal > last.incarnation.ordinal => {
                Position { n: last.n + 1, ..found }
            }
            (None, Some(last)) => Position { n: last.n + 1, ..*last },
            (None, None) => Position { n: 1, ..found },
        }
    }

    pub(crate) fn texts(&self) -> (Vec<String>, Vec<String>) {
        let texts = |map: &BTreeMap<Shard, Position>| map.values().map(Position::to_string).collect();
        (texts(&self.last), texts(&self.restored))
    }

    pub(crate) fn from_texts(last: &[String], restored: &[String]) -> Result<Self> {
        let read = |texts: &[String]| -> Result<BTreeMap<Shard, Position>> {
            texts.iter().map(|text| text.parse().map(|position: Position| (position.shard, position))).collect()
        };
        Ok(Self { last: read(last)?, restored: read(restored)? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn at(text: &str) -> Position {
        text.parse().unwrap()
    }

    #[test]
    fn a_gap_a_repeat_and_a_false_start_are_told_and_a_restore_continues_where_it_says() {
        let mut track = WriteTrack::default();
        let mut take =
            |text: &str| track.take(Step::Write(at(text))).map_err(|e| e.fact("expected").unwrap().to_owned());
        assert_eq!(take("0.1-00000000000000aa.1"), Ok(()));
        assert_eq!(take("0.1-00000000000000aa.2"), Ok(()));
        assert_eq!(take("0.1-00000000000000aa.2"), Err("0.1-00000000000000aa.3".into()));
        assert_eq!(take("0.1-00000000000000aa.4"), Err("0.1-00000000000000aa.3".into()));
        assert_eq!(take("1.1-00000000000000bb.7"), Err("1.1-00000000000000bb.1".into()));
        assert_eq!(take("0.2-00000000000000cc.5"), Ok(()), "a new incarnation that lost nothing");
        track.take(Step::Restore(at("0.3-00000000000000dd.3"))).unwrap();
        assert!(track.clone().take(Step::Write(at("0.2-00000000000000cc.6"))).is_err());
        assert!(track.take(Step::Write(at("0.3-00000000000000dd.3"))).is_ok());
        let (last, restored) = track.texts();
        assert_eq!(WriteTrack::from_texts(&last, &restored).unwrap(), track);
    }
}
