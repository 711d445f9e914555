//! Proof files, consistency, queries.

use crate::entries::{act, at, note, write, writes};
use audit::{Continuity, Entry, EntryKind, PublicKey, Query, TransparencyLog, check_proof, continues, merkle, prove};
use model::Class;

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_any_entry_holds_under_the_public_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let log = TransparencyLog::open(folder.path()).unwrap();
    log.append(writes(1..=700)).await.unwrap();
    log.append(vec![act("last")]).await.unwrap();
    let fresh = log.prove(700).await.unwrap();
    let key: PublicKey = std::fs::read_to_string(folder.path().join("log.pub")).unwrap().parse().unwrap();
    assert_eq!(check_proof(&fresh, &key).unwrap().entry, act("last"));
    for index in [0, 1, 255, 256, 511, 512, 699] {
        let text = prove(folder.path(), index).unwrap();
        let proven = check_proof(&text, &key).unwrap();
        assert_eq!((proven.index, proven.entry, proven.checkpoint.size), (index, write(index + 1), 701));
        let moved = text.replace(&format!("index {index}\n"), &format!("index {}\n", index + 1));
        assert_eq!(check_proof(&moved, &key).unwrap_err().code(), "audit-proof-invalid");
    }
    assert_eq!(prove(folder.path(), 701).unwrap_err().code(), "audit-index-unknown");
    let other = tempfile::tempdir().unwrap();
    let stranger = TransparencyLog::open(other.path()).unwrap();
    assert!(check_proof(&fresh, stranger.public_key()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_shown_to_continue_a_kept_checkpoint_and_any_other_history_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let log = TransparencyLog::open(folder.path()).unwrap();
    let empty = log.checkpoint_text();
    // Whoever has the key can begin again with other entries.
    let forked = tempfile::tempdir().unwrap();
    for name in ["log.key", "log.pub", "checkpoint"] {
        std::fs::copy(folder.path().join(name), forked.path().join(name)).unwrap();
    }
    log.append(writes(1..=300)).await.unwrap();
    let old = log.publish().await.unwrap();
    let kept = log.checkpoint_text();
    log.append(writes(301..=900)).await.unwrap();
    let new = log.publish().await.unwrap();
    let key = log.public_key().clone();
    for (text, size) in [(&empty, 0), (&kept, 300), (&log.checkpoint_text(), 900)] {
        let continued = continues(folder.path(), text, &key).unwrap();
        assert_eq!((continued.verdict, continued.kept.size, &continued.now), (Continuity::Continues, size, &new));
    }
    let path = continues(folder.path(), &kept, &key).unwrap().path;
    assert!(merkle::verify_consistency(old.size, &old.root, new.size, &new.root, &path), "with both checkpoints alone");
    assert!(!merkle::verify_consistency(old.size, &new.root, new.size, &new.root, &path));

    let other = TransparencyLog::open(forked.path()).unwrap();
    let verdict = || continues(forked.path(), &kept, &key).unwrap().verdict;
    assert_eq!(verdict(), Continuity::Shorter);
    other.append(writes(1..=299)).await.unwrap();
    other.append(vec![act("another")]).await.unwrap();
    other.publish().await.unwrap();
    assert_eq!(verdict(), Continuity::Forked, "of the same length");
    other.append(writes(300..=1_000)).await.unwrap();
    other.publish().await.unwrap();
    assert_eq!(verdict(), Continuity::Forked);
    assert!(audit::verify::verify(forked.path(), &key).unwrap().ok(), "by itself nothing is wrong with it");

    let stranger = TransparencyLog::open(tempfile::tempdir().unwrap().path()).unwrap();
    let foreign = continues(folder.path(), &stranger.checkpoint_text(), &key).unwrap_err();
    assert_eq!(foreign.code(), "audit-checkpoint-invalid");
    let flipped = kept.replacen("300", "301", 1);
    assert_eq!(continues(folder.path(), &flipped, &key).unwrap_err().code(), "audit-checkpoint-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_found_by_range_kind_principal_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let log = TransparencyLog::open(folder.path()).unwrap();
    log.append(writes(1..=600)).await.unwrap();
    log.append(vec![act("one"), act("two")]).await.unwrap();
    log.access(vec![note(Class::Confidential, 5)]).await.unwrap();
    log.append(writes(601..=610)).await.unwrap();
    let range = log.read_range(598, 604).unwrap();
    assert_eq!(range.iter().map(|(index, _)| *index).collect::<Vec<_>>(), (598..604).collect::<Vec<_>>());
    assert!(matches!(&range[5].1, Entry::Write { position, .. } if *position == at(601)));
    let acts = Query { kind: Some(EntryKind::Act), limit: 1, newest_first: true, ..Query::default() };
    let found = log.query(&acts).unwrap();
    assert_eq!(found.entries, vec![(601, act("two"))]);
    let rest = log.query(&Query { range: found.rest, ..acts }).unwrap();
    assert_eq!(rest.entries, vec![(600, act("one"))]);
    assert_eq!(rest.rest, None, "everything older was looked at");
    let by = |query: Query| log.query(&Query { limit: 1_000, ..query }).unwrap().entries.len();
    assert_eq!(by(Query { principal: Some("reader".into()), ..Query::default() }), 1);
    assert_eq!(by(Query { tenant: Some("south".into()), ..Query::default() }), 0);
    let early = Query { since_micros: Some(10), until_micros: Some(20), ..Query::default() };
    assert_eq!(by(early), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_leaf_the_writes_go_on_where_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let log = TransparencyLog::open(folder.path()).unwrap();
    log.append(writes(1..=10)).await.unwrap();
    let mut to = at(8);
    to.incarnation.ordinal = 2;
    let restore = Entry::Restore { hlc: 1, principal: "admin".into(), from: at(7), to, voided: 8..=10 };
    log.append(vec![restore]).await.unwrap();
    assert!(log.append(writes(11..=11)).await.is_err(), "the old incarnation has ended");
    let mut next = write(8);
    if let Entry::Write { position, .. } = &mut next {
        *position = to;
    }
    log.append(vec![next]).await.unwrap();
    let key = log.public_key().clone();
    drop(log);
    let report = audit::verify::verify(folder.path(), &key).unwrap();
    assert!(report.ok(), "{:?}", report.findings);
    assert_eq!(report.writes, vec![to.to_string()]);
}
