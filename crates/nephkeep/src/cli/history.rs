//! Versions of a resource as a table; used by every kind that has a history.

use super::{Global, status::cell};
use crate::{
    client::Answer,
    exit::Outcome,
    output::{self, Format, Report},
};
use serde_json::Value;

pub fn print(global: &Global, answer: &Answer) -> Outcome {
    if global.output == Format::Json {
        return output::document(Format::Json, &answer.text);
    }
    let value = answer.value()?;
    let versions = value.as_array().or_else(|| value["versions"].as_array()).cloned().unwrap_or_default();
    let row = |version: &Value| ["version", "position", "state", "class"].map(|name| cell(&version[name])).to_vec();
    Report::new(&["version", "position", "state", "class"], versions.iter().map(row).collect(), value.clone())
        .print(global.output)
}
