//! Every metric of the contract is made somewhere: one that nothing exposes any more misleads dashboards and alerts.

use super::{File, crate_of};
use std::path::Path;

pub fn check(_: &Path, files: &[File]) -> Vec<String> {
    let Some(contract) = files.iter().find(|file| file.path == "metrics.toml") else {
        return vec!["metrics.toml is missing".into()];
    };
    let names = contract.text.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
    let unmade = names.filter(|name| !files.iter().any(|file| makes(file, name)));
    unmade.map(|name| format!("metrics.toml: nothing in crates/*/src names {name}")).collect()
}

fn makes(file: &File, name: &str) -> bool {
    let product = crate_of(&file.path).is_some_and(|krate| krate != "xtask") && file.path.contains("/src/");
    let stem = name.strip_suffix("_total").unwrap_or(name);
    product && (file.text.contains(&format!("\"{name}\"")) || file.text.contains(&format!("\"{stem}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_that_nothing_makes_is_named() {
        let file = |path: &str, text: &str| File { path: path.into(), text: text.into() };
        let made = file("crates/server/src/metrics/mod.rs", "add(r, \"a_things\", x)");
        let found = check(Path::new("/"), &[file("metrics.toml", "[a_things_total]\n[b]\n"), made]);
        assert_eq!(found, ["metrics.toml: nothing in crates/*/src names b"]);
    }
}
