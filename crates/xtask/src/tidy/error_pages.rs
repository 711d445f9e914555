//! Every error code has a page `docs/errors/CODE.md`, and every page a code.

use super::{File, crate_of};
use std::{collections::BTreeSet, path::Path};

/// The constructors of `model::Error` whose first string is a code.
const CONSTRUCTORS: [&str; 6] = ["::retry(", "::conflict(", "::refused(", "::invalid(", "::not_found(", "::corrupt("];

pub fn check(_: &Path, files: &[File]) -> Vec<String> {
    let product = |file: &&File| file.path.ends_with(".rs") && crate_of(&file.path).is_some_and(|name| name != "xtask");
    let used: BTreeSet<String> =
        files.iter().filter(product).flat_map(|file| codes(without_tests(&file.text))).collect();
    let mentioned = |code: &str| {
        let quoted = format!("\"{code}\"");
        files.iter().filter(product).any(|file| file.text.contains(&quoted))
    };
    let pages: BTreeSet<String> = files.iter().filter_map(page).collect();
    let missing = used.difference(&pages).map(|code| format!("docs/errors/{code}.md is missing"));
    let stale = pages.iter().filter(|code| !mentioned(code)).map(|code| format!("docs/errors/{code}.md: no such code"));
    let bare = files.iter().filter(|file| page(file).is_some_and(|_| !complete(&file.text)));
    let bare = bare.map(|file| format!("{}: needs ## Cause, ## Check and ## Remedy", file.path));
    missing.chain(stale).chain(bare).collect()
}

fn page(file: &File) -> Option<String> {
    Some(file.path.strip_prefix("docs/errors/")?.strip_suffix(".md")?.to_owned())
}

fn complete(text: &str) -> bool {
    ["## Cause", "## Check", "## Remedy"].iter().all(|heading| text.contains(heading))
}

/// Test modules stand last in a file by our style.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn is_code(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn codes(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for constructor in CONSTRUCTORS {
        for (at, _) in text.match_indices(constructor) {
            let rest = text[at + constructor.len()..].trim_start();
            let code = rest.strip_prefix('"').and_then(|rest| rest.split('"').next());
            found.extend(code.filter(|code| is_code(code)).map(str::to_owned));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_also_on_the_next_line_but_not_in_tests() {
        let text = "Error::retry(\n    \"disk-full\", x);\nError::invalid(\"bad\", y)\n#[cfg(test)]\nError::refused(\"no\", z)";
        assert_eq!(codes(without_tests(text)), ["disk-full", "bad"]);
    }
}
