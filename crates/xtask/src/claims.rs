//! README's results table is generated from `docs/results/*.json`; a claim without its file is a finding.

use crate::tidy::File;
use serde_json::Value;
use std::{fmt::Write as _, fs, path::Path};

const BEGIN: &str = "<!-- results: written by `cargo x results` -->";
const END: &str = "<!-- end of results -->";

pub fn write(root: &Path) -> Result<(), String> {
    let path = root.join("README.md");
    let readme = fs::read_to_string(&path).map_err(|error| format!("README.md: {error}"))?;
    let (before, rest) = readme.split_once(BEGIN).ok_or(format!("README.md has no line {BEGIN}"))?;
    let (_, after) = rest.split_once(END).ok_or(format!("README.md has no line {END}"))?;
    let table = table(root)?;
    fs::write(&path, format!("{before}{BEGIN}\n{table}{END}{after}")).map_err(|error| format!("README.md: {error}"))?;
    println!("README.md: results table written");
    Ok(())
}

pub fn check(root: &Path, files: &[File]) -> Vec<String> {
    let Some(readme) = files.iter().find(|file| file.path == "README.md") else {
        return vec!["README.md is missing".into()];
    };
    let shown = readme.text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(table, _)| table.trim());
    match (shown, table(root)) {
        (None, _) => vec![format!("README.md has no results table between {BEGIN} and {END}")],
        (_, Err(why)) => vec![why],
        (Some(shown), Ok(table)) if shown == table.trim() => Vec::new(),
        _ => vec!["README.md's results table differs from docs/results: run `cargo x results`".into()],
    }
}

/// Rows of every result file: `{"command": …, "machine": …, "rows": [{"work", "target", "measured", "verdict"}]}`.
fn table(root: &Path) -> Result<String, String> {
    let folder = root.join("docs/results");
    let entries = fs::read_dir(&folder).map_err(|error| format!("docs/results: {error}"))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let mut text = String::from("| work | target | measured | verdict | source |\n|---|---|---|---|---|\n");
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let content = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        let result: Value = serde_json::from_str(&content).map_err(|error| format!("{name}: {error}"))?;
        let rows = result["rows"].as_array().ok_or(format!("{name}: no list \"rows\""))?;
        for row in rows {
            let verdict = verdict(row).map_err(|why| format!("{name}: {why}"))?;
            let cell = |key: &str| row[key].as_str().unwrap_or("").replace('|', "/");
            let (work, target, measured) = (cell("work"), cell("target"), cell("measured"));
            let _ = writeln!(text, "| {work} | {target} | {measured} | {verdict} | [{name}](docs/results/{name}) |");
        }
    }
    Ok(text)
}

/// What has no target cannot have met it; files from before that was a verdict of its own said *met*.
fn verdict(row: &Value) -> Result<&str, String> {
    match row["verdict"].as_str() {
        Some("met") if row["target"] == "told" => Ok("told"),
        Some(word @ ("met" | "unmet" | "not measured" | "told")) => Ok(word),
        other => Err(format!("{:?} is no verdict", other.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_without_a_target_is_told_in_old_files_too() {
        let shown = |target: &str, word: &str| verdict(&json!({"target": target, "verdict": word})).map(str::to_owned);
        assert_eq!(shown("told", "met").as_deref(), Ok("told"));
        assert_eq!(shown("told", "told").as_deref(), Ok("told"));
        assert_eq!(shown("told", "not measured").as_deref(), Ok("not measured"));
        assert_eq!(shown("≥ 1", "met").as_deref(), Ok("met"));
        assert!(shown("≥ 1", "good").is_err() && verdict(&json!({"target": "1"})).is_err());
    }
}
