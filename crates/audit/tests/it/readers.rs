//! Many readers at once: each answer has its position, each is released, groups are few.

use crate::entries::note;
use audit::{Entry, TransparencyLog};
use model::Class;
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_given_has_its_position_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = Arc::new(TransparencyLog::open(folder.path()).unwrap());
    let readers: Vec<_> = (0..300u64)
        .map(|reader| {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                for step in 0..20 {
                    let class = if (reader + step) % 3 == 0 { Class::Internal } else { Class::Confidential };
                    log.note([note(class, reader * 20 + step)]).unwrap().released().await.unwrap();
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    log.publish().await.unwrap();
    let mut seen = Vec::new();
    for (_, entry) in log.read_range(0, u64::MAX).unwrap() {
        let Entry::Access { positions, .. } = entry else { panic!("only reads were noted") };
        assert!(positions.len() <= 1_024);
        seen.extend(positions.into_iter().map(|position| position.n));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..6_000).collect::<Vec<_>>());
    let counters = log.counters();
    assert_eq!(counters.positions, 6_000);
    assert!(counters.flushes < 3_000 && counters.entries < 6_000, "{counters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_holds_at_most_1024_positions() {
    let folder = tempfile::tempdir().unwrap();
    let log = TransparencyLog::open(folder.path()).unwrap();
    log.access((0..2_500).map(|n| note(Class::Confidential, n)).collect()).await.unwrap();
    assert_eq!((log.size(), log.counters().positions), (3, 2_500));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_with_an_endless_name_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = TransparencyLog::open(folder.path()).unwrap();
    let mut long = note(Class::Confidential, 1);
    long.principal = "x".repeat(70_000).into();
    assert_eq!(log.access(vec![long]).await.unwrap_err().code(), "audit-entry-too-large");
    log.access(vec![note(Class::Confidential, 1)]).await.unwrap();
}
