//! Limits on source files: length, module names, marks of unfinished work.

use super::File;
use std::path::Path;

const LINES_MAX: usize = 600;
const NAMES: [&str; 6] = ["utils", "util", "common", "manager", "helper", "helpers"];

pub fn check(_: &Path, files: &[File]) -> Vec<String> {
    files.iter().filter(|file| file.path.ends_with(".rs")).flat_map(judge).collect()
}

fn judge(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    let lines = file.text.lines().count();
    if lines > LINES_MAX {
        found.push(format!("{}: {lines} lines, more than {LINES_MAX}", file.path));
    }
    let named_badly = |part: &str| NAMES.contains(&part.trim_end_matches(".rs"));
    if file.path.split('/').any(named_badly) {
        found.push(format!("{}: name what it does, not what it is for", file.path));
    }
    if !file.path.starts_with("crates/xtask/") {
        let marks = ["TODO", "FIXME", "XXX", "#[ignore", "todo!(", "unimplemented!("];
        for (n, line) in file.text.lines().enumerate() {
            if let Some(mark) = marks.iter().find(|mark| line.contains(*mark)) {
                found.push(format!("{}:{}: '{mark}' has no place in a finished file", file.path, n + 1));
            }
        }
    }
    let lines = file.text.lines().enumerate();
    found.extend(lines.filter(|(_, line)| says_unheard(line)).map(|(n, _)| {
        format!("{}:{}: the runner hides what a passing test prints: testkit::skipped::skipped", file.path, n + 1)
    }));
    found
}

/// `println!` of a word that a test is skipped; split so that this file does not find itself.
fn says_unheard(line: &str) -> bool {
    line.contains(concat!("println!(\"", "skipped"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_files_bad_names_and_marks_are_found() {
        let file = |path: &str, text: String| File { path: path.into(), text };
        assert_eq!(judge(&file("crates/a/src/b.rs", "x\n".repeat(601))).len(), 1);
        assert_eq!(judge(&file("crates/a/src/utils.rs", String::new())).len(), 1);
        assert_eq!(judge(&file("crates/a/src/utils/b.rs", String::new())).len(), 1);
        assert_eq!(judge(&file("crates/a/src/b.rs", "// TODO: later".into())).len(), 1);
        let skips = concat!("eprintln!(\"", "skipped, data missing\")");
        assert_eq!(judge(&file("crates/a/tests/it/b.rs", skips.into())).len(), 1);
        assert!(judge(&file("crates/a/src/b.rs", "x\n".repeat(600))).is_empty());
    }
}
