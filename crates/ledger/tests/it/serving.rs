//! Lists, histories, names and the server's own reads, on a ledger that writes.

use crate::opened::{Opened, group, tenant};
use bytes::Bytes;
use ledger::{Content, Group, ListQuery, Op, Page, Write};
use model::{
    Access, Class, Columns, ErrorKind, Kind, Prepared, ResourceKey, Result, Role, Subject, Tenant, select::Filter,
};
use std::time::Duration;

fn intent(id: &str) -> ResourceKey {
    ResourceKey::new(&tenant(), Kind::Intent, id).unwrap()
}

fn named(id: &str, status: &str, name: &str) -> Write {
    let document =
        format!(r#"{{"@type":"Intent","id":"{id}","lifecycleStatus":"{status}","name":"{name}","context":"c-{id}"}}"#);
    let columns = Columns {
        at_type: Some("Intent".into()),
        lifecycle_status: Some(status.into()),
        name: Some(name.into()),
        ..Columns::default()
    };
    let subject = Subject::of_customer(&tenant(), id).unwrap();
    let document = Prepared { document: Bytes::from(document), class: Class::Confidential, subject, columns };
    Write { key: intent(id), op: Op::Put, document: Some(document) }
}

fn delete(id: &str) -> Group {
    group(vec![Write { key: intent(id), op: Op::Delete { expected: None }, document: None }])
}

async fn list(opened: &Opened, query: &str, after: Option<String>, limit: u32) -> Result<Page> {
    let query = ListQuery { filter: Filter::parse(query, &[]).unwrap(), after, limit, ..ListQuery::default() };
    opened.ledger.list(&opened.access, Kind::Intent, &query).await
}

async fn ids(opened: &Opened, query: &str) -> Vec<String> {
    let page = list(opened, query, None, 0).await.unwrap();
    assert_eq!(page.total, page.items.len() as u64, "{query}");
    page.items.iter().map(|item| item.key.id.to_string()).collect()
}

async fn filled() -> Opened {
    let opened = Opened::new().await;
    for n in 1..=7 {
        let status = if n % 2 == 0 { "active" } else { "failed" };
        let write = named(&format!("i{n}"), status, &format!("name {}", n % 3));
        opened.ledger.write(&opened.access, group(vec![write])).await.unwrap();
    }
    opened.ledger.write(&opened.access, delete("i6")).await.unwrap();
    opened
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_names_and_documents_answer_filters_alike() {
    let opened = filled().await;
    assert_eq!(ids(&opened, "").await, ["i1", "i2", "i3", "i4", "i5", "i7"]);
    assert_eq!(ids(&opened, "lifecycleStatus=active").await, ["i2", "i4"]);
    assert_eq!(ids(&opened, "lifecycleStatus=active,failed&id=i2,i3,i6").await, ["i2", "i3"]);
    assert_eq!(ids(&opened, "name=name%201").await, ["i1", "i4", "i7"]);
    assert_eq!(ids(&opened, "name=name%200,name%202&lifecycleStatus=active").await, ["i2"]);
    assert_eq!(ids(&opened, "context=c-i5").await, ["i5"]);
    assert_eq!(ids(&opened, "name.ne=name%201&lifecycleStatus=failed").await, ["i3", "i5"]);
    assert_eq!(ids(&opened, "name=nobody").await, [""; 0]);
    opened.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_join_by_their_cursor_in_the_order_of_creation() {
    let opened = filled().await;
    // Changing and creating again: the order is that of creation.
    opened.ledger.write(&opened.access, group(vec![named("i1", "active", "again")])).await.unwrap();
    opened.ledger.write(&opened.access, group(vec![named("i6", "active", "again")])).await.unwrap();
    for query in ["", "context.ne=x"] {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = list(&opened, query, after, 3).await.unwrap();
            assert_eq!(page.total, 7);
            seen.extend(page.items.iter().map(|item| (item.key.id.to_string(), item.version)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let found: Vec<_> = seen.iter().map(|(id, version)| (id.as_str(), *version)).collect();
        assert_eq!(found, [("i1", 2), ("i2", 1), ("i3", 1), ("i4", 1), ("i5", 1), ("i7", 1), ("i6", 3)], "{query:?}");
    }
    let voided = list(&opened, "", Some("0.9-0000000000000001.3".into()), 3).await.unwrap_err();
    assert_eq!(voided.code(), "position-voided");
    opened.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_tells_every_version_and_reads_are_noted_first() {
    let opened = filled().await;
    opened.ledger.write(&opened.access, group(vec![named("i6", "active", "again")])).await.unwrap();
    let before = opened.log.size();
    let found = opened.ledger.history(&opened.access, &intent("i6")).await.unwrap();
    let told: Vec<_> = found.iter().map(|item| (item.version, item.document == Content::Deleted)).collect();
    assert_eq!(told, [(1, false), (2, true), (3, false)]);
    assert!(opened.log.size() > before, "a confidential read is durable in the log before it is released");
    let page = opened.ledger.history_page(&opened.access, &intent("i6"), Some(3), 1).await.unwrap();
    assert_eq!(page.iter().map(|item| item.version).collect::<Vec<_>>(), [2]);
    assert!(opened.ledger.history(&opened.access, &intent("none")).await.unwrap().is_empty());
    opened.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_checked_and_denials_are_audited() {
    let opened = filled().await;
    let auditor = Access::new("eve", &[Role::Auditor], &tenant(), "test");
    let before = opened.log.size();
    let query = ListQuery::default();
    for refused in [
        opened.ledger.list(&auditor, Kind::Intent, &query).await.err(),
        opened.ledger.history(&auditor, &intent("i1")).await.err(),
        opened.ledger.audit_list(&opened.access, &ledger::read::AuditQuery::default()).await.err(),
        opened.ledger.inspect(&auditor).await.err(),
    ] {
        assert_eq!(refused.unwrap().kind(), ErrorKind::Refused);
    }
    assert!(opened.log.size() >= before + 4);
    let trail = opened.ledger.audit_list(&auditor, &ledger::read::AuditQuery::default()).await.unwrap();
    assert_eq!(trail.rows.len(), 8);
    let operator = Access::new("op", &[Role::Operator], &tenant(), "test");
    let whole = opened.ledger.inspect(&operator).await.unwrap();
    assert!(whole.is_whole(), "{whole:?}");
    let other = Access::new("eve", &[Role::Reader], &Tenant::new("other").unwrap(), "test");
    assert_eq!(opened.ledger.list(&other, Kind::Intent, &query).await.unwrap().total, 0);
    assert!(opened.ledger.history(&other, &intent("i1")).await.is_err());
    opened.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_audit_and_changes_agree_once_the_sequencer_is_through() {
    let opened = filled().await;
    let head = opened.ledger.published().unwrap().unwrap();
    opened.log.wait_for_write(head).await.unwrap();
    let auditor = Access::new("eve", &[Role::Auditor], &tenant(), "test");
    let result = opened.ledger.reconcile(&auditor).await.unwrap();
    assert!(result.is_complete(), "{result:?}");
    assert_eq!((result.through, result.changes, result.audit_rows, result.leaves), (8, 8, 8, 8));
    opened.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_index_of_names_is_rebuilt_and_says_so_meanwhile() {
    let opened = filled().await;
    // What a crash of PostgreSQL does to an UNLOGGED table.
    opened.sql().await.batch_execute("TRUNCATE nephkeep.name_index").await.unwrap();
    let asked = list(&opened, "name=name%201", None, 0).await.unwrap_err();
    assert_eq!((asked.kind(), asked.code()), (ErrorKind::Retry, "name-index-rebuilding"));
    let wait = "SELECT count(*) FROM nephkeep.name_index WHERE kind = 0";
    while opened.number(wait).await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ids(&opened, "name=name%201").await, ["i1", "i4", "i7"]);
    assert_eq!(ids(&opened, "name=name%200").await, ["i3"]);
    opened.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_sees_all_tenants_and_keeps_consumer_positions() {
    let opened = filled().await;
    opened.ledger.ready().await.unwrap();
    let (everywhere, at) = opened.ledger.everywhere(Kind::Intent).await.unwrap();
    assert_eq!((everywhere.len(), at.n), (6, 8));
    assert!(opened.ledger.everywhere(Kind::Hub).await.unwrap().0.is_empty());
    let log = opened.ledger.log_after(None, 3, Duration::ZERO).await.unwrap();
    assert_eq!((log.changes.len(), log.next.n), (3, 3));
    let consumer = |n| (tenant(), "hub-1".to_owned(), model::Position { n, ..at });
    assert_eq!(opened.ledger.consumer_position(&tenant(), "hub-1").await.unwrap(), None);
    opened.ledger.consumer_advance(&[consumer(5)]).await.unwrap();
    opened.ledger.consumer_advance(&[consumer(4)]).await.unwrap();
    assert_eq!(opened.ledger.consumer_position(&tenant(), "hub-1").await.unwrap().map(|p| p.n), Some(5));
    opened.ledger.consumer_forget(&tenant(), "hub-1").await.unwrap();
    assert_eq!(opened.ledger.consumer_position(&tenant(), "hub-1").await.unwrap(), None);
    opened.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_finds_nothing_wrong_with_a_sound_record() {
    let opened = filled().await;
    let connector = crate::opened::connector(&opened.config);
    let facts = ledger::doctor::examine(&connector, model::Shard(0)).await.unwrap();
    // The shared server of these tests runs without fsync.
    let poor: Vec<_> = facts.iter().filter(|fact| fact.verdict != ledger::doctor::Verdict::Good).collect();
    assert_eq!(poor.iter().map(|fact| fact.name).collect::<Vec<_>>(), ["fsync"], "{poor:?}");
    opened.ledger.close().await;
}

/// A disk that is full for batches and, a sequence counts them, for those who look whether it still is.
const FULL: &str = "
    CREATE SEQUENCE looks;
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
    CREATE FUNCTION no_room() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM nextval('looks');
        RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON nephkeep.resource FOR EACH ROW EXECUTE FUNCTION full_disk();
    CREATE EVENT TRIGGER no_room ON ddl_command_start WHEN TAG IN ('CREATE TABLE AS') EXECUTE FUNCTION no_room()";
const ROOM_AGAIN: &str = "DROP EVENT TRIGGER no_room; DROP TRIGGER full_disk ON nephkeep.resource";

#[tokio::test]
async fn a_full_disk_is_told_and_this_server_is_not_ready_until_there_is_room_again() {
    let opened = Opened::new().await;
    opened.ledger.ready().await.unwrap();
    let sql = opened.sql().await;
    sql.batch_execute(FULL).await.unwrap();
    assert_eq!(opened.one("a", Op::Create, "1").await.unwrap_err().code(), "disk-full");
    // However long ago the last write was.
    while opened.number("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM looks").await < 2 {
        let told = opened.ledger.ready().await.unwrap_err();
        assert_eq!((told.code(), told.kind()), ("disk-full", ErrorKind::Retry));
        tokio::task::yield_now().await;
    }
    sql.batch_execute(ROOM_AGAIN).await.unwrap();
    // Nobody writes.
    while opened.ledger.ready().await.is_err() {
        tokio::task::yield_now().await;
    }
    opened.one("a", Op::Create, "1").await.unwrap();
    opened.assert_sound().await;
}

/// Where the next generation would be written stands something that does not go away: root would ignore a mode.
#[tokio::test]
async fn a_keystore_that_takes_nothing_is_told_by_writes_and_readiness_until_it_does() {
    let opened = Opened::new().await;
    let directory = opened.keys().directories[1].clone();
    let stones: Vec<_> =
        (2..6).map(|number| directory.join(format!("generation-{number:012}.keystore.temporary"))).collect();
    stones.iter().for_each(|stone| std::fs::create_dir_all(stone.join("heavy")).unwrap());
    opened.ledger.ready().await.unwrap();
    let refused = opened.one("a", Op::Create, "1").await.unwrap_err();
    assert_eq!((refused.code(), refused.kind()), ("keystore-unwritable", ErrorKind::Retry));
    let told = opened.ledger.ready().await.unwrap_err();
    assert_eq!((told.code(), told.context().len()), ("keystore-unwritable", 0), "{told}");
    stones.iter().for_each(|stone| std::fs::remove_dir_all(stone).unwrap());
    while opened.ledger.ready().await.is_err() {
        tokio::task::yield_now().await;
    }
    opened.one("a", Op::Create, "1").await.unwrap();
    opened.assert_sound().await;
}
