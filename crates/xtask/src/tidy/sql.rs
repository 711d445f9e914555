//! SQL stands only in `ledger`; the benchmark's peers and the test kit bring their own.

use super::{File, crate_of};
use std::path::Path;

const MAY: [&str; 4] = ["ledger", "bench", "testkit", "xtask"];
const MARKS: [&str; 5] = ["SELECT ", "INSERT INTO ", "DELETE FROM ", "UPDATE ONLY ", "CREATE TABLE "];

pub fn check(_: &Path, files: &[File]) -> Vec<String> {
    files.iter().filter(|file| file.path.ends_with(".rs")).flat_map(find).collect()
}

fn find(file: &File) -> Vec<String> {
    if crate_of(&file.path).is_none_or(|name| MAY.contains(&name)) {
        return Vec::new();
    }
    let has_sql = |line: &str| !line.trim_start().starts_with("//") && MARKS.iter().any(|mark| line.contains(mark));
    let lines = file.text.lines().enumerate().filter(|(_, line)| has_sql(line));
    lines.map(|(n, _)| format!("{}:{}: SQL belongs into crates/ledger", file.path, n + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_outside_ledger_is_found() {
        let text = "let q = \"SELECT 1\";\n// SELECT in words\n";
        let file = |path: &str| File { path: path.into(), text: text.into() };
        assert_eq!(find(&file("crates/server/src/x.rs")).len(), 1);
        assert!(find(&file("crates/ledger/src/x.rs")).is_empty());
    }
}
