//! Reading rows that are written by hand, so that wrong ones can be written too.

use crate::shared::{connect, database, pool_of};
use audit::{Entry, TransparencyLog};
use deadpool_postgres::Pool;
use ledger::{
    ChangeAction,
    migrations::{Phase, apply},
    read::{AuditQuery, audit as audit_trail, changes, fetch::fetch, history, inspect::inspect, reconcile},
    retention::{self, Partition, Timed},
};
use model::{Class, Incarnation, Kind, Position, ResourceKey, Shard, Tenant};
use std::sync::Arc;
use tokio_postgres::Client;

const SHARD: Shard = Shard(0);

/// Five resources with two versions each, at positions 1 to 10; then a deletion at 11. Partitions end at 6.
const ROWS: &str = "
    CREATE TABLE nephkeep.change_a PARTITION OF nephkeep.change FOR VALUES FROM (0) TO (6);
    CREATE TABLE nephkeep.change_b PARTITION OF nephkeep.change FOR VALUES FROM (6) TO (100);
    CREATE TABLE nephkeep.audit_a PARTITION OF nephkeep.audit FOR VALUES FROM ('2026-11-01Z') TO ('2026-12-01Z');
    INSERT INTO nephkeep.log_head VALUES (0, 1, 77, 12, 11, 3, 100, 'me', NULL, true, 5000, 0, false);
    INSERT INTO nephkeep.history VALUES (0, 1, 77, NULL, 1, 0);
    INSERT INTO nephkeep.change (n, ordinal, random, tenant, kind, id, version, action, class, subject, principal, hlc,
        created_n, prev_n, content_tag, sealed)
    SELECT n, 1, 77, CASE WHEN n % 5 = 0 THEN 'other' ELSE 'acme' END, 1, 'i' || n % 5, 1 + (n > 5)::int, 1 + (n > 5)::int, 2,
        'acme/', 'ann', n, 1 + (n - 1) % 5, CASE WHEN n > 5 THEN n - 5 END, sha256(n::text::bytea), n::text::bytea
    FROM generate_series(1, 10) n;
    INSERT INTO nephkeep.change VALUES (11, 1, 77, 'acme', 1, 'i1', 3, 3, 2, 'acme/', 'bob', 11, 1, 6, sha256('x'), NULL);
    INSERT INTO nephkeep.audit (at, hlc, n, ordinal, principal, tenant, action, kind, id, version, class, purpose, content_tag)
    SELECT '2026-11-25Z'::timestamptz + n * interval '1 hour', hlc, n, 1, principal, tenant, action, kind, id, version, class,
        'test', content_tag FROM nephkeep.change;
    INSERT INTO nephkeep.resource (tenant, kind, id, version, ordinal, n, created_n, deleted, class, subject, key_id,
        content_tag, sealed)
    SELECT DISTINCT ON (tenant, kind, id) tenant, kind, id, version, 1, n, created_n, action = 3, class, subject, 1,
        content_tag, sealed FROM nephkeep.change ORDER BY tenant, kind, id, n DESC;
    INSERT INTO nephkeep.batch VALUES (1, 5, 1, 77, gen_random_uuid(), 3, 1, '0/0', 5), (6, 11, 1, 77, gen_random_uuid(), 3, 2, '0/0', 11)";

async fn filled() -> (Client, Pool) {
    let config = database().await;
    let mut client = connect(&config).await.unwrap();
    apply(&mut client, Phase::Contract).await.unwrap();
    client.batch_execute(ROWS).await.unwrap();
    (client, pool_of(&config))
}

fn key(id: &str) -> ResourceKey {
    ResourceKey::new(&Tenant::new("acme").unwrap(), Kind::Intent, id).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_in_order_with_the_head_of_their_snapshot() {
    let (_client, pool) = filled().await;
    let fetched = fetch(&pool, SHARD, &[key("i4"), key("none"), key("i1"), key("i2")]).await.unwrap();
    assert_eq!(fetched.head, 11);
    let [Some(four), None, Some(one), Some(two)] = fetched.rows.as_slice() else { panic!("{fetched:?}") };
    assert_eq!((four.version, four.n, four.created_n, four.sealed.as_deref()), (2, 9, 4, Some(&b"9"[..])));
    assert_eq!((one.version, one.n, &one.sealed), (3, 11, &None));
    assert_eq!((two.version, two.n), (2, 7));
    assert_eq!(fetch(&pool, SHARD, &[]).await.unwrap().rows.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_up_to_published_across_partitions() {
    let (_client, pool) = filled().await;
    let all = changes::read(&pool, SHARD, None, 0, 10, 100).await.unwrap();
    assert_eq!(all.changes.iter().map(|c| c.position.n).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    assert_eq!(all.through, 10);
    assert_eq!(all.changes[7].position.to_string(), "0.1-000000000000004d.8");
    let part = changes::read(&pool, SHARD, None, 4, 10, 3).await.unwrap();
    assert_eq!((part.changes.len(), part.through), (3, 7));
    let tenant = Tenant::new("other").unwrap();
    let other = changes::read(&pool, SHARD, Some(&tenant), 5, 11, 100).await.unwrap();
    assert_eq!((other.changes.len(), other.through), (1, 11));
    let last = changes::read(&pool, SHARD, None, 10, 11, 100).await.unwrap();
    assert_eq!((last.changes[0].action, last.changes[0].stored.len()), (ChangeAction::Deleted, 0));
    assert!(changes::read(&pool, SHARD, None, 11, 11, 100).await.unwrap().changes.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_follows_its_own_chain() {
    let (_client, pool) = filled().await;
    let versions = |before, limit| {
        let pool = pool.clone();
        async move {
            let found = history::versions(&pool, SHARD, &key("i1"), before, limit).await.unwrap();
            found.iter().map(|c| (c.version, c.position.n)).collect::<Vec<_>>()
        }
    };
    assert_eq!(versions(None, 10).await, [(3, 11), (2, 6), (1, 1)]);
    assert_eq!(versions(Some(3), 1).await, [(2, 6)]);
    assert!(history::versions(&pool, SHARD, &key("none"), None, 10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_rows_are_filtered_and_paged() {
    let (_client, pool) = filled().await;
    let tenant = Tenant::new("acme").unwrap();
    let list = |query: AuditQuery| {
        let (pool, tenant) = (pool.clone(), tenant.clone());
        async move {
            let page = audit_trail::list(&pool, &tenant, 11, &query).await.unwrap();
            (page.rows.iter().map(|row| row.n).collect::<Vec<_>>(), page.next)
        }
    };
    assert_eq!(list(AuditQuery::default()).await, (vec![1, 2, 3, 4, 6, 7, 8, 9, 11], None));
    let page = AuditQuery { limit: 3, after_n: 2, ..AuditQuery::default() };
    assert_eq!(list(page).await, (vec![3, 4, 6], Some(6)));
    let bob = AuditQuery { principal: Some("bob".into()), ..AuditQuery::default() };
    assert_eq!(list(bob).await, (vec![11], None));
    let id = AuditQuery { id: Some("i2".into()), kind: Some(Kind::Intent), ..AuditQuery::default() };
    assert_eq!(list(id).await, (vec![2, 7], None));
    let (from, to) = ("2026-11-25T03:00:00Z".parse().unwrap(), "2026-11-25T07:00:00Z".parse().unwrap());
    let hours = AuditQuery { from: Some(from), to: Some(to), ..AuditQuery::default() };
    assert_eq!(list(hours).await, (vec![3, 4, 6], None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_record_passes_inspection_and_each_damage_is_named() {
    let (client, pool) = filled().await;
    let whole = inspect(&pool, SHARD).await.unwrap();
    assert!(whole.is_whole(), "{whole:?}");
    assert_eq!((whole.changes, whole.audit_rows, whole.resources, whole.tombstones, whole.head), (11, 11, 4, 1, 11));
    for (damage, n) in [
        ("DELETE FROM nephkeep.change WHERE n = 3", 3),
        ("DELETE FROM nephkeep.change WHERE n = 11", 11),
        ("DELETE FROM nephkeep.audit WHERE n = 4", 4),
        ("INSERT INTO nephkeep.audit SELECT * FROM nephkeep.audit WHERE n = 4", 0),
        ("UPDATE nephkeep.audit SET version = 9 WHERE n = 5", 5),
        ("DELETE FROM nephkeep.resource WHERE id = 'i2'", 7),
        ("UPDATE nephkeep.resource SET version = 7 WHERE id = 'i2'", 7),
        ("UPDATE nephkeep.resource SET deleted = false WHERE id = 'i1'", 11),
        ("UPDATE nephkeep.change SET version = 5 WHERE n = 1", 6),
        ("UPDATE nephkeep.log_head SET next = 14", 12),
        ("UPDATE nephkeep.batch SET first = 7 WHERE first = 6", 7),
    ] {
        client.batch_execute(&format!("CREATE TEMP TABLE kept AS SELECT 1; BEGIN; {damage}; COMMIT")).await.unwrap();
        let found = inspect(&pool, SHARD).await.unwrap();
        assert!(!found.is_whole(), "{damage}");
        let named = found.torn.iter().any(|torn| torn.n == n) || found.gaps.iter().any(|gap| gap.0 == n);
        assert!(named || (n == 0 && found.duplicates == 1), "{damage}: {found:?}");
        let tables = "TRUNCATE nephkeep.log_head, nephkeep.history, nephkeep.resource, nephkeep.batch; DROP TABLE kept, nephkeep.change_a, nephkeep.change_b, nephkeep.audit_a";
        client.batch_execute(tables).await.unwrap();
        client.batch_execute(ROWS).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn log_audit_and_changes_are_reconciled_by_position() {
    let (client, pool) = filled().await;
    let directory = tempfile::tempdir().unwrap();
    let log = Arc::new(TransparencyLog::open(directory.path()).unwrap());
    let leaf = |n: u64, tenant: &str, id: &str, version| Entry::Write {
        position: Position { shard: SHARD, incarnation: Incarnation { ordinal: 1, random: 77 }, n },
        hlc: n,
        principal: if n == 11 { "bob".into() } else { "ann".into() },
        tenant: tenant.into(),
        action: "created".into(),
        kind: 1,
        id: id.into(),
        version,
        class: Class::Confidential,
        purpose: "test".into(),
        content_tag: if n == 11 { sha256("x") } else { sha256(&n.to_string()) },
    };
    let rows = (1..=10)
        .map(|n| leaf(n, if n % 5 == 0 { "other" } else { "acme" }, &format!("i{}", n % 5), if n > 5 { 2 } else { 1 }));
    log.append(rows.collect()).await.unwrap();
    // The sequencer is behind: position 11 has no leaf yet and is not asked for.
    let result = reconcile(&pool, &log, SHARD, 11).await.unwrap();
    assert!(result.is_complete(), "{result:?}");
    assert_eq!((result.from, result.through, result.changes, result.audit_rows, result.leaves), (1, 10, 10, 10, 10));
    log.append(vec![leaf(11, "acme", "i1", 9)]).await.unwrap();
    client.batch_execute("DELETE FROM nephkeep.audit WHERE n IN (1, 4); DELETE FROM nephkeep.change WHERE n = 7; UPDATE nephkeep.audit SET purpose = 'lie' WHERE n = 8").await.unwrap();
    let result = reconcile(&pool, &log, SHARD, 11).await.unwrap();
    let named: Vec<_> = result.findings.iter().map(|finding| finding.n).collect();
    assert_eq!((named.as_slice(), result.findings_in_all), ([1, 4, 7, 8, 11].as_slice(), 5), "{result:?}");
}

fn sha256(text: &str) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(text.as_bytes()).into()
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_partitions_are_detached_and_dropped() {
    let (client, _pool) = filled().await;
    let more =
        "CREATE TABLE nephkeep.audit_b PARTITION OF nephkeep.audit FOR VALUES FROM ('2026-12-01Z') TO ('2027-01-01Z');
        CREATE TABLE nephkeep.request_a PARTITION OF nephkeep.request FOR VALUES FROM ('2026-11-25') TO ('2026-11-26')";
    client.batch_execute(more).await.unwrap();
    let before = "2026-12-15".parse().unwrap();
    let names = |gone: Vec<Partition>| gone.into_iter().map(|partition| partition.name).collect::<Vec<_>>();
    assert_eq!(names(retention::expired(&client, Timed::Audit, before).await.unwrap()), ["audit_a"]);
    for (table, name) in [(Timed::Audit, "audit_a"), (Timed::Request, "request_a")] {
        let expired = retention::expired(&client, table, before).await.unwrap();
        assert_eq!(names(retention::drop_all(&client, table, expired).await.unwrap()), [name]);
        assert!(retention::expired(&client, table, before).await.unwrap().is_empty());
    }
    let left: i64 = client.query_one("SELECT count(*) FROM nephkeep.audit", &[]).await.unwrap().get(0);
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_partitions_with_rows_are_kept_however_far_the_day() {
    let (client, _pool) = filled().await;
    for day in [1, 2, 3, 8, 9, 10] {
        let text = format!(
            "CREATE TABLE nephkeep.request_{day} PARTITION OF nephkeep.request \
             FOR VALUES FROM ('2026-11-{day:02}') TO ('2026-11-{:02}')",
            day + 1
        );
        client.batch_execute(&text).await.unwrap();
    }
    let rows = "INSERT INTO nephkeep.request SELECT day::date, 't', 'p', 'k', '', 1, 1, 1, 200
        FROM unnest(ARRAY['2026-11-01', '2026-11-02', '2026-11-08', '2026-11-10']) day";
    client.batch_execute(rows).await.unwrap();
    let superseded = async |day: &str| {
        let found = retention::superseded(&client, Timed::Request, day.parse().unwrap(), 2).await.unwrap();
        found.into_iter().map(|partition| partition.name).collect::<Vec<_>>()
    };
    assert_eq!(superseded("2026-11-03").await, [""; 0]);
    assert_eq!(superseded("2026-11-08").await, [""; 0], "3 is empty, but the latest before that day");
    assert_eq!(superseded("2026-11-10").await, ["request_1", "request_3"]);
    assert_eq!(superseded("2036-11-10").await, ["request_1", "request_2", "request_3", "request_9"]);
}
