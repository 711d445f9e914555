//! The embedded vector index: what it promises as a copy, and how well it finds.

use crate::made::{ALL, DIMENSIONS, MODEL, at, basis, basis_of, batch, change, expected, found, ids, open, vector};
use model::{Class, Tenant};
use std::{fs::OpenOptions, io::Write};
use stores::{
    Body, CopyChange, KeyRange, Object, Projection, digest,
    vectors::{EF, Filter, Search, VectorIndex, VectorSearch},
};

#[test]
fn an_index_opened_again_holds_what_was_applied_and_its_digest_is_the_records() {
    let root = tempfile::tempdir().unwrap();
    let changes = vec![change(1, "a", &[1, 5]), change(2, "b", &[3]), change(5, "c", &[])];
    open(root.path()).apply(&batch(changes.clone())).unwrap();
    let index = open(root.path());
    assert_eq!(index.position(), Some(at(5)));
    assert_eq!(index.entries(KeyRange::ALL).unwrap(), expected(&changes));
    assert_eq!(index.digest(KeyRange::ALL).unwrap(), digest::of_range(&expected(&changes)));
    assert_eq!(ids(&found(&index, 3, &ALL, false))[0], "b");
    assert_eq!((index.stats().documents, index.stats().vectors), (2, 3));
}

#[test]
fn an_older_change_does_nothing_the_same_again_nothing_new_and_none_removes() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    index.apply(&batch(vec![change(7, "a", &[10])])).unwrap();
    index.apply(&batch(vec![change(6, "a", &[11])])).unwrap();
    index.apply(&batch(vec![change(7, "a", &[10])])).unwrap();
    for index in [&index, &open(root.path())] {
        assert_eq!(index.entries(KeyRange::ALL).unwrap(), expected(&[change(7, "a", &[10])]));
    }
    index.apply(&batch(vec![change(8, "a", &[])])).unwrap();
    assert!(found(&index, 10, &ALL, false).is_empty() && open(root.path()).entries(KeyRange::ALL).unwrap().is_empty());
}

#[test]
fn a_new_generation_is_seen_once_it_is_adopted() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    index.apply(&batch(vec![change(1, "a", &[1])])).unwrap();
    let next = index.begin().unwrap();
    next.apply(&batch(vec![change(1, "a", &[1]), change(2, "b", &[2])])).unwrap();
    assert_eq!(open(root.path()).generation(), 1);
    next.adopt().unwrap();
    let index = open(root.path());
    assert_eq!((index.generation(), index.stats().vectors), (2, 2));
    assert!(!root.path().join("generation-1.vectors").exists());
}

#[test]
fn what_is_no_vector_of_this_index_is_refused_and_nothing_is_stored() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    let refused = |values: Vec<f32>, model: &str| {
        let body = Body::Vector { model: model.into(), source: "s".into(), values: values.into() };
        let wrong = CopyChange { objects: vec![Object { ordinal: 0, body }], ..change(1, "a", &[]) };
        index.apply(&batch(vec![wrong])).unwrap_err().code()
    };
    let good = vector(1).to_vec();
    assert_eq!(refused(good[..63].to_vec(), MODEL), "vector-dimensions");
    assert_eq!(refused(good.clone(), "other"), "vector-other-model");
    assert_eq!(refused(vec![0.0; DIMENSIONS], MODEL), "vector-malformed");
    assert_eq!(refused([vec![f32::NAN], good[1..].to_vec()].concat(), MODEL), "vector-malformed");
    assert_eq!(index.position(), None);
    assert_eq!(VectorIndex::open(root.path(), &basis_of("other")).unwrap_err().code(), "vectors-other-model");
    let mut head = OpenOptions::new().write(true).open(root.path().join("generation-1.vectors")).unwrap();
    head.write_all(b"NOPE").unwrap();
    assert_eq!(VectorIndex::open(root.path(), &basis()).unwrap_err().code(), "vectors-damaged");
    // It stays as it is until another one is adopted.
    let beside = VectorIndex::beside(root.path(), &basis()).unwrap();
    assert_eq!(beside.generation(), 2);
    assert!(root.path().join("generation-1.vectors").exists());
    beside.adopt().unwrap();
    assert_eq!(open(root.path()).generation(), 2);
    assert!(!root.path().join("generation-1.vectors").exists());
}

/// Recall at ten against the exact answer, over two thousand vectors in fifty clusters; filters hold in both.
#[test]
fn searches_find_what_the_exact_search_finds_within_their_filter() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    let changes = (1..=2_000).map(|n| change(n, &format!("d{n}"), &[n + 10_000])).collect();
    index.apply(&batch(changes)).unwrap();
    let odd = Filter { class_max: Class::Internal, source: Some("odd".into()) };
    for filter in [&ALL, &odd] {
        let (mut shared, mut wanted, mut none) = (0, 0, 0);
        for question in 0..100 {
            let (near, exact) = (found(&index, question, filter, false), found(&index, question, filter, true));
            let hits = ids(&exact).iter().filter(|id| ids(&near).contains(id)).count();
            (shared, wanted) = (shared + hits, wanted + exact.len());
            none += usize::from(hits == 0);
            assert!(near.iter().all(|hit| hit.class <= filter.class_max));
        }
        let recall = shared as f64 / wanted as f64;
        assert!(recall >= 0.99 && none == 0, "recall {recall}, {none} questions without any");
    }
    assert!(
        index
            .search(
                &Tenant::new("other").unwrap(),
                &Search { vector: &vector(1), limit: 5, rescore: 9, ef: EF, filter: &ALL }
            )
            .unwrap()
            .is_empty()
    );
    let stats = index.stats();
    assert_eq!(stats.code_bytes, 2_000 * (DIMENSIONS / 2 + 4));
}
