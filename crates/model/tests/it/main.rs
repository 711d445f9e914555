//! The rules held against real data, read in place when `NEPHKEEP_SAMPLES` names its folder.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod examples;
mod rows;

use model::{Json, json};
use std::path::{Path, PathBuf};

/// The folder of the samples, or a word why the test does nothing.
fn samples() -> Option<PathBuf> {
    let folder = std::env::var_os("NEPHKEEP_SAMPLES").map(PathBuf::from).filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("skipped, data missing");
    }
    folder
}

fn read(path: &Path) -> Json {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    json::parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}
