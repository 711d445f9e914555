//! Consumer groups as their members see them: join, poll, commit, leave. A poll names the position and the epoch that the
//! last one gave; nothing else is remembered for a member, so any server answers it and a lost answer loses nothing.

use super::{Batch, Event, Events, Scope, Start, Topic};
use ledger::{
    GroupKey, Membership,
    groups::{Commit, Group},
};
use model::{Access, Action, Error, Position, Result, resource::check_name};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// A lease is renewed by polling, at most this often.
const BEAT_EVERY: Duration = Duration::from_millis(1_500);
pub const LEASE_MIN: Duration = Duration::from_secs(5);
pub const LEASE_MAX: Duration = Duration::from_secs(300);
/// Members remembered; those not seen for longest are asked for again.
const REMEMBERED: usize = 10_000;

/// What each member had when its lease was last renewed here.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<(GroupKey, String), Session>>);

#[derive(Debug, Clone)]
struct Session {
    membership: Arc<Membership>,
    renewed: Instant,
}

/// One question of a member.
#[derive(Debug, Clone)]
pub struct Poll {
    /// `next` and `epoch` of the poll before; `None`: from the committed positions.
    pub reached: Option<(u64, Position)>,
    /// Everything up to here is done, under `reached`'s epoch; made durable within about a second.
    pub processed: Option<Position>,
    pub limit: usize,
    pub wait: Duration,
}

/// Its answer.
#[derive(Debug, Clone)]
pub struct Polled {
    pub epoch: u64,
    pub events: Vec<Event>,
    /// Send it with `epoch` in the next poll, and commit it when everything before is done.
    pub next: Position,
    pub published: Position,
}

impl Sessions {
    fn get(&self, key: &GroupKey, member: &str) -> Option<Session> {
        self.0.lock().get(&(key.clone(), member.to_owned())).cloned()
    }

    fn put(&self, key: &GroupKey, member: &str, membership: &Arc<Membership>) {
        let mut held = self.0.lock();
        if held.len() >= REMEMBERED {
            held.retain(|_, session| session.renewed.elapsed() < LEASE_MAX);
        }
        let session = Session { membership: Arc::clone(membership), renewed: Instant::now() };
        held.insert((key.clone(), member.to_owned()), session);
    }

    fn forget(&self, key: &GroupKey, member: &str) {
        self.0.lock().remove(&(key.clone(), member.to_owned()));
    }
}

impl Events {
    /// Makes a group that reads these topics from a place on. False: it was there, and stays as it is.
    pub async fn group_create(&self, access: &Access, name: &str, topics: &[&str], start: &Start) -> Result<bool> {
        let key = key(access, name)?;
        let mut topics = self.topics().named(topics)?;
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics.dedup();
        if topics.is_empty() {
            return Err(Error::invalid("attribute-missing", "a group reads at least one topic").with("field", "topics"));
        }
        self.allowed(access, &topics).await?;
        let from = self.place(start, &topics).await?;
        let wanted: Vec<(&str, u32)> = topics.iter().map(|topic| (&*topic.name, topic.partitions)).collect();
        if self.ledger.group_create(&key, &wanted, from).await? {
            return Ok(true);
        }
        let group = self.group(access, name).await?;
        let (known, asked) = (group.topics(), wanted.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        if known != asked {
            let message = "a group of this name reads other topics; take another name, or delete it first";
            return Err(Error::conflict("group-differs", message).with("topics", known.join(", ")));
        }
        Ok(false)
    }

    /// Groups of the caller's tenant; who may not read every topic of one sees it all the same, it holds no data.
    pub async fn groups(&self, access: &Access) -> Result<Vec<Group>> {
        self.ledger.groups(&access.tenant, None).await
    }

    pub async fn group(&self, access: &Access, name: &str) -> Result<Group> {
        let found = self.ledger.groups(&access.tenant, Some(name)).await?.into_iter().next();
        found.ok_or_else(|| {
            let shown: String = name.chars().take(80).collect();
            Error::not_found("group-unknown", "there is no such consumer group; make it first").with("group", shown)
        })
    }

    /// Adds a member, or takes over the one of that name.
    pub async fn join(&self, access: &Access, name: &str, member: &str, lease: Duration) -> Result<Arc<Membership>> {
        check_name("member", member)?;
        if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
            let rule = "a lease lasts 5 to 300 seconds";
            return Err(Error::invalid("attribute-value", rule).with("field", "lease_seconds"));
        }
        let (key, group) = (key(access, name)?, self.group(access, name).await?);
        self.allowed_by_name(access, &group.topics()).await?;
        let joined = Arc::new(self.ledger.group_join(&key, member, &access.principal, lease).await?);
        self.sessions.put(&key, member, &joined);
        Ok(joined)
    }

    /// What was noted is committed first.
    pub async fn leave(&self, access: &Access, name: &str, member: &str) -> Result<()> {
        let key = self.permitted(access, name).await?;
        self.commits.settle(&self.ledger, &key).await;
        self.sessions.forget(&key, member);
        self.ledger.group_leave(&key, member).await
    }

    /// The next events of a member's partitions, waiting for the first; renews its lease.
    pub async fn poll(&self, access: &Access, name: &str, member: &str, poll: &Poll) -> Result<Polled> {
        let (key, until) = (key(access, name)?, Instant::now() + poll.wait);
        self.count(|counters| &counters.polls, 1);
        if let Some((_, reached)) = poll.reached {
            self.ledger.resume(reached)?;
        }
        let mut membership = self.membership(&key, member, poll.reached.is_none()).await?;
        let topics = self.read_by(&membership)?;
        self.allowed(access, &topics).await?;
        if let (Some((epoch, _)), Some(through)) = (poll.reached, poll.processed) {
            self.ledger.resume(through)?;
            self.commits.note(&self.ledger, &key, Commit { member: member.to_owned(), epoch, through }).await;
        }
        let scope = |membership: &Membership| {
            Scope::of(membership, &topics, poll.reached, |position| self.ledger.resume(position))
        };
        let mut reading = scope(&membership)?;
        loop {
            let wait = until.saturating_duration_since(Instant::now()).min(BEAT_EVERY);
            let batch = self.read(access, &reading, &topics, poll.limit, wait).await?;
            self.commits.tend(&self.ledger, &key).await;
            let waited_out = until.saturating_duration_since(Instant::now()).is_zero();
            if !batch.events.is_empty() || waited_out {
                let (epoch, Batch { events, next, published }) = (membership.epoch, batch);
                return Ok(Polled { epoch, events, next, published });
            }
            // Nothing of ours stands up to there.
            reading.advance(batch.next.n);
            let renewed = self.membership(&key, member, false).await?;
            if renewed.epoch != membership.epoch {
                reading = scope(&renewed)?;
            }
            membership = renewed;
        }
    }

    async fn read(
        &self,
        access: &Access,
        scope: &Scope,
        topics: &[Arc<Topic>],
        limit: usize,
        wait: Duration,
    ) -> Result<Batch> {
        let Some(start) = scope.start() else {
            // More members than partitions: it stands by.
            tokio::time::sleep(wait).await;
            let at = self.place(&Start::Latest, topics).await?;
            return Ok(Batch { events: Vec::new(), next: at, published: at });
        };
        let start = Start::At(self.ledger.position_of(start)?);
        let start = self.place(&start, topics).await?;
        self.batch(access, scope, start, limit, wait).await
    }

    /// Durable when it returns: for how many of the member's partitions it holds. Renews the lease, too.
    pub async fn commit(&self, access: &Access, name: &str, commit: Commit) -> Result<u64> {
        let key = key(access, name)?;
        self.ledger.resume(commit.through)?;
        self.count(|counters| &counters.commits, 1);
        let membership = self.membership(&key, &commit.member, false).await?;
        self.allowed(access, &self.read_by(&membership)?).await?;
        let kept = self.commits.commit(&self.ledger, &key, commit).await;
        kept.inspect_err(|error| self.count_fenced(error))
    }

    fn count_fenced(&self, error: &Error) {
        if error.code() == "consumer-fenced" {
            self.count(|counters| &counters.fenced, 1);
        }
    }

    /// Moves a group, or one topic of it; members go on from there at their next poll.
    pub async fn seek(&self, access: &Access, name: &str, topic: Option<&str>, to: &Start) -> Result<(Position, u64)> {
        let (key, group) = (self.permitted(access, name).await?, self.group(access, name).await?);
        let moved = match topic {
            Some(topic) if !group.topics().contains(&topic) => {
                let message = "this group does not read that topic";
                return Err(Error::not_found("topic-unknown", message).with("topic", topic));
            }
            Some(topic) => vec![topic],
            None => group.topics(),
        };
        let to = self.place(to, &self.topics().named(moved)?).await?;
        Ok((to, self.ledger.group_seek(&key, topic, to).await?))
    }

    pub async fn group_delete(&self, access: &Access, name: &str) -> Result<()> {
        let key = self.permitted(access, name).await?;
        self.ledger.group_delete(&key).await
    }

    /// The group, for a caller who may read each of its topics.
    pub async fn permitted(&self, access: &Access, name: &str) -> Result<GroupKey> {
        let group = self.group(access, name).await?;
        self.allowed_by_name(access, &group.topics()).await?;
        key(access, name)
    }

    async fn allowed_by_name(&self, access: &Access, topics: &[&str]) -> Result<()> {
        self.allowed(access, &self.topics().named(topics)?).await
    }

    /// A denial is audited.
    pub async fn allowed(&self, access: &Access, topics: &[Arc<Topic>]) -> Result<()> {
        for right in [Action::Read, Action::ReadAudit] {
            if topics.iter().any(|topic| topic.right() == right) {
                self.ledger.permit(access, right).await?;
            }
        }
        Ok(())
    }

    /// As of the last renewal here, or renewed now.
    async fn membership(&self, key: &GroupKey, member: &str, anew: bool) -> Result<Arc<Membership>> {
        let known = self.sessions.get(key, member);
        if let Some(session) = known.as_ref().filter(|session| !anew && session.renewed.elapsed() < BEAT_EVERY) {
            return Ok(Arc::clone(&session.membership));
        }
        let epoch = known.as_ref().filter(|_| !anew).map(|session| session.membership.epoch);
        let renewed = match self.ledger.group_beat(key, member, epoch).await {
            Ok(renewed) => renewed,
            Err(error) => {
                self.sessions.forget(key, member);
                self.count_fenced(&error);
                return Err(error);
            }
        };
        let membership = match (renewed, known) {
            // What was noted counts: of what stays with the member nothing comes twice that it has said it is done with.
            (Some(_), Some(_)) => {
                self.commits.settle(&self.ledger, key).await;
                Arc::new(self.ledger.group_beat(key, member, None).await?.ok_or_else(nothing_known)?)
            }
            (Some(renewed), None) => Arc::new(renewed),
            (None, Some(session)) => session.membership,
            (None, None) => return Err(nothing_known()),
        };
        self.sessions.put(key, member, &membership);
        Ok(membership)
    }

    /// A policy may have lost a topic that a group still reads.
    fn read_by(&self, membership: &Membership) -> Result<Vec<Arc<Topic>>> {
        self.topics().named(membership.counts.keys())
    }
}

fn nothing_known() -> Error {
    Error::bug("a membership that nobody knows has not changed")
}

fn key(access: &Access, name: &str) -> Result<GroupKey> {
    check_name("group", name)?;
    Ok(GroupKey { tenant: access.tenant.clone(), name: name.into() })
}
