//! A question's way through the copies and back to the record: the copies say where, the record says what.

mod context;
mod fuse;
mod look;

pub use context::{Cited, Context};
pub use fuse::{Fusion, Parts, Ranked, fused};

use crate::{Relay, blocking};
use ledger::{Content, Ledger, Resource};
use look::Looked;
use model::{Access, Class, Error, ErrorKind, Position, ResourceKey, Result, Version, knowledge::Document};
use std::{
    collections::{BTreeMap, HashMap},
    str::FromStr,
};
use stores::embed::has_words;

const TEXT_MAX_BYTES: usize = 8 << 10;
const LIMIT_MAX: usize = 100;
/// The vectors' share, unless another is asked for.
pub const ALPHA: f32 = 0.5;
/// A document of more is read on a thread that may block: a megabyte takes milliseconds.
const READ_HERE_BYTES: usize = 32 << 10;

/// Which copies are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Hybrid,
    Vector,
    Text,
}

impl Mode {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hybrid => "hybrid",
            Self::Vector => "vector",
            Self::Text => "text",
        }
    }
}

impl FromStr for Mode {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "hybrid" => Ok(Self::Hybrid),
            "vector" => Ok(Self::Vector),
            "text" => Ok(Self::Text),
            _ => Err(Error::invalid("attribute-value", "mode is hybrid, vector or text").with("field", "mode")),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Question {
    pub text: String,
    pub limit: usize,
    pub class_max: Class,
    pub source: Option<String>,
    /// `None`: hybrid, or the one copy that can be asked.
    pub mode: Option<Mode>,
    pub fusion: Fusion,
    /// The vectors' share of a fused score, from 0 to 1.
    pub alpha: f32,
}

impl Question {
    /// Of everything, and both copies asked.
    #[must_use]
    pub fn of(text: &str, limit: usize) -> Self {
        let (class_max, fusion) = (Class::Confidential, Fusion::default());
        Self { text: text.to_owned(), limit, class_max, source: None, mode: None, fusion, alpha: ALPHA }
    }
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
    /// What it is ranked by: a share from 0 to 1 where two rankings are made one, else the one copy's own.
    pub score: f32,
    pub parts: Parts,
    pub class: Class,
    pub version: Version,
    pub position: Position,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub passages: Vec<Passage>,
    /// What was done of what was asked for.
    pub mode: Mode,
    /// The copy that could not be asked, and its error's code.
    pub without: Option<(&'static str, &'static str)>,
    /// Of the vectors that were asked, and what made them, as users are told of it.
    pub model: Option<(String, String)>,
    /// Hits whose document has changed or gone since the copy last looked.
    pub overtaken: usize,
    /// Hits whose document is damaged in the record; the server's log names it.
    pub unreadable: usize,
}

pub async fn search(relay: &Relay, ledger: &Ledger, access: &Access, question: &Question) -> Result<Answer> {
    check(question)?;
    let Looked { hits, mode, without, model } = look::look(relay, &access.tenant, question).await?;
    let mut answer = Answer { passages: Vec::new(), mode, without, model, overtaken: 0, unreadable: 0 };
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
fn by_document(hits: Vec<Ranked>) -> Vec<(ResourceKey, Vec<(usize, Ranked)>)> {
    let mut places: HashMap<ResourceKey, usize> = HashMap::new();
    let mut documents: Vec<(ResourceKey, Vec<(usize, Ranked)>)> = Vec::new();
    for (rank, hit) in hits.into_iter().enumerate() {
        let at = *places.entry(hit.hit.key.clone()).or_insert(documents.len());
        match documents.get_mut(at) {
            Some((_, of)) => of.push((rank, hit)),
            None => documents.push((hit.hit.key.clone(), vec![(rank, hit)])),
        }
    }
    documents
}

/// Small documents are read here; large ones where nobody waits for the thread.
async fn take(resource: Resource, of: Vec<(usize, Ranked)>) -> Result<Vec<(usize, Passage)>> {
    match &resource.document {
        Content::Clear(text) if text.len() > READ_HERE_BYTES => blocking(move || passages(&resource, of)).await,
        _ => passages(&resource, of),
    }
}

/// Of hits whose document is still the one that the copy knew.
fn passages(resource: &Resource, of: Vec<(usize, Ranked)>) -> Result<Vec<(usize, Passage)>> {
    let Content::Clear(text) = &resource.document else { return Ok(Vec::new()) };
    let Document { source, path, title, chunks, .. } = Document::read(text)?;
    let current = of.into_iter().filter(|(_, ranked)| ranked.hit.version == resource.version);
    let passage = |(rank, ranked): (usize, Ranked)| {
        let Ranked { hit, parts } = ranked;
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
            parts,
            class: resource.class,
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
    if !has_words(&question.text) {
        return wrong("text", "there is no word in this question; ask with letters or digits");
    }
    if !(0.0..=1.0).contains(&question.alpha) {
        return wrong("alpha", "alpha is the vectors' share, from 0 to 1");
    }
    if question.limit == 0 || question.limit > LIMIT_MAX {
        return wrong("limit", "limit is 1 to 100");
    }
    Ok(())
}
