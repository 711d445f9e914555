//! Which crate may use which: the constant is the design, `cargo metadata` is the fact.

use super::File;
use serde_json::Value;
use std::{collections::BTreeSet, path::Path, process::Command};

/// Normal dependencies. A new arrow is a reviewed one-line change here.
const ARROWS: [(&str, &[&str]); 13] = [
    ("model", &[]),
    ("supervisor", &["model"]),
    ("registry", &["model"]),
    ("keys", &["model"]),
    ("audit", &["model"]),
    ("ledger", &["model", "supervisor", "keys", "audit"]),
    ("stores", &["model", "supervisor"]),
    ("texts", &["model"]),
    ("relay", &["model", "keys", "ledger", "stores"]),
    ("operations", &["model", "keys", "audit", "ledger", "stores", "relay"]),
    ("server", &["model", "keys", "audit", "registry", "ledger", "stores", "relay", "texts", "operations"]),
    ("nephkeep", &["model", "registry", "keys", "audit", "ledger", "stores", "relay", "texts", "operations", "server"]),
    ("xtask", &[]),
];
/// Used only by tests, benches and chores; no product crate may depend on them.
const DEVELOPMENT: [&str; 3] = ["testkit", "bench", "xtask"];

pub fn check(root: &Path, _: &[File]) -> Vec<String> {
    match workspace_edges(root) {
        Ok(edges) => edges.iter().filter_map(|(from, to)| judge(from, to)).collect(),
        Err(why) => vec![why],
    }
}

fn judge(from: &str, to: &str) -> Option<String> {
    let allowed = ARROWS.iter().find(|(name, _)| *name == from).map(|(_, targets)| *targets);
    match allowed {
        None if DEVELOPMENT.contains(&from) => None,
        None => Some(format!("crate {from} is not in the design: add it to ARROWS in xtask/src/tidy/arrows.rs")),
        Some(targets) if targets.contains(&to) => None,
        Some(_) => Some(format!("{from} -> {to} is not an arrow of the design")),
    }
}

/// (from, to) for every normal or build dependency inside the workspace.
fn workspace_edges(root: &Path) -> Result<BTreeSet<(String, String)>, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let mut edges = BTreeSet::new();
    for package in packages {
        let from = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            if dependency["path"].is_string() && dependency["kind"] != "dev" {
                edges.insert((from.to_owned(), dependency["name"].as_str().unwrap_or_default().to_owned()));
            }
        }
    }
    if edges.is_empty() { Err("cargo metadata shows no arrows at all".into()) } else { Ok(edges) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_arrow_and_an_unknown_crate_are_named() {
        assert!(judge("keys", "model").is_none());
        assert!(judge("model", "ledger").is_some_and(|why| why.contains("model -> ledger")));
        assert!(judge("server", "testkit").is_some());
        assert!(judge("newcomer", "model").is_some());
        assert!(judge("bench", "server").is_none());
    }
}
