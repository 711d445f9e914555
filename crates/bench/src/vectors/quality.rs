//! How well the copies find: known-item questions to the vectors, to the words, and to both.

use super::corpus::Corpus;
use crate::results::{Row, p95};
use model::{Class, Kind, ResourceKey, Result, Subject, Tenant};
use relay::search::{Fusion, fused};
use serde_json::{Value, json};
use std::{path::Path, time::Instant};
use stores::{
    Body, ChangeBatch, CopyChange, Object, Projection,
    text::{TextIndex, TextQuery, TextSearch},
    vectors::{EF, Filter, Hit, RESCORE, Search, VectorIndex, VectorSearch},
};

const LIMIT: usize = 10;
/// Of each ranking that is made one with another: as a search does it.
const DEPTH: usize = 50;
const ALL: Filter = Filter { class_max: Class::Confidential, source: None };
/// The settings that are compared; the first of both is a search's own.
const FUSED: [(Fusion, f32); 4] =
    [(Fusion::Relative, 0.5), (Fusion::Relative, 0.25), (Fusion::Relative, 0.75), (Fusion::Ranked, 0.5)];

/// Ranks of the first passage that answers, question by question.
#[derive(Debug, Default)]
struct Found {
    first: usize,
    ten: usize,
    reciprocal: f64,
    questions: usize,
}

impl Found {
    fn add(&mut self, hits: &[Hit], answers: &std::collections::HashSet<String>) {
        self.questions += 1;
        if let Some(at) = hits.iter().take(LIMIT).position(|hit| answers.contains(&*hit.key.id)) {
            self.first += usize::from(at == 0);
            self.ten += 1;
            self.reciprocal += 1.0 / (at + 1) as f64;
        }
    }

    fn told(&self) -> (f64, f64, f64) {
        let count = self.questions.max(1) as f64;
        (self.first as f64 / count, self.ten as f64 / count, self.reciprocal / count)
    }
}

#[derive(Debug)]
pub struct Quality {
    /// What was asked, and what it found.
    found: Vec<(String, Found)>,
    words_ms: Vec<f64>,
    applied_per_second: f64,
    disk_bytes: u64,
    chunks: u64,
}

impl Quality {
    pub fn rows(&self) -> Vec<Row> {
        let row = |(what, found): &(String, Found)| {
            let (first, ten, reciprocal) = found.told();
            let shown = format!("R@1 {first:.3}, R@10 {ten:.3}, MRR@10 {reciprocal:.3}");
            Row::told(format!("known-item questions (headings), {what}"), shown)
        };
        let words = format!("P95 {:.2} ms", p95(&self.words_ms));
        let own = Row::told(format!("search by words in process, {} real telecom passages", self.chunks), words);
        self.found.iter().map(row).chain([own]).collect()
    }

    pub fn details(&self) -> Value {
        let one = |(what, found): &(String, Found)| {
            let (first, ten, reciprocal) = found.told();
            json!({ "asked": what, "r_at_1": first, "r_at_10": ten, "mrr_at_10": reciprocal, "questions": found.questions })
        };
        json!({
            "quality": self.found.iter().map(one).collect::<Vec<_>>(),
            "words_p95_ms": p95(&self.words_ms), "texts_applied_per_second": self.applied_per_second.round(),
            "text_disk_bytes": self.disk_bytes,
        })
    }
}

fn change(n: u64, id: &str, tenant: &Tenant, text: &str) -> Result<CopyChange> {
    let body = Body::Text { source: "bench".into(), text: text.into() };
    Ok(CopyChange {
        position: super::local::position(usize::try_from(n).unwrap_or(usize::MAX)),
        key: ResourceKey::new(tenant, Kind::KnowledgeDocument, id)?,
        version: 1,
        class: Class::Internal,
        subject: Subject::of_tenant(tenant),
        objects: vec![Object { ordinal: 0, body }],
    })
}

/// The questions' vectors in the order of the questions.
pub fn measured(
    root: &Path,
    corpus: &Corpus,
    tenant: &Tenant,
    vectors: &VectorIndex,
    asked: &[Vec<f32>],
) -> Result<Quality> {
    let index = TextIndex::open(&root.join("text"))?;
    let begun = Instant::now();
    let changes = (1_u64..).zip(&corpus.passages).map(|(n, (id, text))| change(n, id, tenant, text));
    let changes: Vec<CopyChange> = changes.collect::<Result<_>>()?;
    for some in changes.chunks(1_000) {
        let through = some.last().map_or(super::local::position(0), |change| change.position);
        index.apply(&ChangeBatch { through, changes: some.to_vec() })?;
    }
    let applied_per_second = changes.len() as f64 / begun.elapsed().as_secs_f64();
    let mut found = vec![("hash-384".to_owned(), Found::default()), ("BM25".to_owned(), Found::default())];
    found.extend(FUSED.map(|(fusion, alpha)| (format!("both, {}, alpha {alpha}", fusion.as_str()), Found::default())));
    let mut words_ms = Vec::with_capacity(asked.len());
    for (vector, (text, answers)) in asked.iter().zip(&corpus.questions) {
        let search =
            Search { vector, limit: DEPTH, rescore: RESCORE.max(DEPTH * 2), ef: EF.max(DEPTH * 2), filter: &ALL };
        let near = vectors.search(tenant, &search)?;
        let begun = Instant::now();
        let words = index.search(tenant, &TextQuery { text, limit: DEPTH, filter: &ALL })?;
        words_ms.push(begun.elapsed().as_secs_f64() * 1_000.0);
        let both = FUSED.map(|(fusion, alpha)| {
            let ranked = fused(near.clone(), words.clone(), fusion, alpha);
            ranked.into_iter().map(|ranked| ranked.hit).collect::<Vec<Hit>>()
        });
        for ((_, found), hits) in found.iter_mut().zip([near, words].iter().chain(&both)) {
            found.add(hits, answers);
        }
    }
    let stats = index.stats();
    let (disk_bytes, chunks) = (stats.disk_bytes, stats.chunks);
    Ok(Quality { found, words_ms, applied_per_second, disk_bytes, chunks })
}
