//! Which changes a reader gets: of which topics, in which partitions, from where in each.

use super::{Event, Topic, topics::partition};
use ledger::{Change, Membership};
use model::{Action, Kind, Position};
use std::sync::Arc;

/// A partition that is somebody else's.
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub(super) struct Scope(Vec<Part>);

#[derive(Debug)]
struct Part {
    topic: Arc<Topic>,
    /// For each partition: changes after this n.
    from: Vec<u64>,
}

impl Scope {
    /// All of some topics.
    pub fn whole(topics: &[Arc<Topic>], after: u64) -> Self {
        Self(topics.iter().map(|topic| Part { topic: Arc::clone(topic), from: vec![after] }).collect())
    }

    /// What a member reads: a partition goes on where it was committed or, where the member has had it since it read
    /// there, from the position it has come to. A committed position in front of a fork counts as `floor` says.
    pub fn of(
        membership: &Membership,
        topics: &[Arc<Topic>],
        reached: Option<(u64, Position)>,
        floor: impl Fn(Position) -> model::Result<u64>,
    ) -> model::Result<Self> {
        let mut parts = Vec::with_capacity(topics.len());
        for topic in topics {
            let count = membership.counts.get(&topic.name).copied().unwrap_or(0);
            let mut from = vec![NEVER; count as usize];
            for owned in membership.partitions.iter().filter(|owned| owned.topic == topic.name) {
                let committed = floor(owned.committed)?;
                let Some(place) = from.get_mut(owned.number as usize) else { continue };
                *place = match reached {
                    Some((epoch, at)) if owned.epoch <= epoch => committed.max(at.n),
                    _ => committed,
                };
            }
            parts.push(Part { topic: Arc::clone(topic), from });
        }
        Ok(Self(parts))
    }

    /// Where to begin in the log; `None`: there is nothing to read.
    pub fn start(&self) -> Option<u64> {
        self.0.iter().flat_map(|part| &part.from).copied().filter(|from| *from != NEVER).min()
    }

    /// Everything up to there was looked at and nothing of it was ours.
    pub fn advance(&mut self, n: u64) {
        for from in self.0.iter_mut().flat_map(|part| &mut part.from).filter(|from| **from != NEVER) {
            *from = n.max(*from);
        }
    }

    /// What the caller must be allowed; topics of several rights are read by who has each.
    pub fn right(&self) -> Action {
        self.0.first().map_or(Action::Read, |part| part.topic.right())
    }

    pub fn wants(&self, change: &Change) -> bool {
        self.0.iter().any(|part| part.wants(change))
    }

    /// Each change is an event of every topic that tells it.
    pub fn events(&self, change: Change, out: &mut Vec<Event>) {
        let mut wanting = self.0.iter().filter(|part| part.wants(&change)).map(|part| Arc::clone(&part.topic));
        let Some(first) = wanting.next() else { return };
        let more: Vec<_> = wanting.collect();
        out.extend(more.into_iter().map(|topic| Event { topic, change: change.clone() }));
        out.push(Event { topic: first, change });
    }
}

impl Part {
    fn wants(&self, change: &Change) -> bool {
        self.topic.tells(change) && self.after_of(change.key.kind, &change.key.id) < change.position.n
    }

    fn after_of(&self, kind: Kind, id: &str) -> u64 {
        match self.from[..] {
            [] => NEVER,
            [only] => only,
            ref many => many[partition(kind, id, u32::try_from(many.len()).unwrap_or(u32::MAX)) as usize],
        }
    }
}
