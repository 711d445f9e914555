//! Whoever changes a file is noticed, and the change is named.

use crate::entries::{note, writes};
use audit::{PublicKey, Report, TransparencyLog, verify::verify};
use model::Class;
use std::path::Path;

async fn sample(directory: &Path) -> PublicKey {
    let log = TransparencyLog::open(directory).unwrap();
    log.append(writes(1..=600)).await.unwrap();
    log.access(vec![note(Class::Confidential, 3)]).await.unwrap();
    log.publish().await.unwrap();
    log.append(writes(601..=700)).await.unwrap();
    let key = log.public_key().clone();
    drop(log);
    assert!(verify(directory, &key).unwrap().ok());
    key
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn first(report: &Report) -> (&str, Option<u64>, &str) {
    let finding = &report.findings[0];
    (finding.what, finding.index, finding.file.as_deref().unwrap_or(""))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_a_bundle_names_the_entry() {
    let folder = tempfile::tempdir().unwrap();
    let key = sample(folder.path()).await;
    flip(&folder.path().join("tile/entries/001"), 30);
    let report = verify(folder.path(), &key).unwrap();
    assert_eq!(first(&report), ("entry", Some(256), "tile/entries/001"));
    assert_eq!(report.findings_in_all, 1, "two untouched copies still give the entry");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_a_tile_names_the_leaf() {
    let folder = tempfile::tempdir().unwrap();
    let key = sample(folder.path()).await;
    flip(&folder.path().join("tile/0/001"), 32 * 5 + 1);
    flip(&folder.path().join("tile/1/000.p/2"), 33);
    let report = verify(folder.path(), &key).unwrap();
    assert_eq!(first(&report), ("tile", Some(261), "tile/0/001"));
    assert_eq!(report.findings[1].index, Some(256));
    assert_eq!(report.findings_in_all, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_a_partial_tile_or_bundle_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let key = sample(folder.path()).await;
    flip(&folder.path().join("tile/0/002.p/189"), 0);
    let report = verify(folder.path(), &key).unwrap();
    assert_eq!(first(&report), ("tile", Some(512), "tile/0/002.p/189"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_a_segment_is_named_and_refused_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let key = sample(folder.path()).await;
    let segment = folder.path().join(format!("segments/{:020}.open", 0));
    flip(&segment, 60);
    let report = verify(folder.path(), &key).unwrap();
    assert_eq!(first(&report).0, "segment");
    assert_eq!(report.findings[0].index, Some(0));
    assert_eq!(TransparencyLog::open(folder.path()).unwrap_err().code(), "audit-log-truncated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_checkpoint_or_another_key_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let key = sample(folder.path()).await;
    let other = tempfile::tempdir().unwrap();
    let stranger = sample(other.path()).await;
    assert_eq!(first(&verify(folder.path(), &stranger).unwrap()).0, "checkpoint");
    let path = folder.path().join("checkpoint");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\n701\n", "\n700\n")).unwrap();
    assert_eq!(first(&verify(folder.path(), &key).unwrap()), ("checkpoint", None, "checkpoint"));
    assert_eq!(TransparencyLog::open(folder.path()).unwrap_err().code(), "audit-checkpoint-invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_segment_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let key = sample(folder.path()).await;
    let name = format!("segments/{:020}.open", 0);
    std::fs::remove_file(folder.path().join(&name)).unwrap();
    assert_eq!(first(&verify(folder.path(), &key).unwrap()), ("segment", Some(0), name.as_str()));
}

/// Someone with the files but not the key rewrites one entry everywhere, hashes and tiles included.
#[tokio::test(flavor = "multi_thread")]
async fn a_consistent_forgery_fails_at_the_signed_root() {
    let folder = tempfile::tempdir().unwrap();
    let key = sample(folder.path()).await;
    let forged = tempfile::tempdir().unwrap();
    let log = TransparencyLog::open(forged.path()).unwrap();
    let mut entries = writes(1..=701);
    entries.truncate(701);
    log.append(entries).await.unwrap();
    drop(log);
    for part in ["segments", "tile"] {
        std::fs::remove_dir_all(folder.path().join(part)).unwrap();
        std::fs::rename(forged.path().join(part), folder.path().join(part)).unwrap();
    }
    let report = verify(folder.path(), &key).unwrap();
    assert_eq!((first(&report).0, report.findings_in_all), ("root", 1));
    assert_eq!(TransparencyLog::open(folder.path()).unwrap_err().code(), "audit-log-diverged");
}
