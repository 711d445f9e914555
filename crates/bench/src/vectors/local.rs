//! The index alone, in process, one search at a time. A large set is scanned by several threads even so.

use super::{
    corpus::Corpus,
    graph::{self, Graphed},
    quality::{self, Quality},
};
use crate::results::{Row, grouped, p95};
use model::{Class, Incarnation, Kind, Position, ResourceKey, Result, Shard, Subject, Tenant};
use operations::drill::work::scatter;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Instant};
use stores::{
    Body, ChangeBatch, CopyChange, Object, Projection,
    embed::{Embedder, HashEmbedder},
    vectors::{Basis, CopyKeys, EF, Filter, Policy, Search, Stats, VectorIndex, VectorSearch},
};

const DIMENSIONS: usize = 384;
pub const LIMIT: usize = 10;
const RESCORE: usize = 50;
const BATCH: usize = 1_000;
/// The exact answer reads every vector: of the large set only so many questions are compared. So few searches give a
/// tenant no graph yet.
const LARGE_QUESTIONS: usize = 20;

#[derive(Debug)]
pub struct Measured {
    times_ms: Vec<f64>,
    shared: usize,
    wanted: usize,
    pub without_any: usize,
    embedded_per_second: f64,
    applied_per_second: f64,
    /// Over the known-item questions.
    quality: Option<Quality>,
    stats: Stats,
}

impl Measured {
    pub fn p95_ms(&self) -> f64 {
        p95(&self.times_ms)
    }

    pub fn recall(&self) -> f64 {
        self.shared as f64 / self.wanted.max(1) as f64
    }

    /// Of the vectors as they are, in memory.
    fn resident_share(&self) -> f64 {
        self.stats.resident_bytes as f64 / (self.stats.vectors * self.stats.dimensions * 4).max(1) as f64
    }

    pub fn details(&self) -> Value {
        let quality = self.quality.as_ref().map(Quality::details);
        json!({
            "quality": quality,
            "vectors": self.stats.vectors, "dimensions": self.stats.dimensions, "model": &*self.stats.model,
            "p95_ms": self.p95_ms(), "recall_at_10": self.recall(), "questions_without_any": self.without_any,
            "embedded_per_second": self.embedded_per_second.round(), "applied_per_second": self.applied_per_second.round(),
            "code_bytes": self.stats.code_bytes, "resident_bytes": self.stats.resident_bytes,
            "disk_bytes": self.stats.disk_bytes,
        })
    }

    pub fn rows(&self) -> Vec<Row> {
        let what = format!("{} × {} real telecom passages", grouped(self.stats.vectors as f64), self.stats.dimensions);
        let (p95, recall, share) = (self.p95_ms(), self.recall(), self.resident_share());
        let found = format!("P95 {p95:.2} ms, recall@10 {recall:.4}, questions without any {}", self.without_any);
        let good = p95 <= 5.0 && recall >= 0.99 && self.without_any == 0;
        let hour = self.embedded_per_second * 3_600.0;
        let rebuilt = format!("{}/s", grouped(self.applied_per_second));
        let mut rows = vec![
            Row::new(
                format!("search in process, {what}, one search at a time"),
                "P95 ≤ 5 ms, recall@10 ≥ 0.99",
                found,
                good,
            ),
            Row::new("resident size of the codes", "≤ 14 % of f32", format!("{:.1} %", share * 100.0), share <= 0.14),
            Row::new("texts embedded offline", "≥ 500,000/h", format!("{}/h", grouped(hour)), hour >= 500_000.0),
            Row::told("vectors applied to a new generation, durable", rebuilt),
        ];
        rows.extend(self.quality.iter().flat_map(Quality::rows));
        rows
    }
}

pub fn position(n: usize) -> Position {
    Position { shard: Shard(0), incarnation: Incarnation { ordinal: 1, random: 1 }, n: n as u64 }
}

fn change(n: usize, id: &str, tenant: &Tenant, model: &Arc<str>, values: Arc<[f32]>) -> Result<CopyChange> {
    let body = Body::Vector { model: Arc::clone(model), source: "bench".into(), values };
    Ok(CopyChange {
        position: position(n),
        key: ResourceKey::new(tenant, Kind::KnowledgeDocument, id)?,
        version: 1,
        class: Class::Internal,
        subject: Subject::of_tenant(tenant),
        objects: vec![Object { ordinal: 0, body }],
    })
}

/// The work of sealing is measured; a keystore is not.
#[derive(Debug)]
struct OneKey;

impl CopyKeys for OneKey {
    fn take(&self) -> Result<u64> {
        Ok(1)
    }
    fn derive(&self, _: u64, _: &[u8]) -> Result<[u8; 32]> {
        Ok([7; 32])
    }
}

fn basis(model: &Arc<str>) -> Basis {
    Basis { model: Arc::clone(model), dimensions: DIMENSIONS, keys: Arc::new(OneKey), policy: Policy::default() }
}

pub const ALL: Filter = Filter { class_max: Class::Confidential, source: None };

pub fn passages(root: &Path, corpus: &Corpus) -> Result<Measured> {
    let (embedder, tenant) = (HashEmbedder, Tenant::new("bench")?);
    let model: Arc<str> = embedder.model().into();
    let texts: Vec<&str> = corpus.passages.iter().map(|(_, text)| text.as_str()).collect();
    let begun = Instant::now();
    let vectors = embedder.embed(&texts)?;
    let embedded_per_second = texts.len() as f64 / begun.elapsed().as_secs_f64();
    let index = VectorIndex::open(root, &basis(&model))?;
    let mut changes = Vec::new();
    for (n, ((id, _), vector)) in corpus.passages.iter().zip(vectors).enumerate() {
        changes.push(change(n + 1, id, &tenant, &model, vector.into())?);
    }
    let applied_per_second = apply(&index, changes)?;
    let questions: Vec<&str> = corpus.questions.iter().map(|(text, _)| text.as_str()).collect();
    let asked = embedder.embed(&questions)?;
    let mut measured = compared(&index, &tenant, &asked, EF)?;
    (measured.embedded_per_second, measured.applied_per_second) = (embedded_per_second, applied_per_second);
    measured.quality = Some(quality::measured(root, corpus, &tenant, &index, &asked)?);
    Ok(measured)
}

/// Clustered vectors of length 1; harsher than text.
pub fn made_up(root: &Path, count: usize) -> Result<(Measured, Graphed)> {
    let (tenant, model): (Tenant, Arc<str>) = (Tenant::new("bench")?, "made-up".into());
    let index = VectorIndex::open(root, &Basis { policy: graph::policy(), ..basis(&model) })?;
    let begun = Instant::now();
    for from in (0..count).step_by(BATCH) {
        let some = from..(from + BATCH).min(count);
        let changes = some.map(|n| change(n + 1, &n.to_string(), &tenant, &model, vector(n as u64).into()));
        apply(&index, changes.collect::<Result<_>>()?)?;
    }
    let applied_per_second = count as f64 / begun.elapsed().as_secs_f64();
    let asked: Vec<Vec<f32>> = (0..LARGE_QUESTIONS).map(|n| vector((count + n * 7) as u64)).collect();
    let mut measured = compared(&index, &tenant, &asked, EF)?;
    measured.applied_per_second = applied_per_second;
    Ok((measured, graph::graphed(&index, &tenant, count)?))
}

fn apply(index: &VectorIndex, changes: Vec<CopyChange>) -> Result<f64> {
    let (count, begun) = (changes.len(), Instant::now());
    let mut changes = changes.into_iter().peekable();
    while changes.peek().is_some() {
        let some: Vec<CopyChange> = changes.by_ref().take(BATCH).collect();
        let through = some.last().map_or(position(0), |change| change.position);
        index.apply(&ChangeBatch { through, changes: some })?;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

pub fn compared(index: &VectorIndex, tenant: &Tenant, asked: &[Vec<f32>], ef: usize) -> Result<Measured> {
    let mut measured = Measured {
        times_ms: Vec::with_capacity(asked.len()),
        shared: 0,
        wanted: 0,
        without_any: 0,
        embedded_per_second: 0.0,
        applied_per_second: 0.0,
        quality: None,
        stats: index.stats(),
    };
    for vector in asked {
        let search = Search { vector, limit: LIMIT, rescore: RESCORE, ef, filter: &ALL };
        let begun = Instant::now();
        let near = index.search(tenant, &search)?;
        measured.times_ms.push(begun.elapsed().as_secs_f64() * 1_000.0);
        let exact = index.search_exact(tenant, &search)?;
        let shared = exact.iter().filter(|hit| near.iter().any(|other| other.key == hit.key)).count();
        measured.shared += shared;
        measured.wanted += exact.len();
        measured.without_any += usize::from(shared == 0 && !exact.is_empty());
    }
    Ok(measured)
}

pub fn vector(seed: u64) -> Vec<f32> {
    let (own, centre) = (seed.wrapping_mul(0x5851_f42d_4c95_7f2d), seed % 1_000);
    let roll = |seed: u64, n: u64| (scatter(seed, n) >> 40) as f32 / (1 << 24) as f32 - 0.5;
    let raw: Vec<f32> = (0..DIMENSIONS as u64).map(|n| roll(centre, n) + 0.8 * roll(own, n)).collect();
    let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt();
    raw.iter().map(|value| value / length).collect()
}
