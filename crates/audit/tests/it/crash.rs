//! `kill -9` while entries are appended and reads noted: nothing acknowledged is lost, the verifier is content.
//!
//! The child is this test binary again, running only `child`, which does nothing without its environment.

use crate::entries::{act, at, note, writes};
use audit::{Entry, TransparencyLog, verify::verify};
use model::{Class, Shard};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
};

const DIRECTORY: &str = "AUDIT_CRASH_DIRECTORY";

#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(append_for_ever(Path::new(&directory)));
}

async fn append_for_ever(directory: &Path) {
    let log = TransparencyLog::open(directory).unwrap();
    let mut next = log.last_write(Shard(0)).map_or(1, |last| last.n + 1);
    loop {
        let first = log.append(writes(next..=next + 49)).await.unwrap();
        tell(&format!("writes {first} {}", next + 49));
        next += 50;
        log.access(vec![note(Class::Confidential, next)]).await.unwrap();
        tell(&format!("read {next}"));
        let index = log.append(vec![act("crash")]).await.unwrap();
        tell(&format!("act {index}"));
    }
}

fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n> {line}").unwrap();
    out.flush().unwrap();
}

fn spawn(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_to_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path();
    let mut acknowledged: Vec<String> = Vec::new();
    for round in 1..=4 {
        let mut child = spawn(directory);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said = lines.filter_map(|line| line.strip_prefix("> ").map(str::to_owned));
        acknowledged.extend(said.by_ref().take(round * 37));
        child.kill().unwrap();
        // Acknowledged before the kill, read after it.
        acknowledged.extend(said);
        child.wait().unwrap();
        check(directory, &acknowledged);
    }
    assert!(acknowledged.len() >= 370);
}

fn check(directory: &Path, acknowledged: &[String]) {
    let log = TransparencyLog::open(directory).unwrap();
    let entries = log.read_range(0, u64::MAX).unwrap();
    let last = log.last_write(Shard(0)).unwrap().n;
    let mut reads: Vec<u64> = Vec::new();
    for (_, entry) in &entries {
        if let Entry::Access { positions, .. } = entry {
            reads.extend(positions.iter().map(|position| position.n));
        }
    }
    for line in acknowledged {
        let words: Vec<_> = line.split(' ').collect();
        let number = |word: usize| words[word].parse::<u64>().unwrap();
        let entry = |index: u64| &entries[usize::try_from(index).unwrap()].1;
        match words[0] {
            "writes" => {
                assert!(number(2) <= last);
                assert!(matches!(entry(number(1)), Entry::Write { position, .. } if *position == at(number(2) - 49)));
            }
            "read" => assert!(reads.contains(&number(1)), "{line}"),
            _ => assert_eq!(*entry(number(1)), act("crash")),
        }
    }
    let key = log.public_key().clone();
    drop(log);
    let report = verify(directory, &key).unwrap();
    assert!(report.ok(), "{:?}", report.findings);
    assert_eq!(report.entries.write, last);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_record_is_dropped_and_an_older_copy_refused() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path();
    let segment = directory.join("segments").join(format!("{:020}.open", 0));
    let log = TransparencyLog::open(directory).unwrap();
    log.append(writes(1..=10)).await.unwrap();
    drop(log);
    let older = std::fs::read(&segment).unwrap();
    let mut torn = older.clone();
    torn.extend_from_slice(&[0, 90, 1, 2, 3, 4, 5]);
    std::fs::write(&segment, torn).unwrap();
    let log = TransparencyLog::open(directory).unwrap();
    assert_eq!((log.size(), log.append(writes(11..=20)).await.unwrap()), (10, 10));
    drop(log);
    std::fs::write(&segment, &older).unwrap();
    assert_eq!(TransparencyLog::open(directory).unwrap_err().code(), "audit-log-truncated");
    std::fs::remove_file(&segment).unwrap();
    assert_eq!(TransparencyLog::open(directory).unwrap_err().code(), "audit-log-truncated");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_checkpoints_that_do_not_belong_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path();
    let log = TransparencyLog::open(directory).unwrap();
    log.append(writes(1..=10)).await.unwrap();
    drop(log);
    let code = || TransparencyLog::open(directory).unwrap_err().code();
    let hide = |name: &str| std::fs::rename(directory.join(name), directory.join("hidden")).unwrap();
    let bring_back = |name: &str| std::fs::rename(directory.join("hidden"), directory.join(name)).unwrap();
    hide("checkpoint");
    assert_eq!(code(), "audit-log-truncated");
    bring_back("checkpoint");
    hide("log.key");
    assert_eq!(code(), "audit-key-missing");
    bring_back("log.key");
    let mode = |mode| {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(directory.join("log.key"), permissions).unwrap();
    };
    mode(0o644);
    assert_eq!(code(), "audit-key-exposed");
    mode(0o600);
    assert!(TransparencyLog::open(directory).is_ok());
}
