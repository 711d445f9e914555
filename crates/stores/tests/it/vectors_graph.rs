//! The graph over a tenant's vectors: when there is one, and that it finds what the scan finds.

use crate::made::{
    ALL, DIMENSIONS, at, basis, batch, bytes_below, change, clear, contains, found, ids, tenant, vector,
};
use model::{Class, Subject, Tenant};
use std::{collections::HashSet, path::Path, sync::Arc, thread, time::Duration};
use stores::{
    CopyChange, Projection,
    vectors::{Basis, Filter, Hit, Policy, Search, VectorIndex, VectorSearch},
};

/// Documents of two vectors each.
const DOCUMENTS: u64 = 300;
/// Searches until a tenant's scans are known, and some more.
const SEARCHES: u64 = 40;
/// Of each measurement of recall.
const QUESTIONS: u64 = 40;

/// Every scan misses its objective.
const EAGER: Policy = Policy {
    from: Some(200),
    objective: Duration::ZERO,
    memory: Some(1 << 30),
    connections: 16,
    construction: 128,
    hands: Some(2),
};

fn open(root: &Path, policy: Policy) -> Arc<VectorIndex> {
    VectorIndex::open(root, &Basis { policy, ..basis() }).unwrap()
}

fn document(n: u64) -> CopyChange {
    // The source is that of the last: of every other document another.
    let (first, last) = if n.is_multiple_of(2) { (n * 2 + 1, n * 2) } else { (n * 2, n * 2 + 1) };
    change(n, &format!("d{n}"), &[first, last])
}

fn filled(root: &Path, policy: Policy) -> Arc<VectorIndex> {
    let index = open(root, policy);
    index.apply(&batch((1..=DOCUMENTS).map(document).collect())).unwrap();
    index
}

fn which(index: &VectorIndex) -> (&'static str, String) {
    let explained = index.explained(Some(&tenant())).remove(0);
    (explained.index, explained.why)
}

/// Searches until the graph serves.
fn graphed(index: &VectorIndex) {
    for n in 0..1_000_000 {
        found(index, n, &ALL, false);
        if which(index).0 == "hnsw" {
            return;
        }
        thread::yield_now();
    }
    panic!("there is no graph: {:?}", which(index));
}

fn near(index: &VectorIndex, seed: u64, ef: usize, filter: &Filter) -> Vec<Hit> {
    let vector = vector(seed);
    let search = Search { vector: &vector, limit: 10, rescore: 50, ef, filter };
    index.search(&tenant(), &search).unwrap()
}

/// Of ten and ten, how many are shared over many questions, of a thousand.
fn recall(index: &VectorIndex, ef: usize, filter: &Filter) -> usize {
    let shared = |seed| {
        let exact: HashSet<_> =
            found(index, seed, filter, true).iter().map(|hit| (hit.key.clone(), hit.ordinal)).collect();
        let near = near(index, seed, ef, filter);
        assert_eq!(near.len(), exact.len(), "question {seed}: fewer than there are");
        near.iter().filter(|hit| exact.contains(&(hit.key.clone(), hit.ordinal))).count()
    };
    (10_000..10_000 + QUESTIONS).map(shared).sum::<usize>() * 100 / QUESTIONS as usize
}

#[test]
fn a_tenant_gets_a_graph_once_its_scans_are_slow_and_it_finds_the_same_with_the_same_scores() {
    let root = tempfile::tempdir().unwrap();
    let index = filled(root.path(), EAGER);
    assert_eq!(which(&index).0, "flat");
    assert!(which(&index).1.contains("fewer than 32 searches"), "{:?}", which(&index));
    let scanned = found(&index, 7, &ALL, false);
    graphed(&index);
    assert!(which(&index).1.contains("missed its objective"), "{:?}", which(&index));
    assert_eq!(near(&index, 7, 200, &ALL), scanned);
    assert!(recall(&index, 64, &ALL) >= 980, "{}", recall(&index, 64, &ALL));
    let explained = index.explained(None).remove(0);
    assert_eq!((explained.vectors, explained.tenant), (DOCUMENTS as usize * 2, tenant()));
    assert!(explained.graph_bytes > DOCUMENTS as usize * 2 * DIMENSIONS * 2, "{}", explained.graph_bytes);
    // Nothing of it is on the disk, and what is opened again starts with the scan.
    assert!(!contains(&bytes_below(root.path()), &clear(14)));
    drop(index);
    let again = open(root.path(), EAGER);
    assert_eq!(which(&again).0, "flat");
    graphed(&again);
    assert_eq!(near(&again, 7, 200, &ALL), scanned);
}

#[test]
fn few_candidates_find_less_and_many_find_all() {
    let root = tempfile::tempdir().unwrap();
    // So few links that ten candidates do not lead everywhere.
    let index = filled(root.path(), Policy { connections: 3, construction: 6, ..EAGER });
    graphed(&index);
    let (few, many) = (recall(&index, 1, &ALL), recall(&index, 400, &ALL));
    assert!(few < many, "{few} and {many}");
}

#[test]
fn a_filter_loses_nothing_that_there_is() {
    let root = tempfile::tempdir().unwrap();
    let index = filled(root.path(), EAGER);
    // Of a class and a source that hardly any has.
    let rare = CopyChange { class: Class::Public, ..change(DOCUMENTS + 1, "rare", &[4, 6, 8]) };
    index.apply(&batch(vec![rare])).unwrap();
    graphed(&index);
    let filter = |class_max, source: Option<&str>| Filter { class_max, source: source.map(str::to_owned) };
    for filter in
        [filter(Class::Internal, None), filter(Class::Confidential, Some("odd")), filter(Class::Internal, Some("even"))]
    {
        assert!(recall(&index, 64, &filter) >= 950, "{filter:?}");
    }
    let public = filter(Class::Public, None);
    for ef in [1, 64] {
        assert_eq!(ids(&near(&index, 99, ef, &public)), ["rare", "rare", "rare"]);
    }
    assert!(near(&index, 1, 64, &filter(Class::Confidential, Some("nobody's"))).is_empty());
    assert!(
        index
            .search(
                &Tenant::new("other").unwrap(),
                &Search { vector: &vector(1), limit: 5, rescore: 9, ef: 9, filter: &ALL }
            )
            .unwrap()
            .is_empty()
    );
}

#[test]
fn what_is_removed_replaced_or_added_is_so_for_the_graph_at_once() {
    let root = tempfile::tempdir().unwrap();
    let index = filled(root.path(), EAGER);
    graphed(&index);
    assert_eq!(ids(&near(&index, 20, 64, &ALL))[0], "d10");
    index.apply(&batch(vec![change(1_001, "d10", &[])])).unwrap();
    assert!(near(&index, 20, 64, &ALL).iter().all(|hit| &*hit.key.id != "d10"));
    index.apply(&batch(vec![change(1_002, "d11", &[20]), change(1_003, "new", &[90_001])])).unwrap();
    assert_eq!(ids(&near(&index, 20, 64, &ALL))[0], "d11");
    let d11 = |hit: &Hit| &*hit.key.id != "d11" || hit.version == 1_002;
    assert!(near(&index, 22, 64, &ALL).iter().all(d11));
    index.erase(&Subject::of_customer(&tenant(), "even").unwrap()).unwrap();
    let subject = |hit: &Hit| hit.version % 2 == 1;
    assert!((0..50).all(|seed| near(&index, seed, 64, &ALL).iter().all(subject)));
    assert!(recall(&index, 64, &ALL) >= 950);
}

#[test]
fn a_rewriting_of_the_file_moves_the_rows_and_the_graph_follows() {
    let root = tempfile::tempdir().unwrap();
    let policy = Policy { from: Some(100), ..EAGER };
    let index = open(root.path(), policy);
    // A mebibyte is dead before a file is written anew.
    let wide = |n: u64| change(n, &format!("w{n}"), &Vec::from_iter(n * 100..n * 100 + 40));
    index.apply(&batch((1..=150).map(wide).collect())).unwrap();
    graphed(&index);
    let before = index.stats().disk_bytes;
    index.apply(&batch((1..=100).map(|n| change(1_000 + n, &format!("w{n}"), &[])).collect())).unwrap();
    assert!(index.stats().disk_bytes < before, "the file was written anew");
    assert_eq!((which(&index).0, index.stats().tombstones), ("hnsw", 0));
    assert!(recall(&index, 64, &ALL) >= 950, "{}", recall(&index, 64, &ALL));
    index.apply(&batch(vec![change(2_000, "new", &[90_001])])).unwrap();
    assert_eq!(ids(&near(&index, 90_001, 64, &ALL))[0], "new");
}

#[test]
fn there_is_none_where_the_scan_is_fast_memory_is_short_or_nobody_wants_one() {
    let root = tempfile::tempdir().unwrap();
    let why = |policy| {
        let index = filled(tempfile::tempdir_in(root.path()).unwrap().path(), policy);
        (0..SEARCHES).for_each(|seed| drop(found(&index, seed, &ALL, false)));
        let (index, why) = which(&index);
        assert_eq!(index, "flat", "{why}");
        why
    };
    assert!(why(Policy { objective: Duration::from_secs(60), ..EAGER }).contains("meets its objective"));
    assert!(why(Policy { memory: Some(1_000), ..EAGER }).contains("1 MiB of memory and 1 MiB may be had"));
    assert!(why(Policy { from: None, ..EAGER }).contains("switched off"));
    assert!(why(Policy { from: Some(10_000), ..EAGER }).contains("fewer than 10000 vectors"));
}

#[test]
fn a_tenant_that_shrinks_goes_back_to_the_scan() {
    let root = tempfile::tempdir().unwrap();
    let index = filled(root.path(), Policy { from: Some(500), ..EAGER });
    graphed(&index);
    index.apply(&batch((1..=DOCUMENTS - 100).map(|n| change(10_000 + n, &format!("d{n}"), &[])).collect())).unwrap();
    while which(&index).0 == "hnsw" {
        found(&index, 1, &ALL, false);
        thread::yield_now();
    }
    assert!(which(&index).1.contains("fewer than 500 vectors"));
    assert_eq!(found(&index, 1_150, &ALL, false), found(&index, 1_150, &ALL, true));
}

#[test]
fn writers_and_searches_go_on_while_a_graph_is_built() {
    let root = tempfile::tempdir().unwrap();
    let index = filled(root.path(), EAGER);
    let writer = {
        let index = Arc::clone(&index);
        thread::spawn(move || {
            for n in DOCUMENTS + 1..DOCUMENTS + 400 {
                index.apply(&batch(vec![document(n)])).unwrap();
                assert!(near(&index, n * 2, 64, &ALL).iter().any(|hit| hit.version == n), "document {n} is not found");
            }
        })
    };
    graphed(&index);
    writer.join().unwrap();
    assert_eq!(index.position(), Some(at(DOCUMENTS + 399)));
    assert!(recall(&index, 100, &ALL) >= 980, "{}", recall(&index, 100, &ALL));
}
