//! The embedded vector index: what it promises as a copy, and how well it finds.

use model::{Class, Incarnation, Kind, Position, ResourceKey, Shard, Subject, Tenant};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    sync::Arc,
};
use stores::{
    Body, ChangeBatch, CopyChange, KeyRange, Object, Projection, digest,
    vectors::{Filter, Hit, Search, VectorIndex, VectorSearch},
};

const MODEL: &str = "test-64";
const DIMENSIONS: usize = 64;

fn at(n: u64) -> Position {
    Position { shard: Shard(0), incarnation: Incarnation { ordinal: 1, random: 7 }, n }
}

fn tenant() -> Tenant {
    Tenant::new("acme").unwrap()
}

/// Around one of fifty centres, of length 1.
fn vector(seed: u64) -> Arc<[f32]> {
    let mut state = seed;
    let mut centre = seed % 50 + 1_000_000;
    let roll = |state: &mut u64| {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let raw: Vec<f32> = (0..DIMENSIONS).map(|_| roll(&mut centre) + 0.6 * roll(&mut state)).collect();
    let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt();
    raw.iter().map(|value| value / length).collect()
}

fn change(n: u64, id: &str, seeds: &[u64]) -> CopyChange {
    let object = |(ordinal, seed): (u32, &u64)| {
        let (model, source) = (MODEL.into(), if seed % 2 == 0 { "even" } else { "odd" }.into());
        Object { ordinal, body: Body::Vector { model, source, values: vector(*seed) } }
    };
    CopyChange {
        position: at(n),
        key: ResourceKey::new(&tenant(), Kind::KnowledgeDocument, id).unwrap(),
        version: n,
        class: if n.is_multiple_of(3) { Class::Confidential } else { Class::Internal },
        subject: Subject::of_customer(&tenant(), if n.is_multiple_of(2) { "even" } else { "odd" }).unwrap(),
        objects: (0..).zip(seeds).map(object).collect(),
    }
}

fn batch(changes: Vec<CopyChange>) -> ChangeBatch {
    let through = changes.iter().map(|change| change.position).max_by_key(|at| at.n).unwrap();
    ChangeBatch { through, changes }
}

fn open(root: &Path) -> Arc<VectorIndex> {
    VectorIndex::open(root, MODEL, DIMENSIONS).unwrap()
}

fn found(index: &VectorIndex, seed: u64, filter: &Filter, exact: bool) -> Vec<Hit> {
    let vector = vector(seed);
    let search = Search { vector: &vector, limit: 10, rescore: 50, filter };
    let hits = if exact { index.search_exact(&tenant(), &search) } else { index.search(&tenant(), &search) };
    hits.unwrap()
}

const ALL: Filter = Filter { class_max: Class::Confidential, source: None };

fn ids(hits: &[Hit]) -> Vec<String> {
    hits.iter().map(|hit| hit.key.id.to_string()).collect()
}

/// What the relay's side says the copy should hold.
fn expected(changes: &[CopyChange]) -> Vec<stores::Entry> {
    let mut entries: Vec<_> = changes.iter().map(digest::of_change).filter(|entry| entry.objects > 0).collect();
    entries.sort_by(|a, b| (a.place, &a.key).cmp(&(b.place, &b.key)));
    entries
}

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
fn half_a_frame_at_the_end_is_cut_off_and_the_next_change_follows_the_last_whole_one() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("generation-1.vectors");
    open(root.path()).apply(&batch(vec![change(1, "a", &[1])])).unwrap();
    let whole = fs::read(&path).unwrap();
    open(root.path()).apply(&batch(vec![change(2, "b", &[2])])).unwrap();
    let after = fs::read(&path).unwrap();
    for length in whole.len() + 1..after.len() {
        fs::write(&path, &after[..length]).unwrap();
        let index = open(root.path());
        assert!(index.position().is_some_and(|position| position.n >= 1), "{length}");
        assert!(ids(&found(&index, 1, &ALL, false)).contains(&"a".to_owned()), "{length}");
        index.apply(&batch(vec![change(2, "b", &[2])])).unwrap();
        assert_eq!(open(root.path()).entries(KeyRange::ALL).unwrap().len(), 2, "{length}");
    }
}

#[test]
fn a_damaged_frame_is_counted_and_its_key_missing_and_no_other() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("generation-1.vectors");
    let changes = vec![change(1, "aaaa", &[1]), change(2, "bbbb", &[2]), change(3, "cccc", &[3])];
    open(root.path()).apply(&batch(changes.clone())).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|window| window == b"bbbb").unwrap();
    bytes[at + 60] ^= 1;
    fs::write(&path, bytes).unwrap();
    let index = open(root.path());
    assert_eq!(index.stats().damaged, 1);
    assert_eq!(index.entries(KeyRange::ALL).unwrap(), expected(&[changes[0].clone(), changes[2].clone()]));
}

#[test]
fn an_erased_subject_is_in_no_answer_and_in_no_file() {
    let root = tempfile::tempdir().unwrap();
    let index = open(root.path());
    index.apply(&batch(vec![change(1, "a", &[1]), change(2, "b", &[2]), change(4, "d", &[4])])).unwrap();
    // Replaced: its first vector is dead, and still in the file.
    index.apply(&batch(vec![change(6, "b", &[6])])).unwrap();
    // A rebuild that never ended has the subject too.
    index.begin().unwrap().apply(&batch(vec![change(4, "d", &[4])])).unwrap();
    assert_eq!(index.erase(&Subject::of_customer(&tenant(), "even").unwrap()).unwrap(), 2);
    assert_eq!(index.entries(KeyRange::ALL).unwrap(), expected(&[change(1, "a", &[1])]));
    let files: Vec<u8> =
        fs::read_dir(root.path()).unwrap().flat_map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    for seed in [2, 4, 6] {
        let bytes: Vec<u8> = vector(seed).iter().flat_map(|value| value.to_le_bytes()).collect();
        assert!(!files.windows(bytes.len()).any(|window| window == bytes), "vector {seed} is still in a file");
    }
    assert_eq!(open(root.path()).position(), Some(at(6)));
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
    // One that is never adopted takes nobody's place, and goes with the next that is.
    assert_eq!((index.begin().unwrap().generation(), index.begin().unwrap().generation()), (3, 4));
    assert_eq!((open(root.path()).generation(), open(root.path()).stats().vectors), (2, 2));
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
    assert_eq!(VectorIndex::open(root.path(), "other", DIMENSIONS).unwrap_err().code(), "vectors-other-model");
    let mut head = OpenOptions::new().write(true).open(root.path().join("generation-1.vectors")).unwrap();
    head.write_all(b"NOPE").unwrap();
    assert_eq!(VectorIndex::open(root.path(), MODEL, DIMENSIONS).unwrap_err().code(), "vectors-damaged");
    assert_eq!(VectorIndex::fresh(root.path(), MODEL, DIMENSIONS).unwrap().generation(), 2);
    assert_eq!(open(root.path()).generation(), 2);
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
            .search(&Tenant::new("other").unwrap(), &Search { vector: &vector(1), limit: 5, rescore: 9, filter: &ALL })
            .unwrap()
            .is_empty()
    );
    let stats = index.stats();
    assert_eq!(stats.code_bytes, 2_000 * (DIMENSIONS / 2 + 4));
}
