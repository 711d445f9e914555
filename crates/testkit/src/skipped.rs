//! A test that cannot run says so where it is seen, and the samples that some tests read.

use std::{io::Write, path::PathBuf};

/// Tells that a test is skipped and why (*data missing*, *engine missing* …). The runner captures what a passing test
/// prints by the macros; what is written to the standard error itself it does not.
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // One write: tests run side by side. Nobody can be told when it fails.
    let _unheard = std::io::stderr().write_all(format!("{test}: skipped, {why}\n").as_bytes());
}

/// A folder of the samples, read in place; without it the test says that it is skipped.
#[must_use]
pub fn samples(folder: &str) -> Option<PathBuf> {
    let named = std::env::var_os("NEPHKEEP_SAMPLES").filter(|root| !root.is_empty());
    let found = named.map(|root| PathBuf::from(root).join(folder)).filter(|path| path.is_dir());
    if found.is_none() {
        skipped(&format!("data missing: NEPHKEEP_SAMPLES names no folder with {folder:?}"));
    }
    found
}
