//! Consumer groups on a real record: nothing is lost or left out whatever becomes of the members.

use crate::stand::Stand;
use ledger::groups::Commit;
use model::Position;
use parking_lot::Mutex;
use relay::events::{Poll, Polled, Start};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const TOPIC: &str = "configuration.changed";
const LEASE: Duration = Duration::from_secs(60);

fn first(limit: usize) -> Poll {
    Poll { reached: None, processed: None, limit, wait: Duration::ZERO }
}

fn after(polled: &Polled, limit: usize) -> Poll {
    Poll { reached: Some((polled.epoch, polled.next)), processed: Some(polled.next), limit, wait: Duration::ZERO }
}

fn numbers(polled: &Polled) -> Vec<u64> {
    polled.events.iter().map(|event| event.change.position.n).collect()
}

async fn group(stand: &Stand) -> String {
    let name = "billing";
    assert!(stand.events.group_create(&stand.access, name, &[TOPIC], &Start::Earliest).await.unwrap());
    name.to_owned()
}

/// Until nothing of its partitions is left to be read.
async fn drained(stand: &Stand, group: &str, member: &str) -> (Vec<u64>, Polled) {
    let (mut all, mut polled) = (Vec::new(), stand.events.poll(&stand.access, group, member, &first(7)).await.unwrap());
    loop {
        all.extend(numbers(&polled));
        if polled.next.n >= polled.published.n && polled.events.is_empty() {
            return (all, polled);
        }
        polled = stand.events.poll(&stand.access, group, member, &after(&polled, 7)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_share_a_topic_and_one_who_comes_back_goes_on_where_it_committed() {
    let stand = Stand::new().await;
    let group = group(&stand).await;
    let mut written = BTreeSet::new();
    for at in 0..60 {
        written.insert(stand.put(&format!("ran/{at}")).await.n);
    }
    let joined = stand.events.join(&stand.access, &group, "a", LEASE).await.unwrap();
    assert_eq!(joined.partitions.len(), 6);
    stand.events.join(&stand.access, &group, "b", LEASE).await.unwrap();
    let ((a, at_a), (b, _)) = (drained(&stand, &group, "a").await, drained(&stand, &group, "b").await);
    assert!(!a.is_empty() && !b.is_empty() && a.is_sorted() && b.is_sorted());
    assert_eq!(a.iter().chain(&b).copied().collect::<BTreeSet<_>>(), written);
    assert_eq!(a.len() + b.len(), written.len(), "each goes to one member");
    let commit = Commit { member: "a".into(), epoch: at_a.epoch, through: at_a.next };
    assert_eq!(stand.events.commit(&stand.access, &group, commit).await.unwrap(), 3);
    stand.events.leave(&stand.access, &group, "b").await.unwrap();
    // What b had said it was done with was committed when it left: nobody gets it again.
    let polled = stand.events.poll(&stand.access, &group, "a", &first(100)).await.unwrap();
    assert!(polled.events.is_empty(), "{:?}", numbers(&polled));
    let next = stand.put("ran/1").await;
    let polled = stand.events.poll(&stand.access, &group, "a", &after(&polled, 100)).await.unwrap();
    assert_eq!(numbers(&polled), [next.n]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_dies_is_replaced_when_its_lease_is_over_and_fenced_when_it_comes_back() {
    let stand = Stand::new().await;
    let group = group(&stand).await;
    let mut written = BTreeSet::new();
    for at in 0..40 {
        written.insert(stand.put(&format!("ran/{at}")).await.n);
    }
    let lease = relay::events::LEASE_MIN;
    stand.events.join(&stand.access, &group, "dead", lease).await.unwrap();
    let held = stand.events.poll(&stand.access, &group, "dead", &first(100)).await.unwrap();
    assert_eq!(held.events.len(), written.len());
    stand.events.join(&stand.access, &group, "heir", LEASE).await.unwrap();
    // Nobody but PostgreSQL's clock ends the lease; the heir polls and gets the rest of the work.
    let mut seen = BTreeSet::new();
    let mut polled = stand.events.poll(&stand.access, &group, "heir", &first(10)).await.unwrap();
    loop {
        seen.extend(numbers(&polled));
        if seen == written {
            break;
        }
        let again = Poll { wait: Duration::from_millis(500), ..after(&polled, 10) };
        polled = stand.events.poll(&stand.access, &group, "heir", &again).await.unwrap();
    }
    let late = Commit { member: "dead".into(), epoch: held.epoch, through: held.next };
    assert_eq!(stand.events.commit(&stand.access, &group, late).await.unwrap_err().code(), "consumer-fenced");
    let gone = stand.events.poll(&stand.access, &group, "dead", &first(10)).await.unwrap_err();
    assert_eq!(gone.code(), "consumer-fenced");
    let kept = Commit { member: "heir".into(), epoch: polled.epoch, through: polled.next };
    assert_eq!(stand.events.commit(&stand.access, &group, kept).await.unwrap(), 6);
    assert!(stand.events.counted().fenced >= 2);
}

/// Commits are held to one statement a second; what sends none counts for none.
#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_with_nothing_to_commit_delays_no_commit() {
    let stand = Stand::new().await;
    let group = group(&stand).await;
    stand.put("ran/1").await;
    stand.events.join(&stand.access, &group, "a", LEASE).await.unwrap();
    // Renews what was joined just now, and what was noted by then: nothing.
    let polled = stand.events.poll(&stand.access, &group, "a", &first(100)).await.unwrap();
    stand.events.poll(&stand.access, &group, "a", &after(&polled, 100)).await.unwrap();
    let committed = stand.events.group(&stand.access, &group).await.unwrap().partitions;
    assert!(committed.iter().all(|partition| partition.committed == polled.next), "{committed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_plays_the_events_again_from_a_position_or_a_time() {
    let stand = Stand::new().await;
    let group = group(&stand).await;
    let mut at = Vec::new();
    for n in 0..9 {
        at.push(stand.put(&format!("ran/{n}")).await);
    }
    stand.events.join(&stand.access, &group, "a", LEASE).await.unwrap();
    let (all, polled) = drained(&stand, &group, "a").await;
    assert_eq!(all.len(), 9);
    let page = stand.ledger.log_after(None, 100, Duration::ZERO).await.unwrap();
    let fifth = page.changes.iter().find(|change| change.position == at[4]).unwrap();
    let time = jiff::Timestamp::from_microsecond(model::Hlc(fifth.hlc).micros().cast_signed()).unwrap();
    for to in [Start::At(at[3]), Start::Time(time)] {
        let (to, moved) = stand.events.seek(&stand.access, &group, Some(TOPIC), &to).await.unwrap();
        assert_eq!(moved, 6);
        assert!(to.n <= at[3].n);
        let stale = Commit { member: "a".into(), epoch: polled.epoch, through: polled.next };
        assert_eq!(stand.events.commit(&stand.access, &group, stale).await.unwrap_err().code(), "consumer-fenced");
        let (again, _) = drained(&stand, &group, "a").await;
        assert_eq!(again, at[4..].iter().map(|at| at.n).collect::<Vec<_>>());
    }
    let ahead = Start::At(Position { n: at[8].n + 100, ..at[8] });
    let refused = stand.events.seek(&stand.access, &group, None, &ahead).await.unwrap_err();
    assert_eq!(refused.code(), "position-ahead");
    let unread = stand.events.seek(&stand.access, &group, Some("intent.lifecycle"), &Start::Earliest).await;
    assert_eq!(unread.unwrap_err().code(), "topic-unknown");
}

/// What all members together have done, in the order in which they did it.
#[derive(Default)]
struct Done {
    log: Mutex<Vec<(String, u64)>>,
    over: AtomicBool,
}

/// A small generator: the same seed, the same life.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Joins, reads and commits, leaves or dies without a word, again and again, under one name or another.
async fn life(stand: Arc<Stand>, group: String, seed: u64, done: Arc<Done>) {
    let mut dice = Dice(seed);
    for round in 0_u64.. {
        if done.over.load(Ordering::SeqCst) {
            return;
        }
        let member = format!("m{seed}-{}", round % 2);
        stand.events.join(&stand.access, &group, &member, LEASE).await.unwrap();
        let mut asked = first(5);
        for _ in 0..=dice.roll(12) {
            let Ok(polled) = stand.events.poll(&stand.access, &group, &member, &asked).await else { break };
            let told = polled.events.iter().map(|event| (event.change.key.id.to_string(), event.change.position.n));
            done.log.lock().extend(told);
            asked = after(&polled, 1 + usize::try_from(dice.roll(9)).unwrap());
            // Not everybody says what it is done with.
            if dice.roll(3) == 0 {
                asked.processed = None;
            }
        }
        match dice.roll(3) {
            0 => stand.events.leave(&stand.access, &group, &member).await.unwrap(),
            1 => stand.expire(&member).await,
            // Its name is taken over by its own next life.
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_left_out_while_members_come_go_and_die() {
    let stand = Arc::new(Stand::new().await);
    let (group, done) = (group(&stand).await, Arc::new(Done::default()));
    let lives: Vec<_> =
        (1..=4).map(|seed| tokio::spawn(life(Arc::clone(&stand), group.clone(), seed, Arc::clone(&done)))).collect();
    let mut written = BTreeSet::new();
    for at in 0..600 {
        written.insert(stand.put(&format!("ran/{}", at % 40)).await.n);
    }
    done.over.store(true, Ordering::SeqCst);
    for life in lives {
        life.await.unwrap();
    }
    for at in 1..=4 {
        stand.expire(&format!("m{at}-0")).await;
        stand.expire(&format!("m{at}-1")).await;
    }
    stand.events.join(&stand.access, &group, "last", LEASE).await.unwrap();
    let mut polled = stand.events.poll(&stand.access, &group, "last", &first(100)).await.unwrap();
    while !(polled.events.is_empty() && polled.next.n >= polled.published.n) {
        done.log.lock().extend(polled.events.iter().map(|e| (e.change.key.id.to_string(), e.change.position.n)));
        polled = stand.events.poll(&stand.access, &group, "last", &after(&polled, 100)).await.unwrap();
    }
    let log = done.log.lock();
    assert_eq!(log.iter().map(|(_, n)| *n).collect::<BTreeSet<_>>(), written, "nothing is lost, nothing invented");
    // Repetitions may stand anywhere; what is new of a key comes in the order of the log.
    let mut reached: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for (key, n) in log.iter() {
        let seen = reached.entry(key).or_default();
        assert!(seen.contains(n) || seen.last().is_none_or(|last| last < n), "{key} {n} after {seen:?}");
        seen.insert(*n);
    }
}

/// Readers are held to a topic's retention; what is older is gone for them, and they are told where to begin.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_retention_is_not_delivered() {
    let stand = Stand::new().await;
    let mut at = Vec::new();
    for n in 0..6 {
        at.push(stand.put(&format!("ran/{n}")).await);
    }
    stand.age(at[2].n, 31).await;
    let topic = Arc::clone(stand.events.topics().get(TOPIC).unwrap());
    let topics = [topic];
    let earliest = stand.events.place(&Start::Earliest, &topics).await.unwrap();
    assert_eq!(earliest, at[2]);
    let page = stand.events.after(&stand.access, &topics, earliest, 100, Duration::ZERO).await.unwrap();
    let read: Vec<u64> = page.events.iter().map(|event| event.change.position.n).collect();
    assert_eq!(read, at[3..].iter().map(|at| at.n).collect::<Vec<_>>());
    let gone = stand.events.after(&stand.access, &topics, at[0], 100, Duration::ZERO).await.unwrap_err();
    assert_eq!((gone.code(), gone.fact("earliest")), ("position-gone", Some(&*at[2].to_string())));
    // A group that stands there is told too, and goes on once it is moved.
    let group = group(&stand).await;
    stand.events.join(&stand.access, &group, "a", LEASE).await.unwrap();
    let (read, _) = drained(&stand, &group, "a").await;
    assert_eq!(read.len(), 3);
    let refused = stand.events.seek(&stand.access, &group, None, &Start::At(at[1])).await.unwrap_err();
    assert_eq!(refused.code(), "position-gone");
    let long_ago = Start::Time(jiff::Timestamp::UNIX_EPOCH);
    let (to, _) = stand.events.seek(&stand.access, &group, None, &long_ago).await.unwrap();
    assert_eq!(to, at[2], "a time before the retention is its beginning");
}
