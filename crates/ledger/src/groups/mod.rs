//! Consumer groups: which member reads which partitions of the change log, how far each partition is done, and the fence
//! that keeps a member of the past from moving anything (RECORD 16: outside the log, batched).
//!
//! A group's epoch goes up whenever an owner changes. A partition remembers the epoch in which its owner got it; a commit
//! names the epoch under which it was read and moves only partitions that have been the member's since then. So a member
//! that was away too long, or whose name was taken over, commits nothing.

mod assign;
mod letters;
mod statements;

pub use letters::DeadLetter;

use crate::{
    Ledger,
    connection::{classify, reader},
    read::rows::{signed, unsigned, unsigned_int},
};
use deadpool_postgres::{Object, Transaction};
use model::{Error, ErrorKind, Position, Result, Tenant};
use std::{collections::HashMap, fmt, sync::Arc, time::Duration};
use tokio_postgres::IsolationLevel;

/// A group belongs to a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupKey {
    pub tenant: Tenant,
    pub name: Arc<str>,
}

/// One partition of one topic, as a group holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub topic: Arc<str>,
    pub number: u32,
    /// Everything up to here is done.
    pub committed: Position,
    pub member: Option<String>,
    /// The group's when the member got it.
    pub epoch: u64,
}

/// What one member reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    pub epoch: u64,
    pub partitions: Vec<Partition>,
    /// How many partitions each topic has in this group.
    pub counts: HashMap<Arc<str>, u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    pub principal: String,
    pub lease: Duration,
    /// Its lease is over; whoever looks next takes its partitions away.
    pub expired: bool,
}

#[derive(Debug, Clone)]
pub struct Group {
    pub name: String,
    pub epoch: u64,
    pub partitions: Vec<Partition>,
    pub members: Vec<Member>,
}

/// One member's word that it is done with everything up to a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub member: String,
    pub epoch: u64,
    pub through: Position,
}

impl Group {
    /// The names of the topics it reads.
    #[must_use]
    pub fn topics(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.partitions.iter().map(|partition| &*partition.topic).collect();
        names.dedup();
        names
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.name)
    }
}

fn unknown(key: &GroupKey) -> Error {
    Error::not_found("group-unknown", "there is no such consumer group; make it first").with("group", &key.name)
}

fn fenced(member: &str) -> Error {
    let message = "this member's assignment is over: it was away longer than its lease, another took its name, or the \
                   group was moved; poll without a position, and if that is refused too, join again";
    Error::conflict("consumer-fenced", message).with("member", member)
}

impl Ledger {
    /// Makes a group whose partitions all begin after `from`. False: it was there already, and stays as it is.
    pub async fn group_create(&self, key: &GroupKey, topics: &[(&str, u32)], from: Position) -> Result<bool> {
        let (mut names, mut numbers): (Vec<&str>, Vec<i32>) = (Vec::new(), Vec::new());
        for (topic, partitions) in topics {
            names.extend((0..*partitions).map(|_| topic));
            numbers.extend((0..*partitions).filter_map(|number| i32::try_from(number).ok()));
        }
        let (ordinals, at) = (vec![ordinal(from); names.len()], vec![signed(from.n); names.len()]);
        let (tenant, name) = (key.tenant.as_str(), &*key.name);
        let made = self.write_apart(statements::CREATE, &[&tenant, &name, &names, &numbers, &ordinals, &at]).await?;
        Ok(made.first().is_some_and(|row| row.get(0)))
    }

    /// The groups of a tenant, or the one of a name.
    pub async fn groups(&self, tenant: &Tenant, name: Option<&str>) -> Result<Vec<Group>> {
        let mut groups = Vec::new();
        for row in self.rows(statements::LIST, &[&tenant.as_str(), &name]).await? {
            let name: String = row.get(0);
            let partitions = self.rows(statements::POSITIONS, &[&tenant.as_str(), &name]).await?;
            let partitions = partitions.iter().map(|row| self.partition(row)).collect::<Result<_>>()?;
            let members = self.rows(statements::MEMBERS, &[&tenant.as_str(), &name]).await?;
            let members = members.iter().map(member).collect::<Result<_>>()?;
            groups.push(Group { name, epoch: unsigned(row.get(1))?, partitions, members });
        }
        Ok(groups)
    }

    /// Adds a member, or takes its name over: the one before is fenced.
    pub async fn group_join(
        &self,
        key: &GroupKey,
        member: &str,
        principal: &str,
        lease: Duration,
    ) -> Result<Membership> {
        let lease = i32::try_from(lease.as_millis()).unwrap_or(i32::MAX);
        self.locked(key, async |group: &Locked<'_>| {
            group.run(statements::JOIN, &[&group.tenant, &group.name, &member, &principal, &lease]).await?;
            group.run(statements::DISOWN, &[&group.tenant, &group.name, &member]).await?;
            let epoch = group.settle(true).await?;
            group.membership(self, member, epoch).await
        })
        .await
    }

    /// Ends a membership; what it has committed stays committed.
    pub async fn group_leave(&self, key: &GroupKey, member: &str) -> Result<()> {
        self.locked(key, async |group: &Locked<'_>| {
            let left = group.run(statements::LEAVE, &[&group.tenant, &group.name, &member]).await?;
            group.settle(left > 0).await.map(drop)
        })
        .await
    }

    /// Renews a lease. `None`: nothing has changed since `known`.
    pub async fn group_beat(&self, key: &GroupKey, member: &str, known: Option<u64>) -> Result<Option<Membership>> {
        let (tenant, name) = (key.tenant.as_str(), &*key.name);
        let rows = self.write_apart(statements::BEAT, &[&tenant, &name, &member]).await?;
        let row = rows.first().ok_or_else(|| unknown(key))?;
        let (epoch, there, expired): (i64, bool, bool) = (row.get(0), row.get(1), row.get(2));
        if !there {
            return Err(fenced(member));
        }
        if !expired && Some(unsigned(epoch)?) == known {
            return Ok(None);
        }
        let found = self.locked(key, async |group: &Locked<'_>| {
            let epoch = group.settle(false).await?;
            group.membership(self, member, epoch).await
        });
        found.await.map(Some)
    }

    /// Durable when it returns: for each commit, how many partitions it holds for, or `consumer-fenced`.
    pub async fn group_commit(&self, key: &GroupKey, commits: &[Commit]) -> Result<Vec<Result<u64>>> {
        let (tenant, name) = (key.tenant.as_str(), &*key.name);
        let mut answers: Vec<Result<u64>> = Vec::with_capacity(commits.len());
        answers.resize_with(commits.len(), || Ok(0));
        let mut left: Vec<usize> = (0..commits.len()).collect();
        // A statement moves a row once: a member that has two words to say says them one after the other.
        while !left.is_empty() {
            let mut seen = Vec::new();
            let (now, later): (Vec<usize>, Vec<usize>) = left.into_iter().partition(|at| {
                let first = !seen.contains(&&commits[*at].member);
                seen.push(&commits[*at].member);
                first
            });
            let some = || now.iter().map(|at| &commits[*at]);
            let members: Vec<&str> = some().map(|commit| commit.member.as_str()).collect();
            let epochs: Vec<i64> = some().map(|commit| signed(commit.epoch)).collect();
            let ordinals: Vec<i32> = some().map(|commit| ordinal(commit.through)).collect();
            let numbers: Vec<i64> = some().map(|commit| signed(commit.through.n)).collect();
            let rows =
                self.write_apart(statements::COMMIT, &[&tenant, &name, &members, &epochs, &ordinals, &numbers]).await?;
            for (row, at) in rows.iter().zip(&now) {
                let kept = unsigned(row.get(0))?;
                answers[*at] = if kept == 0 { Err(fenced(&commits[*at].member)) } else { Ok(kept) };
            }
            left = later;
        }
        Ok(answers)
    }

    /// Moves a group (or one topic of it) to another place, back or forth; what members have read and not committed is
    /// committed by nobody.
    pub async fn group_seek(&self, key: &GroupKey, topic: Option<&str>, to: Position) -> Result<u64> {
        let (ordinal, n) = (ordinal(to), signed(to.n));
        self.locked(key, async |group: &Locked<'_>| {
            let epoch = signed(group.epoch + 1);
            group.run(statements::RAISE, &[&group.tenant, &group.name, &epoch]).await?;
            group.run(statements::SEEK, &[&group.tenant, &group.name, &epoch, &ordinal, &n, &topic]).await
        })
        .await
    }

    pub async fn group_delete(&self, key: &GroupKey) -> Result<()> {
        let gone = self.write_apart(statements::DELETE, &[&key.tenant.as_str(), &&*key.name]).await?;
        if gone.first().is_some_and(|row| row.get(0)) { Ok(()) } else { Err(unknown(key)) }
    }

    fn partition(&self, row: &tokio_postgres::Row) -> Result<Partition> {
        Ok(Partition {
            topic: row.get::<_, &str>(0).into(),
            number: unsigned_int(row.get(1))?,
            committed: self.record().position(unsigned_int(row.get(2))?, unsigned(row.get(3))?)?,
            member: row.get(4),
            epoch: unsigned(row.get(5))?,
        })
    }

    /// One transaction under the group's row.
    async fn locked<T>(&self, key: &GroupKey, work: impl AsyncFnOnce(&Locked<'_>) -> Result<T>) -> Result<T> {
        let mut client = reader(&self.record().pool).await?;
        let done = async {
            let builder = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
            let transaction = builder.start().await.map_err(|error| classify(&error))?;
            let (tenant, name) = (key.tenant.as_str(), &*key.name);
            let mut group = Locked { transaction, tenant, name, epoch: 0 };
            let found = group.read(statements::LOCK).await?;
            group.epoch = unsigned(found.first().ok_or_else(|| unknown(key))?.get(0))?;
            let done = work(&group).await?;
            group.transaction.commit().await.map_err(|error| classify(&error))?;
            Ok(done)
        };
        let done: Result<T> = done.await;
        if done.as_ref().is_err_and(|error| error.kind() == ErrorKind::Retry) {
            // Its server may be gone or demoted: the next one asks another session.
            drop(Object::take(client));
        }
        done
    }
}

/// A group whose row is locked.
struct Locked<'c> {
    transaction: Transaction<'c>,
    tenant: &'c str,
    name: &'c str,
    epoch: u64,
}

impl Locked<'_> {
    async fn run(&self, text: &str, parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)]) -> Result<u64> {
        let statement = self.transaction.prepare_cached(text).await.map_err(|error| classify(&error))?;
        self.transaction.execute(&statement, parameters).await.map_err(|error| classify(&error))
    }

    async fn read(&self, text: &str) -> Result<Vec<tokio_postgres::Row>> {
        let statement = self.transaction.prepare_cached(text).await.map_err(|error| classify(&error))?;
        self.transaction.query(&statement, &[&self.tenant, &self.name]).await.map_err(|error| classify(&error))
    }

    /// Removes who is away and assigns what has no owner, under the next epoch; gives the group's epoch.
    async fn settle(&self, changed: bool) -> Result<u64> {
        let expired = self.run(statements::EXPIRE, &[&self.tenant, &self.name]).await?;
        if expired == 0 && !changed {
            return Ok(self.epoch);
        }
        let members: Vec<String> = self.read(statements::MEMBERS).await?.iter().map(|row| row.get(0)).collect();
        let rows = self.read(statements::POSITIONS).await?;
        let owners: Vec<Option<String>> = rows.iter().map(|row| row.get(4)).collect();
        let new = assign::assign(&members, &owners);
        let (mut topics, mut numbers, mut moved): (Vec<&str>, Vec<i32>, Vec<Option<&str>>) = Default::default();
        for ((row, owner), new) in rows.iter().zip(&owners).zip(new) {
            let new = new.map(|at| members[at].as_str());
            if owner.as_deref() != new {
                topics.push(row.get(0));
                numbers.push(row.get(1));
                moved.push(new);
            }
        }
        let epoch = signed(self.epoch + 1);
        self.run(statements::RAISE, &[&self.tenant, &self.name, &epoch]).await?;
        self.run(statements::ASSIGN, &[&self.tenant, &self.name, &epoch, &topics, &numbers, &moved]).await?;
        Ok(self.epoch + 1)
    }

    async fn membership(&self, ledger: &Ledger, member: &str, epoch: u64) -> Result<Membership> {
        let mut membership = Membership { epoch, partitions: Vec::new(), counts: HashMap::new() };
        for row in self.read(statements::POSITIONS).await? {
            let partition = ledger.partition(&row)?;
            *membership.counts.entry(partition.topic.clone()).or_default() += 1;
            if partition.member.as_deref() == Some(member) {
                membership.partitions.push(partition);
            }
        }
        Ok(membership)
    }
}

fn member(row: &tokio_postgres::Row) -> Result<Member> {
    let lease = Duration::from_millis(u64::from(unsigned_int(row.get(2))?));
    Ok(Member { name: row.get(0), principal: row.get(1), lease, expired: row.get(3) })
}

fn ordinal(position: Position) -> i32 {
    i32::try_from(position.incarnation.ordinal).unwrap_or(i32::MAX)
}
