//! The same made-up vectors by a graph: how long it takes to build, what it holds in memory, how fast and how well it
//! finds.

use super::local::{ALL, LIMIT, Measured, compared, vector};
use crate::{
    results::{Row, grouped, p95},
    stand::failed,
};
use model::{Result, Tenant};
use serde_json::{Value, json};
use std::{
    num::NonZero,
    thread,
    time::{Duration, Instant},
};
use stores::vectors::{EF, Policy, RESCORE, Search, VectorIndex, VectorSearch};

/// Questions that are timed; of these some are compared with the exact answer, which reads every vector.
const TIMED: usize = 1_000;
const COMPARED: usize = 50;
const EFS: [usize; 3] = [EF, 128, 256];

/// Every scan misses its objective, and all processors build.
pub fn policy() -> Policy {
    Policy {
        from: Some(1),
        objective: Duration::ZERO,
        memory: Some(u64::MAX),
        hands: Some(thread::available_parallelism().map_or(1, NonZero::get)),
        ..Policy::default()
    }
}

#[derive(Debug)]
pub struct Graphed {
    built: Duration,
    bytes: usize,
    vectors: usize,
    /// Candidates, times, and what was found.
    at: Vec<(usize, Vec<f64>, Measured)>,
}

/// The index has been asked too seldom to have a graph.
pub fn graphed(index: &VectorIndex, tenant: &Tenant, from: usize) -> Result<Graphed> {
    let questions: Vec<Vec<f32>> = (0..TIMED).map(|n| vector((from + n * 7) as u64)).collect();
    let ask = |vector: &[f32], ef| {
        index.search(tenant, &Search { vector, limit: LIMIT, rescore: RESCORE, ef, filter: &ALL }).map(drop)
    };
    let begun = Instant::now();
    let explained = loop {
        let explained = index.explained(Some(tenant)).pop().ok_or_else(|| failed("the index is empty"))?;
        match explained.index {
            "hnsw" => break explained,
            _ if explained.why.contains("could not be built") => return Err(failed(explained.why)),
            // So many make the scan known as too slow; from then on the builder has the processors.
            _ if explained.scan_p95.is_none() => ask(&questions[0], EF)?,
            _ => {
                thread::sleep(Duration::from_secs(1));
                if !explained.why.contains("being built") {
                    ask(&questions[0], EF)?;
                }
            }
        }
    };
    let built = begun.elapsed();
    let mut at = Vec::new();
    for ef in EFS {
        let mut times = Vec::with_capacity(TIMED);
        for vector in &questions {
            let begun = Instant::now();
            ask(vector, ef)?;
            times.push(begun.elapsed().as_secs_f64() * 1_000.0);
        }
        at.push((ef, times, compared(index, tenant, &questions[..COMPARED], ef)?));
    }
    Ok(Graphed { built, bytes: explained.graph_bytes, vectors: explained.vectors, at })
}

impl Graphed {
    pub fn details(&self) -> Value {
        let at = self.at.iter().map(|(ef, times, found)| {
            json!({ "ef": ef, "p95_ms": p95(times), "recall_at_10": found.recall(),
                "questions_without_any": found.without_any })
        });
        json!({ "vectors": self.vectors, "built_seconds": self.built.as_secs_f64().round(),
            "graph_bytes": self.bytes, "questions_timed": TIMED, "questions_compared": COMPARED,
            "at": at.collect::<Vec<_>>() })
    }

    pub fn rows(&self) -> Vec<Row> {
        let what = format!("{} × 384 made-up clustered vectors", grouped(self.vectors as f64));
        let share = self.bytes as f64 / (self.vectors * 384 * 4).max(1) as f64 * 100.0;
        let size = format!(
            "{} s, {} MiB beside the codes, {share:.0} % of f32",
            grouped(self.built.as_secs_f64()),
            grouped(self.bytes as f64 / f64::from(1 << 20))
        );
        let mut rows = vec![Row::new(format!("graph built over {what}: time, memory"), "told", size, true)];
        for (ef, times, found) in &self.at {
            let (p95, recall) = (p95(times), found.recall());
            let told = *ef != EF;
            rows.push(Row::new(
                format!("search by the graph, ef {ef}, {what}"),
                if told { "told" } else { "P95 ≤ 50 ms at recall@10 ≥ 0.97" },
                format!("P95 {p95:.2} ms, recall@10 {recall:.4}, questions without any {}", found.without_any),
                told || (p95 <= 50.0 && recall >= 0.97),
            ));
        }
        rows
    }
}
