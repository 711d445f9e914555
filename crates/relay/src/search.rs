//! A question's way through the copy and back to the record: the copy says where, the record says what.

use crate::{Relay, blocking};
use ledger::{Content, Ledger, Resource};
use model::{Access, Class, Error, ErrorKind, Position, ResourceKey, Result, Version, knowledge::Document};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use stores::{
    embed::Embedder,
    vectors::{EF, Filter, Hit, RESCORE, Search},
};

const TEXT_MAX_BYTES: usize = 8 << 10;
const LIMIT_MAX: usize = 100;
/// A document of more is read on a thread that may block: a megabyte takes milliseconds.
const READ_HERE_BYTES: usize = 32 << 10;

#[derive(Debug, Clone)]
pub struct Question {
    pub text: String,
    pub limit: usize,
    pub class_max: Class,
    pub source: Option<String>,
}

/// A chunk as the record holds it, and why it is here.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    pub id: String,
    pub source: String,
    pub path: String,
    pub title: String,
    pub heading: String,
    pub text: String,
    pub chunk: u32,
    /// Inner product of the vectors of length 1.
    pub score: f32,
    pub class: Class,
    pub version: Version,
    pub position: Position,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub passages: Vec<Passage>,
    pub model: String,
    /// What made the vectors, as users are told of it.
    pub embedder: String,
    /// Hits whose document has changed or gone since the copy last looked.
    pub overtaken: usize,
    /// Hits whose document is damaged in the record; the server's log names it.
    pub unreadable: usize,
}

pub async fn search(relay: &Relay, ledger: &Ledger, access: &Access, question: &Question) -> Result<Answer> {
    check(question)?;
    let (vectors, embedder) = relay.searched()?;
    let (model, described) = (embedder.model().to_owned(), embedder.described());
    let (tenant, asked) = (access.tenant.clone(), question.clone());
    let (queries, recall) = (Arc::clone(relay.queries()), Arc::clone(relay.recall()));
    let ask = move |search: &Search<'_>| queries.timed(|| recall.search(&vectors, &tenant, search));
    let hits = blocking(move || look(ask, &*embedder, &asked)).await?;
    let mut answer = Answer { passages: Vec::new(), model, embedder: described, overtaken: 0, unreadable: 0 };
    let mut found = BTreeMap::new();
    for (key, of) in by_document(hits) {
        let wanted = of.len();
        // Rights, class and the access entry: the record's own read decides, not the copy.
        let taken = match ledger.read(access, &key).await {
            Ok(Some(resource)) if resource.class <= question.class_max => take(resource, of).await,
            Ok(_) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        match taken {
            Ok(taken) => {
                answer.overtaken += wanted - taken.len();
                found.extend(taken);
            }
            // One damaged document does not hide the others.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::error!(key = %key, code = error.code(), "a document that was found cannot be read: {error}");
                answer.unreadable += wanted;
            }
            Err(error) => return Err(error),
        }
    }
    answer.passages = found.into_values().collect();
    Ok(answer)
}

/// Hits with their ranks, by document, the best document first: each is read once.
fn by_document(hits: Vec<Hit>) -> Vec<(ResourceKey, Vec<(usize, Hit)>)> {
    let mut places: HashMap<ResourceKey, usize> = HashMap::new();
    let mut documents: Vec<(ResourceKey, Vec<(usize, Hit)>)> = Vec::new();
    for (rank, hit) in hits.into_iter().enumerate() {
        let at = *places.entry(hit.key.clone()).or_insert(documents.len());
        match documents.get_mut(at) {
            Some((_, of)) => of.push((rank, hit)),
            None => documents.push((hit.key.clone(), vec![(rank, hit)])),
        }
    }
    documents
}

/// Small documents are read here; large ones where nobody waits for the thread.
async fn take(resource: Resource, of: Vec<(usize, Hit)>) -> Result<Vec<(usize, Passage)>> {
    match &resource.document {
        Content::Clear(text) if text.len() > READ_HERE_BYTES => blocking(move || passages(&resource, of)).await,
        _ => passages(&resource, of),
    }
}

/// Of hits whose document is still the one that the copy knew.
fn passages(resource: &Resource, of: Vec<(usize, Hit)>) -> Result<Vec<(usize, Passage)>> {
    let Content::Clear(text) = &resource.document else { return Ok(Vec::new()) };
    let Document { source, path, title, chunks, .. } = Document::read(text)?;
    let current = of.into_iter().filter(|(_, hit)| hit.version == resource.version);
    let passage = |(rank, hit): (usize, Hit)| {
        let chunk = chunks.get(hit.ordinal as usize)?;
        let passage = Passage {
            id: hit.key.id.to_string(),
            source: source.clone(),
            path: path.clone(),
            title: title.clone(),
            heading: chunk.heading.clone(),
            text: chunk.text.clone(),
            chunk: hit.ordinal,
            score: hit.score,
            class: hit.class,
            version: hit.version,
            position: hit.position,
        };
        Some((rank, passage))
    };
    Ok(current.filter_map(passage).collect())
}

fn check(question: &Question) -> Result<()> {
    let wrong = |field: &'static str, rule: &str| Err(Error::invalid("attribute-value", rule).with("field", field));
    if question.text.trim().is_empty() || question.text.len() > TEXT_MAX_BYTES {
        return wrong("text", "a question has 1 to 8192 bytes");
    }
    if question.limit == 0 || question.limit > LIMIT_MAX {
        return wrong("limit", "limit is 1 to 100");
    }
    Ok(())
}

/// What is wrong with the embedder is no fault of who asks, and not his to know.
fn unanswered(error: Error) -> Error {
    if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Retry) {
        return error;
    }
    tracing::warn!(code = error.code(), "questions have no vectors: {error}");
    let what = "the embedder cannot be asked for the vector of a question; the server's log tells its operators why";
    Error::retry("embedder-unavailable", what)
}

fn look(
    ask: impl FnOnce(&Search<'_>) -> Result<Vec<Hit>>,
    embedder: &dyn Embedder,
    question: &Question,
) -> Result<Vec<Hit>> {
    let vector = &embedder.question(&question.text).map_err(unanswered)?;
    if vector.iter().all(|value| *value == 0.0) {
        let rule = "there is no word in this question; ask with letters or digits";
        return Err(Error::invalid("attribute-value", rule).with("field", "text"));
    }
    let filter = Filter { class_max: question.class_max, source: question.source.clone() };
    // Its effort is the tenant's, which the monitor knows.
    ask(&Search { vector, limit: question.limit, rescore: RESCORE, ef: EF, filter: &filter })
}
