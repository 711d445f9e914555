//! The fixed cases of Hermitage (Kleppmann), as far as one-shot transactions can express them.
//!
//! A transaction here is one request, so nobody can step in between two of its statements; what can happen is that
//! two meet in one batch, and that a client decides by what it read in an earlier transaction. Not expressible: G1b
//! (a group writes a key once; a second write is refused, which is tested), and the predicate forms of PMP and G2 (a
//! group cannot select by content; their one predicate, "there is no such key", is tested instead, and G2 by
//! `writing::crossed_preconditions_never_both_hold`).

use crate::opened::{Opened, group, key, write};
use ledger::{Content, Group, Op, Precondition, Receipt, Resource};
use model::Version;

/// Each case several times: whether two groups meet in one batch is chance.
const ROUNDS: usize = 12;

fn text(resource: Option<&Resource>) -> Option<(Version, String)> {
    let resource = resource?;
    let Content::Clear(document) = &resource.document else { panic!("not in clear") };
    let value: serde_json::Value = serde_json::from_slice(document).unwrap();
    Some((resource.version, value["text"].as_str().unwrap().to_owned()))
}

fn reading(ids: &[&str]) -> Group {
    Group { reads: ids.iter().map(|id| key(id)).collect(), ..Group::default() }
}

fn puts(ids: &[&str], value: &str) -> Group {
    group(ids.iter().map(|id| write(id, Op::Put, value)).collect())
}

impl Opened {
    async fn run(&self, group: Group) -> Result<Receipt, String> {
        self.ledger.write(&self.access, group).await.map_err(|error| error.code().to_owned())
    }
    /// Values of several keys at one position.
    async fn snapshot(&self, ids: &[&str]) -> Vec<Option<(Version, String)>> {
        let receipt = self.run(reading(ids)).await.unwrap();
        receipt.reads.iter().map(|resource| text(resource.as_ref())).collect()
    }
    async fn begin() -> Self {
        let opened = Self::new().await;
        opened.run(puts(&["x", "y"], "0")).await.unwrap();
        opened
    }
}

#[tokio::test]
async fn g0_writes_of_two_transactions_do_not_mix() {
    let opened = Opened::begin().await;
    for round in 0..ROUNDS {
        let (one, two) = (format!("one-{round}"), format!("two-{round}"));
        let (first, second) = tokio::join!(opened.run(puts(&["x", "y"], &one)), opened.run(puts(&["y", "x"], &two)));
        let last = if first.unwrap().position.n > second.unwrap().position.n { one } else { two };
        let found = opened.snapshot(&["x", "y"]).await;
        assert!(found.iter().all(|found| found.as_ref().unwrap().1 == last), "{found:?}, last {last}");
    }
    opened.assert_sound().await;
}

#[tokio::test]
async fn g1a_what_is_refused_is_never_read() {
    let opened = Opened::begin().await;
    for _ in 0..ROUNDS {
        let refused = Group { preconditions: vec![(key("y"), Precondition::Absent)], ..puts(&["x", "z"], "aborted") };
        let (refused, during) = tokio::join!(opened.run(refused), opened.snapshot(&["x", "z"]));
        assert_eq!(refused.unwrap_err(), "precondition-failed");
        for found in [during, opened.snapshot(&["x", "z"]).await] {
            assert_eq!(found, [Some((1, "0".to_owned())), None]);
        }
        assert_eq!(opened.text("x").await, Some((1, "0".to_owned())), "nor by a read that may be remembered");
    }
}

#[tokio::test]
async fn g1b_there_are_no_intermediate_versions() {
    let opened = Opened::begin().await;
    let twice = group(vec![write("x", Op::Put, "101"), write("x", Op::Put, "11")]);
    assert_eq!(opened.run(twice).await.unwrap_err(), "key-twice");
    assert_eq!(opened.text("x").await, Some((1, "0".to_owned())));
}

#[tokio::test]
async fn g1c_information_does_not_flow_in_a_circle() {
    let opened = Opened::begin().await;
    for round in 0..ROUNDS {
        let value = format!("round {round}");
        let one = Group { reads: vec![key("y")], ..puts(&["x"], &value) };
        let two = Group { reads: vec![key("x")], ..puts(&["y"], &value) };
        let (one, two) = tokio::join!(opened.run(one), opened.run(two));
        let saw = |receipt: Result<Receipt, String>| text(receipt.unwrap().reads[0].as_ref()).unwrap().1 == value;
        assert!(saw(one) ^ saw(two), "exactly the later one sees the other");
    }
}

#[tokio::test]
async fn otv_an_observed_transaction_does_not_vanish() {
    let opened = Opened::begin().await;
    for round in 0..ROUNDS {
        let (one, two) = (format!("one-{round}"), format!("two-{round}"));
        let looking = async {
            let mut seen = Vec::new();
            for _ in 0..4 {
                seen.push(opened.snapshot(&["x", "y"]).await);
            }
            seen
        };
        let (first, second, seen) =
            tokio::join!(opened.run(puts(&["x", "y"], &one)), opened.run(puts(&["x", "y"], &two)), looking);
        assert!(first.is_ok() && second.is_ok());
        let mut before = 0;
        for found in seen {
            assert_eq!(found[0], found[1], "both keys move together");
            let version = found[0].as_ref().unwrap().0;
            assert!(version >= before, "what was seen stays seen");
            before = version;
        }
    }
}

#[tokio::test]
async fn pmp_absence_holds_at_the_position_of_the_commit() {
    let opened = Opened::begin().await;
    for round in 0..ROUNDS {
        let id = format!("k{round}");
        let none = Group { preconditions: vec![(key(&id), Precondition::Absent)], ..puts(&["x"], "there is none") };
        let (none, created) = tokio::join!(opened.run(none), opened.run(puts(&[&id], "one")));
        let created = created.unwrap().position.n;
        match none {
            Ok(receipt) => assert!(receipt.position.n < created),
            Err(code) => assert_eq!(code, "precondition-failed"),
        }
        let late = Group { preconditions: vec![(key(&id), Precondition::Absent)], ..puts(&["x"], "still none") };
        assert_eq!(opened.run(late).await.unwrap_err(), "precondition-failed");
    }
}

#[tokio::test]
async fn p4_of_two_updates_of_one_version_one_is_refused() {
    let opened = Opened::begin().await;
    for _ in 0..ROUNDS {
        let (version, _) = opened.text("x").await.unwrap();
        let update = |value: &str| group(vec![write("x", Op::Replace { expected: version }, value)]);
        let (one, two) = tokio::join!(opened.run(update("11")), opened.run(update("12")));
        let kept = match (one, two) {
            (Ok(_), Err(code)) => (code, "11"),
            (Err(code), Ok(_)) => (code, "12"),
            other => panic!("exactly one may win: {other:?}"),
        };
        assert_eq!(kept.0, "version-conflict");
        assert_eq!(opened.text("x").await, Some((version + 1, kept.1.to_owned())));
    }
}

#[tokio::test]
async fn g_single_a_decision_on_an_old_read_is_refused() {
    let opened = Opened::begin().await;
    for round in 0..ROUNDS {
        let (version, _) = opened.text("x").await.unwrap();
        opened.run(puts(&["x", "y"], &format!("round {round}"))).await.unwrap();
        let rest = Group { preconditions: vec![(key("x"), Precondition::VersionIs(version))], ..reading(&["y"]) };
        assert_eq!(opened.run(rest).await.unwrap_err(), "precondition-failed");
    }
}

#[tokio::test]
async fn g2_item_of_two_skewed_writes_one_is_refused() {
    let opened = Opened::begin().await;
    for _ in 0..ROUNDS {
        let found = opened.snapshot(&["x", "y"]).await;
        let versions: Vec<Version> = found.iter().map(|found| found.as_ref().unwrap().0).collect();
        let skewed = |own: usize, other: usize| {
            let ids = ["x", "y"];
            Group {
                preconditions: vec![(key(ids[other]), Precondition::VersionIs(versions[other]))],
                ..group(vec![write(ids[own], Op::Replace { expected: versions[own] }, "skewed")])
            }
        };
        let (one, two) = tokio::join!(opened.run(skewed(0, 1)), opened.run(skewed(1, 0)));
        let codes: Vec<String> = [one, two].into_iter().filter_map(Result::err).collect();
        assert_eq!(codes, ["precondition-failed"]);
    }
    opened.assert_sound().await;
}
