//! The text copy: what is found, by whom, what is never in it, and what damage does.

use crate::made::{ALL, at, batch, ids, tenant};
use model::{Class, ErrorKind, Kind, Position, ResourceKey, Subject, Tenant};
use std::{fs, path::Path};
use stores::{
    Body, ChangeBatch, CopyChange, Entry, KeyRange, Object, Projection, digest,
    text::{TextCopy, TextIndex, TextQuery, TextSearch},
    vectors::{Filter, Hit},
};

fn change_of(tenant: &Tenant, n: u64, id: &str, source: &str, texts: &[&str]) -> CopyChange {
    let object = |(ordinal, text): (u32, &&str)| {
        let body = Body::Text { source: source.into(), text: (*text).into() };
        Object { ordinal, body }
    };
    CopyChange {
        position: at(n),
        key: ResourceKey::new(tenant, Kind::KnowledgeDocument, id).unwrap(),
        version: n,
        class: Class::Internal,
        subject: Subject::of_customer(tenant, "ann").unwrap(),
        objects: (0..).zip(texts).map(object).collect(),
    }
}

fn change(n: u64, id: &str, texts: &[&str]) -> CopyChange {
    change_of(&tenant(), n, id, "runbooks", texts)
}

fn found(index: &TextIndex, text: &str, filter: &Filter) -> Vec<Hit> {
    index.search(&tenant(), &TextQuery { text, limit: 10, filter }).unwrap()
}

#[test]
fn the_rarer_word_counts_more_and_the_chunk_is_named() {
    let root = tempfile::tempdir().unwrap();
    let index = TextIndex::open(root.path()).unwrap();
    let texts = ["the cell is slow", "a cell again", "handover of a cell between two gNBs"];
    index.apply(&batch(vec![change(1, "a", &texts), change(2, "b", &["the slices of a cell"])])).unwrap();
    let hits = found(&index, "Handover gnb cells?", &ALL);
    assert_eq!((ids(&hits[..1]), hits[0].ordinal, hits[0].version), (vec!["a".to_owned()], 2, 1));
    assert_eq!(hits.len(), 4, "each has a cell");
    assert!(hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
    assert_eq!(ids(&found(&index, "slice", &ALL)), ["b"]);
    assert!(found(&index, "roaming", &ALL).is_empty() && found(&index, " ? ", &ALL).is_empty());
    assert_eq!((index.stats().documents, index.stats().chunks), (2, 4));
}

/// Neither the texts of others nor how often words stand in them.
#[test]
fn a_tenant_finds_and_feels_nothing_of_another() {
    let other = Tenant::new("zeta").unwrap();
    let scores = |noise: u64| {
        let root = tempfile::tempdir().unwrap();
        let index = TextIndex::open(root.path()).unwrap();
        let mut changes = vec![change(1, "a", &["beam failure recovery"]), change(2, "b", &["beam management"])];
        changes.extend((0..noise).map(|n| change_of(&other, 3 + n, &format!("z{n}"), "s", &["beam beam failure"])));
        index.apply(&batch(changes)).unwrap();
        found(&index, "beam failure", &ALL).iter().map(|hit| (hit.key.id.to_string(), hit.score)).collect::<Vec<_>>()
    };
    assert_eq!(scores(0).len(), 2);
    assert_eq!(scores(0), scores(50));
}

#[test]
fn class_and_source_leave_out_before_anything_is_ranked() {
    let root = tempfile::tempdir().unwrap();
    let index = TextIndex::open(root.path()).unwrap();
    let mut changes: Vec<_> = (1..40).map(|n| change(n, &format!("i{n}"), &["xapp xapp xapp"])).collect();
    changes.push(CopyChange { class: Class::Public, ..change(40, "p", &["one xapp among many other words"]) });
    changes.push(change_of(&tenant(), 41, "s", "standards", &["an xapp somewhere in a longer text"]));
    index.apply(&batch(changes)).unwrap();
    let of = |class_max, source: Option<&str>| Filter { class_max, source: source.map(str::to_owned) };
    assert_eq!(ids(&found(&index, "xapp", &of(Class::Public, None))), ["p"]);
    assert_eq!(ids(&found(&index, "xapp", &of(Class::Confidential, Some("standards")))), ["s"]);
    assert!(found(&index, "xapp", &of(Class::Public, Some("standards"))).is_empty());
    assert_eq!(found(&index, "xapp", &ALL).len(), 10);
}

#[test]
fn a_confidential_text_is_refused_and_nothing_of_its_batch_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let index = TextIndex::open(root.path()).unwrap();
    let secret = CopyChange { class: Class::Confidential, ..change(2, "b", &["the secret of the ring"]) };
    let error = index.apply(&batch(vec![change(1, "a", &["open"]), secret.clone()])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Bug);
    assert_eq!((index.position(), found(&index, "open secret", &ALL).len()), (None, 0));
    index.apply(&batch(vec![change(1, "a", &["open"])])).unwrap();
    assert_eq!(ids(&found(&index, "open secret", &ALL)), ["a"]);
    assert!(files(root.path()).iter().all(|(_, bytes)| !has(bytes, b"secret")));
    assert!(index.leaves_out().unwrap().starts_with("confidential"));
}

#[test]
fn what_is_replaced_or_removed_is_found_no_longer_also_after_segments_were_put_together() {
    let root = tempfile::tempdir().unwrap();
    let index = TextIndex::open(root.path()).unwrap();
    for n in 1..=60 {
        index.apply(&batch(vec![change(n, &format!("d{}", n % 6), &[&format!("alarm number{n}")])])).unwrap();
    }
    index.apply(&batch(vec![CopyChange { objects: vec![], ..change(61, "d0", &[]) }])).unwrap();
    let hits = found(&index, "alarm", &ALL);
    assert_eq!(hits.len(), 5);
    assert!(hits.iter().all(|hit| hit.version > 54 && hit.score > 0.0));
    assert!(found(&index, "number54", &ALL).is_empty() && found(&index, "number60", &ALL).is_empty());
    assert!(index.stats().segments < 12, "{:?}", index.stats());
    let expected: Vec<Entry> = index.entries(KeyRange::ALL).unwrap();
    drop(index);
    let again = TextIndex::open(root.path()).unwrap();
    assert_eq!((again.entries(KeyRange::ALL).unwrap(), again.position()), (expected, Some(at(61))));
    // Older than its removal.
    again.apply(&ChangeBatch { through: at(61), changes: vec![change(54, "d0", &["alarm number54"])] }).unwrap();
    assert!(found(&again, "number54", &ALL).is_empty());
}

fn files(root: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push((path.clone(), fs::read(&path).unwrap())) }
    }
    found
}

fn has(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|found| found == wanted)
}

#[test]
fn an_erased_text_and_what_it_replaced_are_in_no_file() {
    let root = tempfile::tempdir().unwrap();
    let index = TextIndex::open(root.path()).unwrap();
    let other =
        |n, id: &str, text: &str| CopyChange { subject: Subject::of_tenant(&tenant()), ..change(n, id, &[text]) };
    index.apply(&batch(vec![change(1, "a", &["firstsecret"]), other(2, "b", "stays here")])).unwrap();
    index.apply(&batch(vec![change(3, "a", &["secondsecret"])])).unwrap();
    assert_eq!(index.erase(&Subject::of_customer(&tenant(), "ann").unwrap()).unwrap(), 1);
    for (path, bytes) in files(root.path()) {
        assert!(!has(&bytes, b"firstsecret") && !has(&bytes, b"secondsecret"), "{}", path.display());
    }
    assert!(found(&index, "firstsecret secondsecret", &ALL).is_empty());
    assert_eq!(ids(&found(&index, "stays", &ALL)), ["b"]);
    index.apply(&batch(vec![other(4, "c", "goes on")])).unwrap();
    assert_eq!(index.position(), Some(at(4)));
}

fn flipped(path: &Path, at: impl Fn(&[u8]) -> usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at(&bytes);
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn of_kind(root: &Path, end: &str) -> std::path::PathBuf {
    let found =
        files(root).into_iter().map(|(path, _)| path).filter(|path| path.extension().is_some_and(|of| of == end));
    found.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

fn expected(changes: &[CopyChange]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = changes.iter().map(digest::of_change).collect();
    entries.sort_by(|a, b| (a.place, &a.key).cmp(&(b.place, &b.key)));
    entries
}

fn ten() -> Vec<CopyChange> {
    (1..=10).map(|n| change(n, &format!("d{n}"), &[&format!("cell word{n}"), "more of it"])).collect()
}

#[test]
fn a_changed_text_is_named_by_its_key_and_mended_by_applying_it_again() {
    let root = tempfile::tempdir().unwrap();
    let index = TextIndex::open(root.path()).unwrap();
    index.apply(&batch(ten())).unwrap();
    let wrong = |index: &TextIndex| -> Vec<String> {
        let held = index.entries(KeyRange::ALL).unwrap();
        expected(&ten())
            .into_iter()
            .filter(|entry| !held.contains(entry))
            .map(|entry| entry.key.id.to_string())
            .collect()
    };
    flipped(&of_kind(root.path(), "store"), |bytes| bytes.windows(5).position(|w| w == b"word7").unwrap() + 4);
    assert_eq!(wrong(&index), ["d7"]);
    assert!(index.damaged() > 0);
    index.apply(&batch(vec![ten()[6].clone()])).unwrap();
    assert_eq!(wrong(&index), Vec::<String>::new());
}

#[test]
fn damaged_postings_are_not_searched_and_their_keys_are_missing() {
    let root = tempfile::tempdir().unwrap();
    let index = TextIndex::open(root.path()).unwrap();
    index.apply(&batch(ten())).unwrap();
    index.apply(&batch(vec![change(11, "whole", &["cell of another segment"])])).unwrap();
    assert_eq!(found(&index, "cell", &ALL).len(), 10);
    flipped(&of_kind(root.path(), "idx"), |_| 3);
    let held: Vec<String> =
        index.entries(KeyRange::ALL).unwrap().iter().map(|entry| entry.key.id.to_string()).collect();
    assert_eq!(held, ["whole"]);
    assert_eq!((ids(&found(&index, "cell", &ALL)), index.damaged()), (vec!["whole".to_owned()], 1));
    index.apply(&batch(ten())).unwrap();
    assert_eq!(index.entries(KeyRange::ALL).unwrap().len(), 11);
    drop(index);
}

#[test]
fn what_is_damaged_when_it_is_opened_is_refused_and_made_anew_beside() {
    for end in ["store", "idx", "term", "fieldnorm", "fast", "meta.json", "current"] {
        let root = tempfile::tempdir().unwrap();
        TextIndex::open(root.path()).unwrap().apply(&batch(ten())).unwrap();
        let path = match end {
            "meta.json" => root.path().join("generation-1/meta.json"),
            "current" => root.path().join("current"),
            end => of_kind(root.path(), end),
        };
        let length = fs::metadata(&path).unwrap().len();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length / 3).unwrap();
        let error = TextIndex::open(root.path()).unwrap_err();
        assert_eq!((error.code(), error.kind()), ("text-damaged", ErrorKind::Corrupt), "{end}: {error}");
        let copy = TextCopy::new(root.path(), ());
        copy.ready().unwrap();
        assert_eq!(copy.position(), None::<Position>);
        let fresh = copy.begin().unwrap();
        fresh.apply(&batch(ten())).unwrap();
        fresh.adopt().unwrap();
        drop((copy, fresh));
        assert_eq!(TextIndex::open(root.path()).unwrap().entries(KeyRange::ALL).unwrap(), expected(&ten()), "{end}");
    }
}

#[test]
fn one_directory_has_one_writer() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (TextIndex::open(root.path()).unwrap(), TextIndex::open(root.path()).unwrap());
    first.apply(&batch(vec![change(1, "a", &["one"])])).unwrap();
    let error = second.apply(&batch(vec![change(2, "b", &["two"])])).unwrap_err();
    assert_eq!((error.code(), error.kind()), ("text-unusable", ErrorKind::Retry));
}
