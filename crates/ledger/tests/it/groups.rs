//! Consumer groups: who owns what, how far it is done, and who may say so. Leases are ended by hand: nothing here waits.

use crate::opened::{Opened, group, tenant, write};
use ledger::{GroupKey, Membership, Op, groups::Commit};
use model::Position;
use std::{collections::BTreeSet, time::Duration};

const LEASE: Duration = Duration::from_secs(60);
/// As if it had been away too long.
const AWAY: &str = "UPDATE nephkeep.consumer_member SET expires = '-infinity' WHERE member = 'late'";

fn named(name: &str) -> GroupKey {
    GroupKey { tenant: tenant(), name: name.into() }
}

/// Some changes, and the position of each.
async fn changes(opened: &Opened, count: usize) -> Vec<Position> {
    let mut positions = Vec::new();
    for at in 0..count {
        let receipt = opened.ledger.write(&opened.access, group(vec![write(&format!("k{at}"), Op::Put, "x")])).await;
        positions.push(receipt.unwrap().position);
    }
    positions
}

fn origin(position: Position) -> Position {
    Position { n: 0, ..position }
}

fn numbers(membership: &Membership) -> BTreeSet<u32> {
    membership.partitions.iter().map(|partition| partition.number).collect()
}

fn commit(member: &str, membership: &Membership, through: Position) -> Vec<Commit> {
    vec![Commit { member: member.into(), epoch: membership.epoch, through }]
}

async fn committed(opened: &Opened, key: &GroupKey) -> Vec<u64> {
    let groups = opened.ledger.groups(&key.tenant, Some(&key.name)).await.unwrap();
    groups[0].partitions.iter().map(|partition| partition.committed.n).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_shared_evenly_and_who_stays_keeps_what_he_can() {
    let opened = Opened::new().await;
    let (key, at) = (named("g"), changes(&opened, 3).await);
    assert_eq!(opened.ledger.group_join(&key, "a", "p", LEASE).await.unwrap_err().code(), "group-unknown");
    assert!(opened.ledger.group_create(&key, &[("t", 4)], origin(at[0])).await.unwrap());
    assert!(!opened.ledger.group_create(&key, &[("t", 9)], at[2]).await.unwrap(), "it stays as it is");
    let a = opened.ledger.group_join(&key, "a", "p", LEASE).await.unwrap();
    assert_eq!((numbers(&a).len(), a.counts["t"]), (4, 4));
    let b = opened.ledger.group_join(&key, "b", "p", LEASE).await.unwrap();
    let a2 = opened.ledger.group_beat(&key, "a", Some(a.epoch)).await.unwrap().expect("the epoch went up");
    assert!(numbers(&a2).is_subset(&numbers(&a)) && numbers(&a2).len() == 2);
    assert_eq!(numbers(&a2).union(&numbers(&b)).count(), 4);
    assert_eq!(opened.ledger.group_beat(&key, "a", Some(a2.epoch)).await.unwrap(), None);
    assert!(a2.partitions.iter().all(|partition| partition.epoch == a.epoch), "what stays keeps its epoch");
    opened.ledger.group_leave(&key, "b").await.unwrap();
    let a3 = opened.ledger.group_beat(&key, "a", Some(a2.epoch)).await.unwrap().unwrap();
    assert_eq!(numbers(&a3).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_the_past_commits_nothing() {
    let opened = Opened::new().await;
    let (key, at) = (named("g"), changes(&opened, 5).await);
    opened.ledger.group_create(&key, &[("t", 2)], origin(at[0])).await.unwrap();
    let late = opened.ledger.group_join(&key, "late", "p", LEASE).await.unwrap();
    assert_eq!(opened.ledger.group_commit(&key, &commit("late", &late, at[1])).await.unwrap()[0].as_ref().unwrap(), &2);
    opened.sql().await.batch_execute(AWAY).await.unwrap();
    // Somebody else looks: the lease is over.
    let next = opened.ledger.group_join(&key, "next", "p", LEASE).await.unwrap();
    assert_eq!(numbers(&next).len(), 2);
    assert!(next.partitions.iter().all(|partition| partition.committed.n == at[1].n), "it goes on where the other was");
    let refused = opened.ledger.group_commit(&key, &commit("late", &late, at[4])).await.unwrap();
    assert_eq!(refused[0].as_ref().unwrap_err().code(), "consumer-fenced");
    assert_eq!(opened.ledger.group_beat(&key, "late", None).await.unwrap_err().code(), "consumer-fenced");
    assert_eq!(committed(&opened, &key).await, [at[1].n; 2]);
    // A name taken over: the same name, another member.
    let again = opened.ledger.group_join(&key, "next", "p", LEASE).await.unwrap();
    let refused = opened.ledger.group_commit(&key, &commit("next", &next, at[3])).await.unwrap();
    assert_eq!(refused[0].as_ref().unwrap_err().code(), "consumer-fenced");
    assert!(opened.ledger.group_commit(&key, &commit("next", &again, at[3])).await.unwrap()[0].is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_moves_only_what_was_read_under_its_epoch_and_only_forward() {
    let opened = Opened::new().await;
    let (key, at) = (named("g"), changes(&opened, 5).await);
    opened.ledger.group_create(&key, &[("t", 2)], origin(at[0])).await.unwrap();
    let a = opened.ledger.group_join(&key, "a", "p", LEASE).await.unwrap();
    let b = opened.ledger.group_join(&key, "b", "p", LEASE).await.unwrap();
    let a2 = opened.ledger.group_beat(&key, "a", Some(a.epoch)).await.unwrap().unwrap();
    opened.ledger.group_leave(&key, "b").await.unwrap();
    // `a` has both again, but what it read under the old epoch says nothing of the partition that was away.
    let kept = opened.ledger.group_commit(&key, &commit("a", &a2, at[3])).await.unwrap();
    assert_eq!(kept[0].as_ref().unwrap(), &1);
    let mut expected = [0, 0];
    expected[*numbers(&a2).first().unwrap() as usize] = at[3].n;
    assert_eq!(committed(&opened, &key).await, expected);
    assert!(numbers(&b).is_disjoint(&numbers(&a2)));
    let a3 = opened.ledger.group_beat(&key, "a", Some(a2.epoch)).await.unwrap().unwrap();
    let two = [commit("a", &a3, at[1]), commit("a", &a2, at[2])].concat();
    assert!(opened.ledger.group_commit(&key, &two).await.unwrap().iter().all(Result::is_ok));
    expected[1 - *numbers(&a2).first().unwrap() as usize] = at[1].n;
    assert_eq!(committed(&opened, &key).await, expected, "never back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_moves_back_and_what_was_read_before_is_committed_by_nobody() {
    let opened = Opened::new().await;
    let (key, at) = (named("g"), changes(&opened, 4).await);
    opened.ledger.group_create(&key, &[("t", 2), ("u", 1)], at[3]).await.unwrap();
    let a = opened.ledger.group_join(&key, "a", "p", LEASE).await.unwrap();
    assert_eq!(opened.ledger.group_seek(&key, Some("t"), at[0]).await.unwrap(), 2);
    assert_eq!(committed(&opened, &key).await, [at[0].n, at[0].n, at[3].n]);
    let stale = opened.ledger.group_commit(&key, &commit("a", &a, at[2])).await.unwrap();
    assert_eq!(stale[0].as_ref().unwrap(), &1, "only the topic that was not moved is still its own");
    assert_eq!(committed(&opened, &key).await, [at[0].n, at[0].n, at[3].n]);
    let moved = opened.ledger.group_beat(&key, "a", Some(a.epoch)).await.unwrap().unwrap();
    assert_eq!(opened.ledger.group_commit(&key, &commit("a", &moved, at[2])).await.unwrap()[0].as_ref().unwrap(), &3);
    opened.ledger.group_delete(&key).await.unwrap();
    assert_eq!(opened.ledger.group_delete(&key).await.unwrap_err().code(), "group-unknown");
    assert!(opened.ledger.groups(&key.tenant, None).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_in_time_and_single_changes_are_found() {
    let opened = Opened::new().await;
    let at = changes(&opened, 6).await;
    let ledger = &opened.ledger;
    ledger.wait_for(at[5], LEASE).await.unwrap();
    let page = ledger.log_after(None, 100, Duration::ZERO).await.unwrap();
    assert_eq!(ledger.position_before(0).await.unwrap(), None);
    for (before, change) in page.changes.windows(2).map(|pair| (&pair[0], &pair[1])) {
        let micros = model::Hlc(change.hlc).micros();
        let found = ledger.position_before(micros).await.unwrap().unwrap();
        assert!(found.n <= before.position.n, "{found} for {}", change.position);
        // Everything from that moment on comes after it.
        assert!(page.changes.iter().all(|c| model::Hlc(c.hlc).micros() < micros || c.position.n > found.n));
        let held = model::Hlc(page.changes[found.n as usize - 1].hlc).micros();
        assert!(held < micros, "and nothing before that moment does");
    }
    assert_eq!(ledger.position_before(u64::MAX >> 11).await.unwrap().unwrap().n, at[5].n);
    let found = ledger.changes_at(&opened.access, &[at[4], at[1]]).await.unwrap();
    let found: Vec<_> = found.iter().map(|change| change.as_ref().unwrap().position).collect();
    assert_eq!(found, [at[4], at[1]]);
    assert_eq!(ledger.resume(Position { n: at[5].n + 1, ..at[5] }).unwrap_err().code(), "position-ahead");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_stays_with_its_reason_until_it_is_taken() {
    let opened = Opened::new().await;
    let (at, tenant) = (changes(&opened, 2).await, tenant());
    for (topic, reason) in [("t", "status 500"), ("t", "status 410"), ("u", "too large")] {
        opened.ledger.letter_bury(&tenant, "sink/s", (topic, at[1]), (3, reason)).await.unwrap();
    }
    let letters = opened.ledger.letters(&tenant, "sink/s", 0, 10).await.unwrap();
    let told: Vec<_> = letters.iter().map(|l| (l.topic.as_str(), l.position, l.attempts, l.reason.as_str())).collect();
    assert_eq!(told, [("t", at[1], 6, "status 410"), ("u", at[1], 3, "too large")]);
    opened.ledger.letter_remove(&tenant, "sink/s", "t", at[1]).await.unwrap();
    assert_eq!(opened.ledger.letters(&tenant, "sink/s", 0, 10).await.unwrap().len(), 1);
    assert!(opened.ledger.letters(&tenant, "sink/other", 0, 10).await.unwrap().is_empty());
}
