//! `knowledge search` and `knowledge retrieve`: questions, answered for a reader and for a prompt.

use super::super::Global;
use crate::{
    client::Call,
    exit::Outcome,
    output::{self, Format, Report},
    routes,
};
use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};
use stores::embed::SEMANTIC;

/// Of the lexical embedder: what shares a word or two with a question, by chance, scores up to this.
const WEAK: f64 = 0.3;
const LEXICAL: &str = "lexical";

/// How a question is answered, whatever is made of the answer.
#[derive(Debug, Args)]
struct How {
    /// Only of this source
    #[arg(long)]
    source: Option<String>,
    /// What is asked: the vectors, the words (BM25), or both [default: both, or the one that can be asked]
    #[arg(long)]
    mode: Option<Mode>,
    /// How both are made one ranking: by their scores, or by their ranks
    #[arg(long, default_value = "relative")]
    fusion: Fusion,
    /// The vectors' share where both are asked, 0 to 1
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    alpha: f64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    Hybrid,
    Vector,
    Text,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Fusion {
    Relative,
    Ranked,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a number from 0 to 1 is expected, like 0.5".to_owned())
}

/// Find the passages nearest to a question
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep knowledge search 'how is a handover triggered'\n  \
    nephkeep knowledge search --limit 3 --source runbooks 'link down' -o json\n  \
    nephkeep knowledge search --mode text 'TS 38.413'\n  nephkeep knowledge search --alpha 0.75 'why do calls drop'\n\n\
    Two copies are asked: the vectors and the words (BM25). Confidential documents are found by their vectors alone. The \
    embedder of a new installation, hash-384 (lexical, offline), finds words and their forms; [embedder] in \
    nephkeep.toml names one that finds meanings. What is shown is read from the record, with an access entry for each \
    document.")]
pub struct Search {
    /// The question, in words
    text: String,
    /// At most so many passages
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    limit: u16,
    #[command(flatten)]
    how: How,
}

/// Gather passages with citations for a prompt
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep knowledge retrieve 'how is a handover triggered' > context.txt\n  \
    nephkeep knowledge retrieve --tokens 800 'link down' -o json\n\n\
    Prints the nearest passages that fit the budget together, each under its number and what it is cited by; with \
    -o json, each with its place in the record. Tokens are estimated as a quarter of the characters.")]
pub struct Retrieve {
    /// The question, in words
    text: String,
    /// Of everything that is printed
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tokens: u32,
    /// At most so many passages
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
    limit: u16,
    #[command(flatten)]
    how: How,
}

impl How {
    fn body(&self, text: &str, limit: u16) -> Value {
        let mut body = json!({ "text": text, "limit": limit, "alpha": self.alpha });
        body["fusion"] = json!(match self.fusion {
            Fusion::Relative => "relative",
            Fusion::Ranked => "ranked",
        });
        if let Some(source) = &self.source {
            body["source"] = json!(source);
        }
        if let Some(mode) = self.mode {
            body["mode"] = json!(match mode {
                Mode::Hybrid => "hybrid",
                Mode::Vector => "vector",
                Mode::Text => "text",
            });
        }
        body
    }
}

pub async fn search(global: &Global, verb: &Search) -> Outcome {
    let body = verb.how.body(&verb.text, verb.limit);
    let answer = global.client()?.send(Call::new(Method::POST, routes::SEARCH).json(&body)).await?.value()?;
    if global.output != Format::Table {
        return Report::new(&[], Vec::new(), answer).print(global.output);
    }
    let passages = answer["passages"].as_array().map(Vec::as_slice).unwrap_or_default();
    for passage in passages {
        let text = |name: &str| output::printable(passage[name].as_str().unwrap_or_default());
        let score = passage["score"].as_f64().unwrap_or_default();
        output::data(&format!(
            "{score:.3}  {}: {}  {}{}",
            text("source"),
            text("path"),
            text("heading"),
            parts(&answer, passage)
        ));
        output::data(&format!("       {}\n", excerpt(passage["text"].as_str().unwrap_or_default())));
    }
    told(&answer, passages);
    Ok(())
}

/// What each copy gave a passage, where both were asked.
fn parts(answer: &Value, passage: &Value) -> String {
    if answer["mode"] != "hybrid" {
        return String::new();
    }
    let part = |name: &str| passage["scores"][name].as_f64().map_or("-".to_owned(), |score| format!("{score:.2}"));
    format!("  (vector {}, bm25 {})", part("vector"), part("bm25"))
}

/// How it was found, on standard error.
fn told(answer: &Value, passages: &[Value]) {
    let embedder = answer["embedder"].as_str();
    let lexical = embedder.is_some_and(|embedder| embedder.contains(LEXICAL));
    let near = |passage: &Value| {
        let scores = &passage["scores"];
        scores["bm25"].is_number() || scores["vector"].as_f64().is_some_and(|score| score >= WEAK)
    };
    if lexical && !passages.is_empty() && !passages.iter().any(near) {
        output::note("nothing stands near to this question: these passages share few words with it");
    }
    let by = match (answer["mode"].as_str(), embedder) {
        (Some("hybrid"), Some(embedder)) => format!("{} and BM25", output::printable(embedder)),
        (_, Some(embedder)) => output::printable(embedder),
        (_, None) => "BM25".to_owned(),
    };
    let hint = if lexical { format!("; {SEMANTIC}") } else { String::new() };
    output::note(&format!("{} by {by}{hint}", output::counted(passages.len() as u64, "passage")));
    if let (Some(copy), Some(code)) = (answer["without"]["copy"].as_str(), answer["without"]["code"].as_str()) {
        let (copy, code) = (output::printable(copy), output::printable(code));
        output::note(&format!("the copy {copy} could not be asked ({code}); nephkeep status tells how it stands"));
    }
}

pub async fn retrieve(global: &Global, verb: &Retrieve) -> Outcome {
    let mut body = verb.how.body(&verb.text, verb.limit);
    body["tokens"] = json!(verb.tokens);
    let answer = global.client()?.send(Call::new(Method::POST, routes::RETRIEVE).json(&body)).await?.value()?;
    if global.output != Format::Table {
        return Report::new(&[], Vec::new(), answer).print(global.output);
    }
    for line in answer["context"].as_str().unwrap_or_default().lines() {
        output::data(&output::printable(line));
    }
    let passages = answer["passages"].as_array().map(Vec::as_slice).unwrap_or_default();
    told(&answer, passages);
    let left = answer["left_out"].as_u64().unwrap_or_default();
    let tokens = answer["tokens"].as_u64().unwrap_or_default();
    output::note(&format!("some {tokens} of {} tokens; {left} more did not fit", verb.tokens));
    Ok(())
}

/// One line of a passage.
fn excerpt(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    let line = output::printable(&line.join(" "));
    if line.chars().count() <= 200 { line } else { line.chars().take(200).collect::<String>() + " …" }
}
