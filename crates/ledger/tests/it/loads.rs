//! Many at once: the log stays gapless, refusals cost only who caused them, readers miss nothing.

use crate::opened::{Opened, group, key, quick, tenant, write};
use crate::shared;
use ledger::{Change, Group, Op, Precondition, Settings};
use model::{Access, Columns, Kind, ResourceKey, Role, Tenant};
use std::{collections::BTreeMap, time::Duration};

/// 64 writers over few keys with every operation, right and wrong expectations, documents that cannot be stored.
#[tokio::test]
async fn the_log_is_gapless_under_many_writers_that_fail_at_random() {
    let opened = Opened::new().await;
    let writer = |seed: u64| {
        let opened = &opened;
        // Principals of their own: who fails too often is held off.
        let access = Access::new(&format!("p{seed}"), &[Role::Writer], &tenant(), "test");
        async move {
            let (mut state, mut done) = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, Vec::new());
            let mut random = |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            for _ in 0..40 {
                let id = format!("k{}", random(24));
                let op = match random(6) {
                    0 => Op::Create,
                    1 => Op::Replace { expected: random(4) + 1 },
                    2 => Op::Delete { expected: None },
                    3 => Op::Delete { expected: Some(random(4) + 1) },
                    _ => Op::Put,
                };
                let mut asked = group(vec![write(&id, op, "x")]);
                if random(4) == 0 {
                    asked.writes.push(write(&format!("m{}", random(24)), Op::Put, "y"));
                    asked.preconditions.push((key(&format!("k{}", random(24))), Precondition::Present));
                }
                if random(16) == 0
                    && let Some(document) = &mut asked.writes[0].document
                {
                    document.columns = Columns { at_type: Some("\0".into()), ..Columns::default() };
                }
                match opened.ledger.write(&access, asked).await {
                    Ok(receipt) => done.extend(receipt.writes.into_iter().map(|w| (w.position.n, w.key, w.version))),
                    Err(error) => assert!(
                        ["version-conflict", "already-exists", "not-found", "precondition-failed", "not-storable"]
                            .contains(&error.code()),
                        "{error:?}"
                    ),
                }
            }
            done
        }
    };
    let done: Vec<_> = futures_util::future::join_all((0..64).map(writer)).await.into_iter().flatten().collect();
    opened.assert_sound().await;
    let written: BTreeMap<u64, (ResourceKey, u64)> = done.iter().map(|(n, k, v)| (*n, (k.clone(), *v))).collect();
    assert_eq!(written.len(), done.len(), "no position was given twice");
    assert_eq!(written.len() as i64, opened.number("SELECT count(*) FROM nephkeep.change").await, "all were answered");
    let mut versions: BTreeMap<ResourceKey, u64> = BTreeMap::new();
    for (key, version) in written.into_values() {
        let last = versions.insert(key, version).unwrap_or(0);
        assert_eq!(version, last + 1, "each version once, in the order of the log");
    }
    assert!(opened.ledger.metrics().bisects.get() > 0);
}

#[tokio::test]
async fn one_bad_document_does_not_harm_its_batch_and_its_principal_is_held_off() {
    let opened = Opened::new().await;
    let bad = |at: u32| {
        let mut asked = group(vec![write(&format!("bad{at}"), Op::Create, "x")]);
        asked.writes[0].document.as_mut().unwrap().columns.at_type = Some("\0".into());
        asked
    };
    let mallory = Access::new("mallory", &[Role::Writer], &tenant(), "test");
    for at in 0..10 {
        let (ours, theirs) = (format!("good{at}"), bad(at));
        let (good, refused) = tokio::join!(opened.one(&ours, Op::Create, "x"), opened.ledger.write(&mallory, theirs));
        good.unwrap();
        let refused = refused.unwrap_err();
        assert_eq!((refused.code(), refused.fact("sqlstate")), ("not-storable", Some("22021")));
    }
    assert_eq!(opened.ledger.write(&mallory, bad(99)).await.unwrap_err().code(), "writes-held-off");
    opened.one("after", Op::Create, "x").await.unwrap();
    opened.assert_sound().await;
}

#[tokio::test]
async fn a_hot_key_takes_every_put_once() {
    let opened = Opened::new().await;
    let puts = futures_util::future::join_all((0..64).map(|_| opened.one("hot", Op::Put, "x"))).await;
    let mut versions: Vec<u64> = puts.into_iter().map(|put| put.unwrap().writes[0].version).collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=64).collect::<Vec<_>>());
}

#[tokio::test]
async fn readers_of_the_log_get_every_change_of_their_tenant_once_and_in_order() {
    // A ring that holds only a few changes: readers fall out of it and come back.
    let opened = Opened::on(shared::database().await, Settings { ring_bytes: 4_096, ..quick() }).await;
    let other = Tenant::new("other").unwrap();
    let stranger = Access::new("eve", &[Role::Writer], &other, "test");
    let (reader, writes) = (&opened, 60_u64);
    let reading = async move {
        let (mut seen, mut after) = (Vec::<Change>::new(), None);
        while (seen.len() as u64) < writes {
            let page = reader.ledger.changes_after(&reader.access, after, 7, Duration::from_secs(10)).await.unwrap();
            after = Some(page.next);
            seen.extend(page.changes);
        }
        seen
    };
    let writing = async {
        for at in 0..writes {
            opened.one(&format!("i{at}"), Op::Create, "x").await.unwrap();
            let mut theirs = write("theirs", Op::Put, "y");
            theirs.key = ResourceKey::new(&other, Kind::Configuration, "theirs").unwrap();
            opened.ledger.write(&stranger, group(vec![theirs])).await.unwrap();
        }
    };
    let (seen, ()) = tokio::join!(reading, writing);
    assert_eq!(
        seen.iter().map(|change| change.position.n).collect::<Vec<_>>(),
        (0..writes).map(|at| 2 * at + 1).collect::<Vec<_>>()
    );
    let from_table = opened.ledger.changes_after(&opened.access, None, 1_000, Duration::ZERO).await.unwrap();
    assert_eq!(from_table.changes.len() as u64, writes);
    let same = |a: &Change, b: &Change| {
        (a.hlc, a.action, a.content_tag, &a.stored, &a.principal)
            == (b.hlc, b.action, b.content_tag, &b.stored, &b.principal)
    };
    assert!(seen.iter().zip(&from_table.changes).all(|(a, b)| same(a, b)), "the ring tells what the table tells");
    let opened_documents = opened.ledger.open_changes(&opened.access, &seen[..2]).await.unwrap();
    assert_eq!(opened_documents[1].key.id.as_ref(), "i1");
    let denied = opened.ledger.open_changes(&stranger, &seen[..1]).await.unwrap_err();
    assert_eq!(denied.code(), "tenant-denied");
}

#[tokio::test]
async fn a_position_of_another_life_is_voided_with_the_fork() {
    let opened = Opened::new().await;
    let receipt = opened.one("a", Op::Create, "x").await.unwrap();
    let mut foreign = receipt.position;
    foreign.incarnation.random ^= 1;
    let error = opened.ledger.changes_after(&opened.access, Some(foreign), 1, Duration::ZERO).await.unwrap_err();
    assert_eq!(error.code(), "position-voided");
    assert!(error.fact("fork").unwrap().ends_with(".1"));
    let mut ahead = receipt.position;
    ahead.n += 100;
    assert_eq!(opened.ledger.wait_for(ahead, Duration::ZERO).await.unwrap_err().code(), "position-timeout");
}

/// 1,000 positions per partition in these tests: crossed several times, and made in an emergency when one is gone.
#[tokio::test]
async fn partitions_are_made_ahead_and_in_an_emergency() {
    let opened = Opened::new().await;
    let many = |round: u32| group((0..500).map(|at| write(&format!("r{round}-{at}"), Op::Create, "x")).collect());
    for round in 0..5 {
        opened.ledger.write(&opened.access, many(round)).await.unwrap();
    }
    let count = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'nephkeep.change'::regclass";
    assert_eq!(opened.number(count).await, 5, "0, 1000, 2000, and two ahead");
    opened.sql().await.batch_execute("DROP TABLE nephkeep.change_p3000, nephkeep.change_p4000").await.unwrap();
    for round in 5..8 {
        opened.ledger.write(&opened.access, many(round)).await.unwrap();
    }
    opened.assert_sound().await;
}

/// A dump, or somebody's open transaction.
#[tokio::test]
async fn a_long_query_does_not_hold_up_the_committer_when_keys_expire() {
    let first = Opened::new().await;
    first.ledger.close().await;
    let old = "CREATE TABLE nephkeep.request_2020_01_01 PARTITION OF nephkeep.request \
        FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')";
    first.sql().await.batch_execute(old).await.unwrap();
    let mut dump = first.sql().await;
    let dumping = dump.transaction().await.unwrap();
    dumping.query("SELECT * FROM nephkeep.request", &[]).await.unwrap();
    let second = first.beside(quick()).await;
    let mut leadership = second.ledger.watch_leadership();
    let leading = leadership.wait_for(|now| matches!(now, ledger::Leadership::Leader { .. }));
    drop(tokio::time::timeout(Duration::from_secs(30), leading).await.unwrap().unwrap());
    second.one("a", Op::Create, "1").await.unwrap();
    dumping.rollback().await.unwrap();
    second.ledger.close().await;
    let third = first.beside(quick()).await;
    third.one("b", Op::Create, "1").await.unwrap();
    assert_eq!(third.number("SELECT count(*) FROM pg_class WHERE relname = 'request_2020_01_01'").await, 0);
}

#[tokio::test]
async fn a_transaction_without_writes_reads_at_one_position() {
    let opened = Opened::new().await;
    opened
        .ledger
        .write(&opened.access, group(vec![write("a", Op::Create, "1"), write("b", Op::Create, "1")]))
        .await
        .unwrap();
    let asked = Group { reads: vec![key("a"), key("b")], ..Group::default() };
    let receipt = opened.ledger.write(&opened.access, asked).await.unwrap();
    assert_eq!((receipt.position.n, receipt.reads.iter().flatten().count()), (2, 2));
    assert!(
        opened.ledger.write(&opened.access, Group::default()).await.is_err_and(|error| error.code() == "group-size")
    );
    let reader = Access::new("bob", &[Role::Reader], &tenant(), "test");
    assert_eq!(
        opened.ledger.write(&reader, group(vec![write("a", Op::Put, "2")])).await.unwrap_err().code(),
        "role-denied"
    );
    let stranger = Access::new("eve", &[Role::Writer], &Tenant::new("other").unwrap(), "test");
    assert_eq!(opened.ledger.read(&stranger, &key("a")).await.unwrap_err().code(), "tenant-denied");
}
