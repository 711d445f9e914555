//! `cargo x bench vectors`: the vector copy over real telecom passages and over a million made-up vectors: how well it
//! finds, how fast, how large; the text copy beside it, and both together; and how fast texts come in and questions are
//! answered over HTTP.
//!
//! The passages are read in place from `NEPHKEEP_SAMPLES` (`knowledge/passages.jsonl`); without them those rows are
//! *not measured*. The known-item questions are section headings that do not occur in the section's text; the embedder
//! sees title, heading and text, so a question often is the heading itself: compare settings with it, do not take it
//! for a measure of understanding.

mod corpus;
mod door;
mod graph;
mod kept;
mod local;
mod quality;

use crate::{
    Verdict, machine,
    results::{self, Row, grouped},
    stand::Place,
};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Vectors of the made-up set; 0 leaves it out
    #[arg(long, default_value_t = 1_000_000)]
    large: usize,
    /// Of the load on the door
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Where the directory of the benchmark is made
    #[arg(long)]
    place: Option<PathBuf>,
    /// Do not write docs/results/vectors.json
    #[arg(long)]
    no_write: bool,
}

pub async fn run(arguments: Arguments) -> Verdict {
    let place = Place::make(arguments.place.as_deref())?;
    let facts = machine::facts(place.path());
    let mut rows = Vec::new();
    let mut details = json!({});
    match corpus::Corpus::find()? {
        Some(corpus) => {
            let (root, held) = (place.path().join("passages"), corpus.clone());
            let measured = apart(move || local::passages(&root, &held)).await?;
            details["passages"] = measured.details();
            rows.extend(measured.rows());
            rows.extend(door::rows(place.path(), &corpus, arguments.seconds).await?);
            rows.extend(kept::rows(place.path(), &corpus).await?);
        }
        None => rows.push(Row::not_measured(
            "searches over telecom passages",
            "P95 ≤ 5 ms, recall@10 ≥ 0.99",
            "skipped, data missing: NEPHKEEP_SAMPLES has no knowledge/passages.jsonl",
        )),
    }
    if arguments.large > 0 {
        let (root, count) = (place.path().join("large"), arguments.large);
        let (measured, graphed) = apart(move || local::made_up(&root, count)).await?;
        details["large"] = measured.details();
        details["large_graph"] = graphed.details();
        let (p95, recall) = (measured.p95_ms(), measured.recall());
        rows.push(Row::new(
            format!(
                "search in process, {} × 384 made-up clustered vectors, one search at a time",
                grouped(count as f64)
            ),
            "P95 ≤ 50 ms at recall@10 ≥ 0.97",
            format!("P95 {p95:.1} ms, recall@10 {recall:.4}, questions without any {}", measured.without_any),
            p95 <= 50.0 && recall >= 0.97,
        ));
        rows.extend(graphed.rows());
    }
    results::conclude("vectors", facts, details, &rows, !arguments.no_write)
}

/// On a thread of its own.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> model::Result<T> + Send + 'static) -> model::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| model::Error::bug("a bench ended badly").caused_by(error))?
}
