//! What can be asked of the index, and what it answers.

use super::{
    index::{Contents, Tally, TextIndex},
    rows::{Fields, Row},
    words::words,
};
use crate::{
    lazy::Lazy,
    vectors::{Filter, Hit},
};
use model::{Class, Result, Tenant};
use std::{
    collections::HashSet,
    fmt, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};
use tantivy::{
    DocAddress, Score, Searcher, TantivyDocument, TantivyError, Term,
    collector::{Collector, TopDocs},
    query::{Bm25StatisticsProvider, BooleanQuery, ConstScoreQuery, EnableScoring, Occur, Query, TermQuery},
    schema::{Field, IndexRecordOption},
};

/// Distinct words of a question that count; the first ones.
const WORDS_MAX: usize = 128;

/// The copy as the server starts with it.
pub type TextCopy = Lazy<TextIndex>;

#[derive(Debug, Clone, Copy)]
pub struct TextQuery<'q> {
    pub text: &'q str,
    pub limit: usize,
    pub filter: &'q Filter,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextStats {
    pub documents: u64,
    pub chunks: u64,
    pub words: u64,
    pub segments: u64,
    /// Rows removed or replaced, until their segment is written anew.
    pub tombstones: u64,
    pub damaged: u64,
    pub disk_bytes: u64,
}

/// The chunks of a tenant that share words with a question, the best first; `Hit::score` is BM25's.
pub trait TextSearch: Send + Sync + fmt::Debug {
    fn search(&self, tenant: &Tenant, query: &TextQuery<'_>) -> Result<Vec<Hit>>;
    fn stats(&self) -> TextStats;
}

/// How rare words are, within one tenant.
struct Statistics<'s> {
    searcher: &'s Searcher,
    tally: Tally,
}

impl Bm25StatisticsProvider for Statistics<'_> {
    fn total_num_tokens(&self, _: Field) -> tantivy::Result<u64> {
        Ok(self.tally.words)
    }
    fn total_num_docs(&self) -> tantivy::Result<u64> {
        Ok(self.tally.chunks)
    }
    fn doc_freq(&self, term: &Term) -> tantivy::Result<u64> {
        // Removed rows count until their segment is written anew: never more than there are.
        Ok(self.searcher.doc_freq(term)?.min(self.tally.chunks))
    }
}

/// `None`: there is no word in it.
fn query_of(fields: &Fields, tenant: &Tenant, asked: &TextQuery<'_>) -> Option<BooleanQuery> {
    let mut seen = HashSet::new();
    let distinct = words(asked.text).into_iter().filter(|word| seen.insert(word.clone())).take(WORDS_MAX);
    let word = |word: String| -> (Occur, Box<dyn Query>) {
        (Occur::Should, Box::new(TermQuery::new(fields.word(tenant, &word), IndexRecordOption::WithFreqs)))
    };
    let wanted: Vec<_> = distinct.map(word).collect();
    if wanted.is_empty() {
        return None;
    }
    let wanted: Box<dyn Query> = Box::new(BooleanQuery::new(wanted));
    let exact = |term| -> Box<dyn Query> { Box::new(TermQuery::new(term, IndexRecordOption::Basic)) };
    let must = |query: Box<dyn Query>| -> (Occur, Box<dyn Query>) {
        (Occur::Must, Box::new(ConstScoreQuery::new(query, 0.0)))
    };
    let mut clauses = vec![(Occur::Must, wanted)];
    // Nothing above internal is in here: only lower limits leave something out.
    if asked.filter.class_max < Class::Internal {
        let class = Term::from_field_u64(fields.class, u64::from(asked.filter.class_max as u8));
        clauses.push(must(exact(class)));
    }
    if let Some(source) = &asked.filter.source {
        clauses.push(must(exact(Term::from_field_text(fields.source, source))));
    }
    Some(BooleanQuery::new(clauses))
}

impl TextIndex {
    fn best(
        &self,
        contents: &Contents,
        tally: Tally,
        tenant: &Tenant,
        asked: &TextQuery<'_>,
    ) -> tantivy::Result<Vec<Hit>> {
        let Some(query) = query_of(&self.fields, tenant, asked) else { return Ok(Vec::new()) };
        let searcher = contents.reader.searcher();
        let statistics = Statistics { searcher: &searcher, tally };
        let weight = query.weight(EnableScoring::enabled_from_statistics_provider(&statistics, &searcher))?;
        let collector = TopDocs::with_limit(asked.limit).order_by_score();
        let mut fruits = Vec::new();
        for (ordinal, segment) in (0_u32..).zip(searcher.segment_readers()) {
            if !self.damage.read().searched.contains(&segment.segment_id()) {
                fruits.push(collector.collect_segment(&*weight, ordinal, segment)?);
            }
        }
        let hits = collector.merge_fruits(fruits)?;
        Ok(hits.into_iter().filter_map(|hit| self.hit(contents, tenant, &searcher, hit)).collect())
    }

    /// A row that cannot be read is no hit; `verify` names its key.
    fn hit(
        &self,
        contents: &Contents,
        tenant: &Tenant,
        searcher: &Searcher,
        found: (Score, DocAddress),
    ) -> Option<Hit> {
        let (score, address) = found;
        let read = catch_unwind(AssertUnwindSafe(|| searcher.doc::<TantivyDocument>(address)));
        let document = read.ok()?.ok()?;
        let Row::Chunk { place, ordinal, .. } = self.fields.row(&document)? else { return None };
        let held = contents.keys.get(&place).filter(|held| held.key.tenant == *tenant)?;
        let (key, version, position, class) = (held.key.clone(), held.version, held.position, held.class);
        Some(Hit { key, version, position, class, ordinal, score })
    }
}

impl TextSearch for TextIndex {
    fn search(&self, tenant: &Tenant, query: &TextQuery<'_>) -> Result<Vec<Hit>> {
        let contents = self.contents.read();
        let tally = contents.tenants.get(tenant).filter(|tally| tally.chunks > 0);
        let Some(tally) = tally.filter(|_| query.limit > 0) else { return Ok(Vec::new()) };
        // Damaged files make the engine panic where it should return an error.
        let found = catch_unwind(AssertUnwindSafe(|| self.best(&contents, *tally, tenant, query)));
        let ended = |_| Err(TantivyError::InternalError("the engine ended badly".into()));
        found.unwrap_or_else(ended).map_err(|error| self.failed(error))
    }

    fn stats(&self) -> TextStats {
        use crate::Projection;
        let damaged = self.damaged();
        let contents = self.contents.read();
        let searcher = contents.reader.searcher();
        let sum = |of: fn(&Tally) -> u64| contents.tenants.values().map(of).sum();
        let removed = searcher.segment_readers().iter().map(|segment| u64::from(segment.num_deleted_docs())).sum();
        let entries = fs::read_dir(self.place()).into_iter().flatten().flatten();
        TextStats {
            documents: sum(|tally| tally.documents),
            chunks: sum(|tally| tally.chunks),
            words: sum(|tally| tally.words),
            segments: searcher.segment_readers().len() as u64,
            tombstones: removed,
            damaged,
            disk_bytes: entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum(),
        }
    }
}

impl TextSearch for TextCopy {
    fn search(&self, tenant: &Tenant, query: &TextQuery<'_>) -> Result<Vec<Hit>> {
        self.fed()?.search(tenant, query)
    }
    fn stats(&self) -> TextStats {
        self.index(Duration::ZERO).map_or_else(|_| TextStats::default(), |index| index.stats())
    }
}
