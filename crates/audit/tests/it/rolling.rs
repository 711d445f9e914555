//! Past the end of a segment: rolling, sealing, reopening, tiles lost to a power cut.

use crate::entries::{at, write, writes};
use audit::{TransparencyLog, check_proof, verify::verify};
use model::Shard;

const SEGMENT: u64 = 65_536;

#[tokio::test(flavor = "multi_thread")]
async fn full_segments_are_sealed_read_back_and_their_lost_tiles_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path();
    let log = TransparencyLog::open(directory).unwrap();
    log.append(writes(1..=SEGMENT - 10)).await.unwrap();
    let old = log.publish().await.unwrap();
    let old_text = log.checkpoint_text();
    // One append across the end of a segment.
    assert_eq!(log.append(writes(SEGMENT - 9..=SEGMENT + 300)).await.unwrap(), SEGMENT - 10);
    log.append(writes(SEGMENT + 301..=2 * SEGMENT)).await.unwrap();
    let new = log.publish().await.unwrap();
    assert_eq!(new.size, 2 * SEGMENT);
    let continued = audit::continues(directory, &old_text, log.public_key()).unwrap();
    assert_eq!((continued.kept, continued.now, continued.verdict), (old, new, audit::Continuity::Continues));
    log.append(writes(2 * SEGMENT + 1..=2 * SEGMENT + 5)).await.unwrap();
    let key = log.public_key().clone();
    drop(log);

    assert!(directory.join(format!("segments/{SEGMENT:020}.sealed")).exists());
    let report = verify(directory, &key).unwrap();
    assert!(report.ok(), "{:?}", report.findings);
    assert_eq!((report.size, report.entries.write), (2 * SEGMENT + 5, 2 * SEGMENT + 5));

    for lost in ["tile/0/300", "tile/entries/301", "tile/1/001"] {
        std::fs::remove_file(directory.join(lost)).unwrap();
    }
    std::fs::write(directory.join("tile/0/007"), []).unwrap();
    assert_eq!(verify(directory, &key).unwrap().findings_in_all, 4);
    let log = TransparencyLog::open(directory).unwrap();
    assert_eq!((log.size(), log.last_write(Shard(0))), (2 * SEGMENT + 5, Some(at(2 * SEGMENT + 5))));
    let report = verify(directory, &key).unwrap();
    assert!(report.ok(), "{:?}", report.findings);
    for index in [0, SEGMENT - 1, SEGMENT, 2 * SEGMENT + 4] {
        let proven = check_proof(&log.prove(index).await.unwrap(), &key).unwrap();
        assert_eq!(proven.entry, write(index + 1));
    }
    drop(log);

    // Stopped before the later checkpoints were published, and between sealing a segment and removing its open form.
    std::fs::write(directory.join("checkpoint"), old_text).unwrap();
    let leftover = directory.join(format!("segments/{SEGMENT:020}.open"));
    std::fs::write(&leftover, b"NKAUDIT1").unwrap();
    let report = verify(directory, &key).unwrap();
    assert!(report.ok(), "{:?}", report.findings);
    assert_eq!((report.size, report.beyond), (SEGMENT - 10, SEGMENT + 15));
    let log = TransparencyLog::open(directory).unwrap();
    assert_eq!((log.size(), log.checkpoint().size), (2 * SEGMENT + 5, 2 * SEGMENT + 5));
    drop(log);
    assert!(!leftover.exists());

    let sealed = directory.join(format!("segments/{:020}.sealed", 0));
    let mut bytes = std::fs::read(&sealed).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&sealed, &bytes).unwrap();
    let report = verify(directory, &key).unwrap();
    assert_eq!(report.findings[0].what, "segment", "named, and the entries after it are taken from the bundles");
    assert!(report.findings[0].file.as_ref().is_some_and(|file| sealed.ends_with(file)));
    std::fs::remove_file(&sealed).unwrap();
    let report = verify(directory, &key).unwrap();
    assert_eq!((report.findings[0].what, report.findings[0].index), ("segment", Some(0)));
    assert_eq!(TransparencyLog::open(directory).unwrap_err().code(), "audit-log-truncated");
}
