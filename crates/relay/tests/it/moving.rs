//! Copies of a record that moves: while they are made anew, compared or stopped, and when it comes back another.

use crate::{
    held::{Held, Lengths},
    stand::Stand,
};
use bytes::Bytes;
use ledger::{Group, Op, Write};
use model::{Class, Columns, Incarnation, Kind, Position, Prepared, ResourceKey, Subject};
use relay::{Relay, What};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use stores::{ChangeBatch, Projection};

fn key(stand: &Stand, id: &str) -> ResourceKey {
    ResourceKey::new(&stand.access.tenant, Kind::Configuration, id).unwrap()
}

async fn put(stand: &Stand, id: &str, text: &'static str) -> Position {
    let (subject, columns) = (Subject::of_tenant(&stand.access.tenant), Columns::default());
    let document = Prepared { document: Bytes::from_static(text.as_bytes()), class: Class::Internal, subject, columns };
    write(stand, id, Op::Put, Some(document)).await
}

async fn write(stand: &Stand, id: &str, op: Op, document: Option<Prepared>) -> Position {
    let group = Group { writes: vec![Write { key: key(stand, id), op, document }], ..Group::default() };
    stand.ledger.write(&stand.access, group).await.unwrap().position
}

fn relay(stand: &Stand, held: &Arc<Held>) -> Relay {
    Relay::new(&stand.ledger, vec![(Arc::clone(held) as Arc<dyn Projection>, Arc::new(Lengths))])
}

async fn until(relay: &Relay, at: Position) {
    let end = Instant::now() + Duration::from_secs(30);
    while relay.status()[0].position.is_none_or(|position| position.n < at.n || position.incarnation != at.incarnation)
    {
        assert!(Instant::now() < end, "{:?}", relay.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_cannot_be_shaped_is_named_and_holds_up_no_other() {
    let stand = Stand::new().await;
    let held = Held::new();
    put(&stand, "ran/0", "{}").await;
    let relay = relay(&stand, &held);
    relay.start();
    put(&stand, "ran/1", "\"broken\"").await;
    let last = put(&stand, "ran/2", "{}").await;
    until(&relay, last).await;
    let status = &relay.status()[0];
    assert_eq!((status.unshaped, status.error.as_ref()), (1, None));
    assert_eq!(status.unshaped_named, [(key(&stand, "ran/1"), "knowledge-malformed")]);
    for verified in [relay.verify("held").await.unwrap(), relay.rebuild("held").await.unwrap()] {
        assert_eq!((verified.keys, verified.differing, verified.unshaped), (2, 0, 1));
        assert_eq!(verified.unshaped_named, [(key(&stand, "ran/1"), "knowledge-malformed")]);
    }
    let mended = put(&stand, "ran/1", "[]").await;
    until(&relay, mended).await;
    assert_eq!(relay.status()[0].unshaped, 0);
    assert_eq!(relay.verify("held").await.unwrap().keys, 3);
    relay.close().await;
}

/// What a restore to an earlier moment leaves: a copy that is further, in a life that never was.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_another_life_of_the_record_is_made_anew_by_itself() {
    let stand = Stand::new().await;
    let held = Held::new();
    let at = put(&stand, "ran/0", "{}").await;
    let other = Position { incarnation: Incarnation { ordinal: 7, random: 7 }, n: at.n + 1_000, ..at };
    held.apply(&ChangeBatch { through: other, changes: Vec::new() }).unwrap();
    let relay = relay(&stand, &held);
    // It is further than the record: only its life says that it is not there.
    assert_eq!(relay.verify("held").await.unwrap_err().code(), "position-voided");
    assert_eq!(relay.repair("held", &[key(&stand, "ran/0")]).await.unwrap_err().code(), "position-voided");
    relay.start();
    until(&relay, at).await;
    let status = &relay.status()[0];
    assert_eq!((status.generation, status.rebuilt_because), (2, Some("position-voided")));
    assert_eq!(relay.verify("held").await.unwrap().differing, 0);
    relay.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_counts_what_is_as_it_should_be_and_names_what_is_not() {
    let stand = Stand::new().await;
    let held = Held::new();
    let relay = relay(&stand, &held);
    let keys: Vec<_> = (0..4).map(|n| key(&stand, &format!("ran/{n}"))).collect();
    for n in 0..3 {
        put(&stand, &format!("ran/{n}"), "{}").await;
    }
    let verified = relay.verify("held").await.unwrap();
    assert_eq!((verified.keys, verified.differing), (3, 0));
    // One is gone from the copy, one is there as of a position that the record has not reached.
    held.keys.lock().remove(&keys[2]);
    held.keys.lock().entry(keys[1].clone()).and_modify(|change| change.position.n += 500);
    assert_eq!(relay.verify("held").await.unwrap().differing, 2);
    let repaired = relay.repair("held", &[keys.clone(), keys.clone()].concat()).await.unwrap();
    assert_eq!(repaired.applied, 3, "the first, the one that was gone, and the one that never was");
    assert_eq!(repaired.absent, &keys[3..]);
    assert_eq!((&repaired.left[0].key, repaired.left[0].what, repaired.left.len()), (&keys[1], What::Different, 1));
    assert_eq!(relay.verify("held").await.unwrap().differing, 1);
    assert_eq!(relay.rebuild("held").await.unwrap().differing, 0);
    write(&stand, "ran/0", Op::Delete { expected: None }, None).await;
    let repaired = relay.repair("held", &keys[..2]).await.unwrap();
    assert_eq!((repaired.applied, &*repaired.absent, repaired.left.len()), (2, &keys[..1], 0));
    let foreign = ResourceKey::new(&stand.access.tenant, Kind::Intent, "x").unwrap();
    assert_eq!(relay.repair("held", &[foreign]).await.unwrap_err().code(), "copy-kind-foreign");
    relay.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_while_a_copy_is_made_anew_or_compared_is_in_it() {
    let stand = Arc::new(Stand::new().await);
    let held = Held::new();
    for n in 0..150 {
        put(&stand, &format!("ran/{n:03}"), "{}").await;
    }
    let relay = relay(&stand, &held);
    let writer = Arc::clone(&stand);
    let writing = tokio::spawn(async move {
        for n in 0..150 {
            match n % 3 {
                0 => drop(put(&writer, &format!("ran/{n:03}"), "[1,2]").await),
                1 => drop(write(&writer, &format!("ran/{n:03}"), Op::Delete { expected: None }, None).await),
                _ => drop(put(&writer, &format!("new/{n:03}"), "{}").await),
            }
        }
    });
    while !writing.is_finished() {
        assert_eq!(relay.rebuild("held").await.unwrap().differing, 0);
        assert_eq!(relay.verify("held").await.unwrap().differing, 0);
    }
    writing.await.unwrap();
    let last = relay.verify("held").await.unwrap();
    assert_eq!((last.keys, last.differing), (150, 0));
    assert!(held.shared.most_in_a_batch.load(Ordering::SeqCst) <= 256);
    relay.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_one_batch_and_the_old_copy_stays() {
    let stand = Stand::new().await;
    let held = Held::new();
    for n in 0..200 {
        put(&stand, &format!("ran/{n:03}"), "{}").await;
    }
    let (met, meets) = std::sync::mpsc::sync_channel(1);
    let (go, goes) = std::sync::mpsc::sync_channel::<()>(1);
    *held.shared.meanwhile.lock() = Some(Box::new(move || {
        let _gone = met.send(());
        let _go = goes.recv();
    }));
    let relay = relay(&stand, &held);
    relay.start();
    tokio::task::spawn_blocking(move || meets.recv().unwrap()).await.unwrap();
    let mut closing = std::pin::pin!(relay.close());
    tokio::select! {
        biased;
        () = &mut closing => panic!("a batch is under way"),
        () = std::future::ready(()) => {}
    }
    drop(go);
    closing.await;
    assert_eq!(held.shared.applied.load(Ordering::SeqCst), 1);
    assert_eq!(relay.status()[0].generation, 1);
    assert_eq!(relay.verify("held").await.unwrap_err().code(), "stopping");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_concern_a_copy_is_looked_at_and_remembered_at_the_end() {
    let stand = Stand::new().await;
    let held = Held::new();
    let relay = relay(&stand, &held);
    let first = put(&stand, "ran/0", "{}").await;
    relay.verify("held").await.unwrap();
    relay.start();
    until(&relay, first).await;
    let written = held.shared.applied.load(Ordering::SeqCst);
    let (subject, columns) = (Subject::of_tenant(&stand.access.tenant), Columns::default());
    let document = Prepared { document: Bytes::from_static(b"{}"), class: Class::Internal, subject, columns };
    let key = ResourceKey::new(&stand.access.tenant, Kind::KnowledgeDocument, "k").unwrap();
    let group = Group { writes: vec![Write { key, op: Op::Put, document: Some(document) }], ..Group::default() };
    let last = stand.ledger.write(&stand.access, group).await.unwrap().position;
    until(&relay, last).await;
    assert_eq!((held.shared.applied.load(Ordering::SeqCst), relay.status()[0].lag_changes), (written, 0));
    relay.close().await;
    assert_eq!(held.position(), Some(last));
}
