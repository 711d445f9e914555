//! Each invariant of ARCHITECTURE.md names the test that holds it, and that test exists.
//!
//! An invariant is a list item that ends with `held by: crate::test_name` (several separated by commas).

use super::File;
use std::path::Path;

const MARK: &str = "held by: ";

pub fn check(_: &Path, files: &[File]) -> Vec<String> {
    let Some(page) = files.iter().find(|file| file.path == "ARCHITECTURE.md") else {
        return vec!["ARCHITECTURE.md is missing".into()];
    };
    let named: Vec<&str> = page
        .text
        .lines()
        .filter_map(|line| line.split_once(MARK))
        .flat_map(|(_, names)| names.split(','))
        .map(|name| name.trim().trim_matches(|c| matches!(c, '`' | '.' | ')')))
        .collect();
    if named.is_empty() {
        return vec![format!("ARCHITECTURE.md names no test: an invariant ends with `{MARK}crate::test_name`")];
    }
    named.into_iter().filter(|name| !exists(name, files)).map(|name| format!("no test is called {name}")).collect()
}

fn exists(name: &str, files: &[File]) -> bool {
    let Some((krate, test)) = name.split_once("::") else { return false };
    let (home, function) = (format!("crates/{krate}/"), format!("fn {test}("));
    files.iter().any(|file| file.path.starts_with(&home) && file.text.contains(&function))
}
