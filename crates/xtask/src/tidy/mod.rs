//! `cargo x tidy`: each check prints what it found; any finding fails the run.

mod architecture;
mod arrows;
mod error_pages;
mod metrics;
mod source;
mod sql;
mod words;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file of the project: its path from the root, and its text.
pub struct File {
    pub path: String,
    pub text: String,
}

type Check = fn(&Path, &[File]) -> Vec<String>;

const CHECKS: [(&str, Check); 8] = [
    ("arrows between crates", arrows::check),
    ("SQL only in ledger", sql::check),
    ("sizes, names, forbidden marks", source::check),
    ("error codes and their pages", error_pages::check),
    ("invariants name existing tests", architecture::check),
    ("metrics of the contract are made", metrics::check),
    ("words that do not belong", words::check),
    ("claims and result files", crate::claims::check),
];

pub fn run(root: &Path) -> Result<(), String> {
    let files = tracked(root)?;
    let mut findings = 0;
    for (name, check) in CHECKS {
        let found = check(root, &files);
        println!("{} {name}", if found.is_empty() { "ok  " } else { "FAIL" });
        for line in &found {
            println!("       {line}");
        }
        findings += found.len();
    }
    println!("tidy: {} files, {findings} findings", files.len());
    if findings == 0 { Ok(()) } else { Err(format!("tidy: {findings} findings")) }
}

/// Every text file git knows or would add: a new file is checked before it is committed.
fn tracked(root: &Path) -> Result<Vec<File>, String> {
    let listed = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("git ls-files: {error}"))?;
    if !listed.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr)));
    }
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    let read = |path: &str| {
        let text = fs::read_to_string(root.join(PathBuf::from(path))).ok()?;
        Some(File { path: path.to_owned(), text })
    };
    let files: Vec<File> = names.split('\0').filter(|path| !path.is_empty()).filter_map(read).collect();
    if files.is_empty() { Err("git lists no files: nothing was checked".into()) } else { Ok(files) }
}

/// `crates/ledger/src/gateway.rs` → `ledger`.
pub fn crate_of(path: &str) -> Option<&str> {
    path.strip_prefix("crates/")?.split('/').next()
}
