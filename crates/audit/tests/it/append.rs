//! Appending, reading on after a reopen, gaplessness, classes of reads.

use crate::entries::{act, at, note, write, writes};
use audit::TransparencyLog;
use model::{Class, ErrorKind, Shard};

#[tokio::test(flavor = "multi_thread")]
async fn a_log_goes_on_after_a_reopen_where_it_stopped() {
    let directory = tempfile::tempdir().unwrap();
    {
        let log = TransparencyLog::open(directory.path()).unwrap();
        assert_eq!(log.append(writes(1..=300)).await.unwrap(), 0);
        assert_eq!(log.append(vec![act("one")]).await.unwrap(), 300);
        assert_eq!((log.size(), log.last_write(Shard(0))), (301, Some(at(300))));
    }
    let log = TransparencyLog::open(directory.path()).unwrap();
    assert_eq!((log.size(), log.last_write(Shard(0))), (301, Some(at(300))));
    assert_eq!(log.checkpoint().size, 301);
    assert_eq!(log.append(writes(301..=302)).await.unwrap(), 301);
    assert_eq!(log.publish().await.unwrap().size, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_does_not_follow_is_refused_and_nothing_of_its_call_stands() {
    let directory = tempfile::tempdir().unwrap();
    let log = TransparencyLog::open(directory.path()).unwrap();
    log.append(writes(1..=2)).await.unwrap();
    let error = log.append(vec![write(3), write(5)]).await.unwrap_err();
    assert_eq!((error.code(), error.kind()), ("audit-write-gap", ErrorKind::Conflict));
    assert_eq!(error.fact("expected"), Some(at(4).to_string().as_str()));
    assert_eq!((log.size(), log.last_write(Shard(0))), (2, Some(at(2))));
    log.append(writes(3..=3)).await.unwrap();
    log.wait_for_write(at(3)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_released_by_class() {
    let directory = tempfile::tempdir().unwrap();
    let log = TransparencyLog::open(directory.path()).unwrap();
    log.access(vec![note(Class::Public, 1)]).await.unwrap();
    assert_eq!((log.counters().entries, log.counters().public), (0, 1));
    log.access(vec![note(Class::Confidential, 1), note(Class::Public, 2)]).await.unwrap();
    assert_eq!(log.size(), 1, "durable before it returns");
    log.access(vec![note(Class::Internal, 3)]).await.unwrap();
    let counters = log.counters();
    assert_eq!((counters.entries, counters.positions, counters.public), (2, 2, 2));
    log.publish().await.unwrap();
    assert_eq!(log.size(), 2);
    log.close();
    assert_eq!(log.access(vec![note(Class::Internal, 3)]).await.unwrap_err().code(), "audit-unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_internal_read_becomes_durable_and_signed_without_being_asked() {
    let directory = tempfile::tempdir().unwrap();
    let log = TransparencyLog::open(directory.path()).unwrap();
    log.access(vec![note(Class::Internal, 3)]).await.unwrap();
    log.wait_for_size(1).await.unwrap();
    assert_eq!(log.checkpoint().size, 1);
}

#[test]
fn a_second_opener_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = TransparencyLog::open(directory.path()).unwrap();
    assert_eq!(TransparencyLog::open(directory.path()).unwrap_err().code(), "audit-log-locked");
    drop(log);
    assert!(TransparencyLog::open(directory.path()).is_ok());
}
