//! The passages, the questions and which passages answer them, read in place.

use crate::stand::failed;
use model::Result;
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

#[derive(Debug, Clone)]
pub struct Corpus {
    pub file: PathBuf,
    /// Id and what is embedded: title, heading and text.
    pub passages: Vec<(String, String)>,
    /// A question and the ids of the passages that answer it.
    pub questions: Vec<(String, HashSet<String>)>,
}

fn lines(path: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(path).map_err(|error| failed("the passages cannot be read").caused_by(error))?;
    let parsed: serde_json::Result<_> = text.lines().map(serde_json::from_str).collect();
    parsed.map_err(|error| failed("a row of the passages is not JSON").caused_by(error))
}

impl Corpus {
    pub fn find() -> Result<Option<Self>> {
        let Some(root) = std::env::var_os("NEPHKEEP_SAMPLES") else { return Ok(None) };
        let root = Path::new(&root).join("knowledge");
        let file = root.join("passages.jsonl");
        if !file.exists() {
            return Ok(None);
        }
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let passage = |row: &Value| {
            (text(row, "id"), format!("{}\n{}\n{}", text(row, "title"), text(row, "section"), text(row, "text")))
        };
        let passages = lines(&file)?.iter().map(passage).collect();
        let mut answers: HashMap<String, HashSet<String>> = HashMap::new();
        for row in lines(&root.join("qrels_known_item.jsonl"))? {
            answers.entry(text(&row, "query_id")).or_default().insert(text(&row, "passage_id"));
        }
        let questions = lines(&root.join("queries_known_item.jsonl"))?;
        let question =
            |row: &Value| Some((text(row, "text"), answers.get(row["id"].as_str()?).cloned().unwrap_or_default()));
        Ok(Some(Self { file, passages, questions: questions.iter().filter_map(question).collect() }))
    }
}
