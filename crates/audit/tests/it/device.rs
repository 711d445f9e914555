//! A device that takes no more: reads and appends are refused, and the log recovers by itself.
//!
//! A soft limit on file size (SIGXFSZ ignored by the shell that starts the child) plays the full disk.

use crate::entries::{act, note};
use audit::{TransparencyLog, verify::verify};
use model::{Class, ErrorKind};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{path::Path, process::Command};

const DIRECTORY: &str = "AUDIT_FULL_DIRECTORY";

#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(fill_and_recover(Path::new(&directory)));
}

fn limit(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

async fn fill_and_recover(directory: &Path) {
    let log = TransparencyLog::open(directory).unwrap();
    log.append(vec![act("before")]).await.unwrap();
    limit(Some(20_000));
    let mut stood = 1;
    let error = loop {
        match log.append(vec![act(&"x".repeat(3_000))]).await {
            Ok(index) => stood = index + 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.code()), (ErrorKind::Retry, "audit-unavailable"));
    let refused = log.access(vec![note(Class::Confidential, 1); 900]).await;
    let small = if refused.is_ok() { 1 } else { 0 };
    assert!(log.append(vec![act(&"y".repeat(3_000))]).await.is_err());
    assert!(log.counters().failures >= 2);
    limit(None);
    let index = log.append(vec![act("after")]).await.unwrap();
    assert_eq!(index, stood + small, "what was refused left nothing behind");
    log.access(vec![note(Class::Confidential, 2)]).await.unwrap();
    assert_eq!(log.publish().await.unwrap().size, index + 2);
}

#[test]
fn a_full_device_refuses_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"trap "" XFSZ; exec "$0" --exact device::child --nocapture"#;
    let status = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(DIRECTORY, folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    let key = std::fs::read_to_string(folder.path().join("log.pub")).unwrap().parse().unwrap();
    let report = verify(folder.path(), &key).unwrap();
    assert!(report.ok() && report.size > 3, "{:?}", report.findings);
}
