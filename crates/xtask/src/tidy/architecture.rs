//! Each invariant of ARCHITECTURE.md names the test that holds it, and that test exists.
//!
//! An invariant is a list item that ends with `held by: crate::test_name` (several separated by commas). A function of
//! that name is not enough: the runner has to run it.

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
    let home = format!("crates/{krate}/");
    files.iter().any(|file| file.path.starts_with(&home) && has_test(&file.text, test))
}

/// A function of this name with a test's attribute above it.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let function = format!("fn {name}(");
    let mut places = lines.iter().enumerate().filter(|(_, line)| line.contains(&function));
    places.any(|(at, _)| {
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("//"));
        above.into_iter().any(|line| is_test_attribute(line))
    })
}

fn is_test_attribute(line: &str) -> bool {
    ["#[test]", "#[tokio::test]", "#[tokio::test("].iter().any(|attribute| line.starts_with(attribute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_runner_runs_holds_an_invariant() {
        let text = "#[test]\nfn plain() {}\n\n#[tokio::test(flavor = \"multi_thread\")]\n/// Why.\n#[cfg(unix)]\n\
            async fn slow() {}\n// #[test]\nfn spoken() {}\n#[must_use]\nfn made() {}\n#[test]\n\nfn apart() {}\n";
        for (name, held) in
            [("plain", true), ("slow", true), ("spoken", false), ("made", false), ("apart", false), ("none", false)]
        {
            assert_eq!(has_test(text, name), held, "{name}");
        }
    }

    #[test]
    fn an_invariant_without_its_test_is_named() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let page = file("ARCHITECTURE.md", "1. It holds; held by: a::kept, a::gone, b::kept\n");
        let files = [page, file("crates/a/src/lib.rs", "#[test]\nfn kept() {}\nfn gone() {}\n")];
        let told = check(Path::new("."), &files);
        assert_eq!(told, ["no test is called a::gone", "no test is called b::kept"]);
    }
}
