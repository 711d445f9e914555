//! What a group may ask, and what it is answered.

use crate::opened::{Opened, group, key, write};
use ledger::{Group, Idempotency, Leadership, Op, Precondition};

#[tokio::test]
async fn versions_go_up_for_ever_across_deletes() {
    let opened = Opened::new().await;
    assert_eq!(opened.ledger.leadership(), Leadership::Leader { epoch: 1 });
    let created = opened.one("a", Op::Create, "1").await.unwrap();
    assert_eq!((created.writes[0].version, created.position.n), (1, 1));
    assert_eq!(opened.one("a", Op::Create, "1").await.unwrap_err().code(), "already-exists");
    let stale = opened.one("a", Op::Replace { expected: 7 }, "2").await.unwrap_err();
    assert_eq!((stale.code(), stale.fact("current")), ("version-conflict", Some("1")));
    assert_eq!(opened.one("a", Op::Replace { expected: 1 }, "2").await.unwrap().writes[0].version, 2);
    assert_eq!(opened.text("a").await, Some((2, "2".into())));
    assert_eq!(opened.one("a", Op::Delete { expected: Some(1) }, "").await.unwrap_err().code(), "version-conflict");
    assert_eq!(opened.one("a", Op::Delete { expected: None }, "").await.unwrap().writes[0].version, 3);
    assert_eq!(opened.text("a").await, None);
    assert_eq!(opened.one("a", Op::Delete { expected: None }, "").await.unwrap_err().code(), "not-found");
    assert_eq!(opened.one("a", Op::Replace { expected: 3 }, "x").await.unwrap_err().code(), "not-found");
    assert_eq!(opened.one("a", Op::Create, "4").await.unwrap().writes[0].version, 4, "over the tombstone");
    assert_eq!(opened.one("a", Op::Put, "5").await.unwrap().writes[0].version, 5);
    assert_eq!(opened.one("b", Op::Put, "1").await.unwrap().writes[0].version, 1);
    let history = opened.ledger.history(&opened.access, &key("a")).await.unwrap();
    assert_eq!(history.iter().map(|version| version.version).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    opened.assert_sound().await;
    opened.ledger.close().await;
    assert_eq!(opened.log.last_write(model::Shard(0)).unwrap().n, 6);
}

#[tokio::test]
async fn crossed_preconditions_never_both_hold() {
    let opened = Opened::new().await;
    for round in 0..20 {
        let (x, y) = (format!("x{round}"), format!("y{round}"));
        let cross = |write_id: &str, absent: &str| Group {
            preconditions: vec![(key(absent), Precondition::Absent)],
            writes: vec![write(write_id, Op::Create, "mine")],
            ..Group::default()
        };
        let (one, two) = tokio::join!(
            opened.ledger.write(&opened.access, cross(&x, &y)),
            opened.ledger.write(&opened.access, cross(&y, &x))
        );
        let failed = [one, two].into_iter().filter_map(Result::err).collect::<Vec<_>>();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].code(), "precondition-failed");
    }
    opened.assert_sound().await;
}

#[tokio::test]
async fn a_group_is_all_or_nothing_and_reads_at_its_position() {
    let opened = Opened::new().await;
    opened.one("a", Op::Create, "old").await.unwrap();
    let transaction = |expected| Group {
        reads: vec![key("a"), key("none")],
        preconditions: vec![(key("a"), Precondition::VersionIs(expected))],
        writes: vec![write("a", Op::Put, "new"), write("b", Op::Create, "b"), write("c", Op::Create, "c")],
        ..Group::default()
    };
    assert_eq!(opened.ledger.write(&opened.access, transaction(9)).await.unwrap_err().code(), "precondition-failed");
    assert_eq!((opened.text("b").await, opened.number("SELECT count(*) FROM nephkeep.change").await), (None, 1));
    let receipt = opened.ledger.write(&opened.access, transaction(1)).await.unwrap();
    assert_eq!(receipt.position.n, 4);
    assert_eq!(receipt.writes.iter().map(|written| written.position.n).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(receipt.reads[0].as_ref().unwrap().version, 1, "the value before its own write");
    assert!(receipt.reads[1].is_none());
    let again = opened.ledger.write(&opened.access, transaction(2)).await.unwrap_err();
    assert_eq!((again.code(), again.fact("id")), ("already-exists", Some("b")));
    let twice = group(vec![write("q", Op::Put, "1"), write("q", Op::Put, "2")]);
    assert_eq!(opened.ledger.write(&opened.access, twice).await.unwrap_err().code(), "key-twice");
    opened.assert_sound().await;
}

#[tokio::test]
async fn a_known_request_is_answered_from_the_log() {
    let opened = Opened::new().await;
    let request = |key: &str, id: &str, body: &'static str| Group {
        idempotency: Some(Idempotency { key: key.into(), body: body.into() }),
        ..group(vec![write(id, Op::Create, body), write(&format!("{id}-2"), Op::Put, body)])
    };
    let first = opened.ledger.write(&opened.access, request("k", "a", "body")).await.unwrap();
    opened.one("a", Op::Put, "later").await.unwrap();
    let again = opened.ledger.write(&opened.access, request("k", "a", "body")).await.unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!((first.position, first.writes[1].position), (again.position, again.writes[1].position));
    assert_eq!(again.writes[0].version, 1, "of the first answer, not of today");
    let other = opened.ledger.write(&opened.access, request("k", "z", "other")).await.unwrap_err();
    assert_eq!(other.code(), "idempotency-mismatch");
    assert_eq!(
        opened.ledger.write(&opened.access, request("k2", "a", "body")).await.unwrap_err().code(),
        "already-exists"
    );
    assert!(
        !opened.ledger.write(&opened.access, request("k2", "b", "new")).await.unwrap().replayed,
        "only effective writes are kept"
    );
    let copies = (0..8).map(|_| opened.ledger.write(&opened.access, request("k3", "c", "new")));
    let copies: Vec<_> = futures_util::future::join_all(copies).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(copies.iter().filter(|receipt| !receipt.replayed).count(), 1);
    opened.assert_sound().await;
}
