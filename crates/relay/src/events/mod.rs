//! Events: the change log as topics, read by anybody from any position or by consumer groups that share the work.
//!
//! There is no second copy: an event is a change of the record, told by the policy of topics (RECORD 13). What is read
//! comes from the record's ring as long as the reader keeps up, so a delivered event costs PostgreSQL nothing; of a group
//! PostgreSQL sees a lease renewed now and then and one statement of commits a second.

mod commits;
pub mod encode;
mod groups;
mod horizon;
mod scope;
pub mod topics;

pub use groups::{LEASE_MAX, LEASE_MIN, Poll, Polled};
pub use horizon::Start;
pub use topics::{Data, Topic, Topics};

use commits::Commits;
use groups::Sessions;
use horizon::Horizon;
use ledger::{Change, Content, Ledger, Resource};
use model::{Access, Action, Class, Error, Kind, Position, Result};
use scope::Scope;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Changes that are looked at in one go.
pub const BATCH_MAX: usize = 10_000;
/// Events that one request may open.
pub const OPEN_MAX: usize = 1_000;

/// One change as an event of one topic.
#[derive(Debug, Clone)]
pub struct Event {
    pub topic: Arc<Topic>,
    pub change: Change,
}

/// Events in the order of the log, and where to go on.
#[derive(Debug, Clone)]
pub struct Batch {
    pub events: Vec<Event>,
    pub next: Position,
    /// How far the log may be read at all.
    pub published: Position,
}

/// What happened here since this server started.
#[derive(Debug, Default)]
pub struct Counters {
    delivered: AtomicU64,
    polls: AtomicU64,
    commits: AtomicU64,
    fenced: AtomicU64,
    opened: AtomicU64,
}

/// A reading of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub delivered: u64,
    pub polls: u64,
    pub commits: u64,
    pub fenced: u64,
    pub opened: u64,
}

/// What the event tier does for one record.
#[derive(Debug)]
pub struct Events {
    ledger: Ledger,
    topics: Topics,
    sessions: Sessions,
    commits: Commits,
    horizon: Horizon,
    counters: Counters,
}

/// A sealed event, opened: the document, or why there is none.
#[derive(Debug, Clone)]
pub enum Opened {
    Resource(Resource),
    /// Its class is write-only: it is used by reference.
    Withheld,
    /// No change of the caller's tenant stands there.
    Absent,
}

impl Events {
    #[must_use]
    pub fn new(ledger: &Ledger, topics: Topics) -> Self {
        Self {
            ledger: ledger.clone(),
            topics,
            sessions: Sessions::default(),
            commits: Commits::default(),
            horizon: Horizon::default(),
            counters: Counters::default(),
        }
    }

    #[must_use]
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    #[must_use]
    pub fn counted(&self) -> Counted {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counters { delivered, polls, commits, fenced, opened } = &self.counters;
        Counted {
            delivered: read(delivered),
            polls: read(polls),
            commits: read(commits),
            fenced: read(fenced),
            opened: read(opened),
        }
    }

    fn count(&self, counter: impl Fn(&Counters) -> &AtomicU64, by: usize) {
        counter(&self.counters).fetch_add(by as u64, Ordering::Relaxed);
    }

    /// A position that one may begin at in all of some topics; `position-gone` where the retention of one is over.
    pub async fn place(&self, start: &Start, topics: &[Arc<Topic>]) -> Result<Position> {
        let days = topics.iter().map(|topic| topic.retention_days).min().unwrap_or(1);
        self.horizon.place(&self.ledger, start, days).await
    }

    /// Events of some topics after a position, waiting up to `wait` for the first; nothing of a group is touched.
    pub async fn after(
        &self,
        access: &Access,
        topics: &[Arc<Topic>],
        after: Position,
        limit: usize,
        wait: Duration,
    ) -> Result<Batch> {
        let scope = Scope::whole(topics, after.n);
        self.allowed(access, topics).await?;
        let after = self.place(&Start::At(after), topics).await?;
        self.batch(access, &scope, after, limit, wait).await
    }

    /// The event at a position; `event-unknown` where the topic tells none to this caller.
    pub async fn one(&self, access: &Access, topic: &Arc<Topic>, at: Position) -> Result<Event> {
        self.ledger.permit(access, topic.right()).await?;
        let found = self.ledger.tenant_changes_at(&access.tenant, &[at]).await?.into_iter().next().flatten();
        match found.filter(|change| topic.tells(change)) {
            Some(change) => Ok(Event { topic: Arc::clone(topic), change }),
            None => {
                let message = "no event of this topic stands at this position";
                Err(Error::not_found("event-unknown", message).with("topic", &topic.name).with("position", at))
            }
        }
    }

    async fn batch(
        &self,
        access: &Access,
        scope: &Scope,
        after: Position,
        limit: usize,
        wait: Duration,
    ) -> Result<Batch> {
        let (limit, right) = (limit.clamp(1, BATCH_MAX), scope.right());
        let wanted = |change: &Change| scope.wants(change);
        let page = self.ledger.events_after(access, right, wanted, (Some(after), limit, wait)).await?;
        let mut events = Vec::with_capacity(page.changes.len());
        for change in page.changes {
            scope.events(change, &mut events);
        }
        self.count(|counters| &counters.delivered, events.len());
        Ok(Batch { events, next: page.next, published: page.published })
    }

    /// The documents of changes, each release noted in the audit log before this returns (RECORD 16).
    pub async fn open(&self, access: &Access, positions: &[Position]) -> Result<Vec<Opened>> {
        if positions.len() > OPEN_MAX {
            let message = "one request opens at most 1000 events; ask in several";
            return Err(Error::invalid("events-too-many", message).with("events", positions.len()));
        }
        let found = self.ledger.changes_at(access, positions).await?;
        let shown = |change: &&Change| change.class != Class::Restricted && readable(access, change.key.kind);
        let clear: Vec<Change> = found.iter().flatten().filter(shown).cloned().collect();
        let mut opened = self.ledger.open_changes(access, &clear).await?.into_iter();
        self.count(|counters| &counters.opened, clear.len());
        let one = |change: Option<Change>| match change {
            None => Opened::Absent,
            Some(change) if !readable(access, change.key.kind) => Opened::Absent,
            Some(change) if change.class == Class::Restricted => Opened::Withheld,
            Some(_) => opened.next().map_or(Opened::Absent, Opened::Resource),
        };
        Ok(found.into_iter().map(one).collect())
    }
}

impl Opened {
    #[must_use]
    pub fn state(&self) -> &'static str {
        match self {
            Self::Resource(resource) => match resource.document {
                Content::Clear(_) => "present",
                Content::Erased => "erased",
                Content::Deleted => "deleted",
            },
            Self::Withheld => "withheld",
            Self::Absent => "absent",
        }
    }
}

fn readable(access: &Access, kind: Kind) -> bool {
    access.check(Action::Read, &access.tenant, Some(kind)).is_ok()
}
