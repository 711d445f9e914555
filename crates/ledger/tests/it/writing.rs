//! What a group may ask, and what it is answered.

use crate::opened::{Opened, group, key, quick, tenant, write};
use ledger::{Content, Group, Idempotency, Leadership, Op, Precondition};
use model::{Access, Role, Subject};

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

/// Keyed digests depend on the tenant's key: its row goes in with the first group that needs it.
#[tokio::test]
async fn requests_and_names_are_recognised_after_a_restart() {
    let opened = Opened::new().await;
    let request = || {
        let mut asked = group(vec![write("a", Op::Create, "x")]);
        // A customer's document: the tenant's own key makes digests only.
        asked.writes[0].document.as_mut().unwrap().subject = Subject::of_customer(&tenant(), "c1").unwrap();
        asked.idempotency = Some(Idempotency { key: "k".into(), body: "body".into() });
        asked
    };
    let first = opened.ledger.write(&opened.access, request()).await.unwrap();
    assert_eq!(opened.number("SELECT count(*) FROM nephkeep.subject").await, 2);
    opened.ledger.close().await;
    let again = opened.beside(quick()).await;
    let receipt = again.ledger.write(&again.access, request()).await.unwrap();
    assert!(receipt.replayed);
    assert_eq!(receipt.position, first.position);
    again.one("b", Op::Create, "x").await.unwrap();
    assert_eq!(again.number("SELECT count(*) FROM nephkeep.subject").await, 2, "no second key for a subject");
}

#[tokio::test]
async fn of_an_erased_subject_nothing_is_stored_read_or_replayed() {
    let opened = Opened::new().await;
    let customer = Subject::of_customer(&tenant(), "gone").unwrap();
    let asked = |id: &str| {
        let mut asked = group(vec![write(id, Op::Put, "secret")]);
        asked.writes[0].document.as_mut().unwrap().subject = customer.clone();
        asked.idempotency = Some(Idempotency { key: format!("k-{id}"), body: "body".into() });
        asked
    };
    opened.ledger.write(&opened.access, asked("a")).await.unwrap();
    assert_eq!(opened.text("a").await, Some((1, "secret".into())));
    let admin = Access::new("root", &[Role::Admin], &tenant(), "erasure");
    let key_id = opened.ledger.erasure_begin(&admin, &customer).await.unwrap();
    assert_eq!(opened.ledger.write(&opened.access, asked("b")).await.unwrap_err().code(), "subject-erasing");
    // The key is still there, as when a slot did not confirm: nothing is shown, not from a cache, not twice.
    let again = opened.beside(quick()).await;
    for ledger in [&opened.ledger, &opened.ledger, &again.ledger] {
        let read = ledger.read(&opened.access, &key("a")).await.unwrap().unwrap();
        assert_eq!(read.document, Content::Erased);
        let versions = ledger.history(&opened.access, &key("a")).await.unwrap();
        assert_eq!(versions[0].document, Content::Erased);
    }
    again.ledger.close().await;
    assert!(opened.keystore.destroy(&[key_id]).unwrap().is_complete());
    opened.ledger.erasure_complete(&admin, &customer).await.unwrap();
    let read = opened.ledger.read(&opened.access, &key("a")).await.unwrap().unwrap();
    assert_eq!(read.document, Content::Erased);
    assert_eq!(
        opened.ledger.write(&opened.access, asked("a")).await.unwrap_err().code(),
        "subject-erased",
        "a repetition"
    );
    // Another server learns it from the record.
    opened.ledger.close().await;
    let again = opened.beside(quick()).await;
    assert_eq!(again.ledger.write(&again.access, asked("c")).await.unwrap_err().code(), "subject-erasing");
    assert_eq!(again.one("a", Op::Delete { expected: Some(1) }, "").await.unwrap().writes[0].version, 2);
}

/// Midnight (of the record's clock) is no boundary: yesterday's partition is looked into as well.
#[tokio::test]
async fn a_request_of_yesterday_is_still_known() {
    let opened = Opened::new().await;
    let request = |body: &'static str| Group {
        idempotency: Some(Idempotency { key: "k".into(), body: body.into() }),
        ..group(vec![write("a", Op::Put, "x"), write("gone", Op::Put, "x")])
    };
    let first = opened.ledger.write(&opened.access, request("body")).await.unwrap();
    let yesterday = "UPDATE nephkeep.request SET day = day - 1";
    assert_eq!(opened.sql().await.execute(yesterday, &[]).await.unwrap(), 1);
    let again = opened.ledger.write(&opened.access, request("body")).await.unwrap();
    assert_eq!((again.replayed, again.position), (true, first.position));
    let other = opened.ledger.write(&opened.access, request("other")).await.unwrap_err();
    assert_eq!(other.code(), "idempotency-mismatch");
    opened.assert_sound().await;
}

/// Whoever is given a table sees the rows of the tenant of his session, and the committer's own tables not at all.
#[tokio::test]
async fn a_reader_role_sees_one_tenant() {
    let opened = Opened::new().await;
    opened.one("a", Op::Create, "1").await.unwrap();
    let name = opened.config.get_dbname().unwrap().to_owned();
    let client = opened.sql().await;
    let tables = ["resource", "change", "audit", "name_index", "request", "subject", "consumer"];
    let all = tables.map(|table| format!("nephkeep.{table}")).join(", ");
    let text = format!(
        "CREATE ROLE reader_{name}; GRANT USAGE ON SCHEMA nephkeep TO reader_{name}; \
         GRANT SELECT ON {all} TO reader_{name}; SET ROLE reader_{name}"
    );
    client.batch_execute(&text).await.unwrap();
    for (session, seen) in [(None, 0), (Some("other"), 0), (Some("acme"), 1)] {
        if let Some(tenant) = session {
            client.execute("SELECT set_config('nephkeep.tenant', $1, false)", &[&tenant]).await.unwrap();
        }
        for table in tables {
            let row = client.query_one(&format!("SELECT count(*) FROM nephkeep.{table}"), &[]).await.unwrap();
            let expected = if ["resource", "change", "audit"].contains(&table) { seen } else { 0 };
            assert_eq!(row.get::<_, i64>(0), expected, "{table} for {session:?}");
        }
    }
}
