//! The rules held against real data, read in place when `NEPHKEEP_SAMPLES` names its folder.
#![allow(clippy::unwrap_used, clippy::panic)]

mod examples;
mod rows;
// By path: as a dependency the whole testkit would have to be built for the purest crate's tests.
#[path = "../../../testkit/src/skipped.rs"]
mod skipped;

use model::{Json, json};
use std::path::Path;

fn read(path: &Path) -> Json {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    json::parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}
