//! What must not stand in a published file: paths of a development machine, package registry hosts.

use super::File;
use std::path::Path;

/// Split so that this file does not find itself.
const WORDS: [[&str; 2]; 6] = [
    ["/wo", "rk/"],
    ["/home/", "user"],
    ["static.crates", ".io"],
    ["pypi", ".org"],
    ["registry.npmjs", ".org"],
    ["proxy.golang", ".org"],
];

pub fn check(_: &Path, files: &[File]) -> Vec<String> {
    files.iter().filter(|file| file.path != "Cargo.lock").flat_map(find).collect()
}

fn find(file: &File) -> Vec<String> {
    let words: Vec<String> = WORDS.iter().map(|parts| parts.concat()).collect();
    let mut found = Vec::new();
    for (n, line) in file.text.lines().enumerate() {
        if let Some(word) = words.iter().find(|word| line.contains(word.as_str())) {
            found.push(format!("{}:{}: '{word}' does not belong into the project", file.path, n + 1));
        }
    }
    found
}
