//! A question's way through the copy and back to the record: the copy says where, the record says what.

use crate::{Relay, blocking};
use ledger::{Content, Ledger};
use model::{Access, Class, Error, Position, Result, Version, json::parse, knowledge::Document};
use std::{collections::HashMap, sync::Arc};
use stores::{
    embed::Embedder,
    vectors::{Filter, Search, VectorSearch},
};

const TEXT_MAX_BYTES: usize = 8 << 10;
const LIMIT_MAX: usize = 100;
/// Compared by the vectors themselves, at least.
const RESCORE: usize = 50;

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
    pub model: &'static str,
    /// Hits whose document has changed or gone since the copy last looked.
    pub overtaken: usize,
}

pub async fn search(
    relay: &Relay,
    ledger: &Ledger,
    embedder: &Arc<dyn Embedder>,
    access: &Access,
    question: &Question,
) -> Result<Answer> {
    check(question)?;
    let vectors = relay.vectors()?;
    let (embedder, tenant) = (Arc::clone(embedder), access.tenant.clone());
    let (model, asked) = (embedder.model(), question.clone());
    let hits = blocking(move || look(&*vectors, &*embedder, &tenant, &asked)).await?;
    let mut documents: HashMap<&str, Option<(Version, Document)>> = HashMap::new();
    let (mut passages, mut overtaken) = (Vec::with_capacity(hits.len()), 0);
    for hit in &hits {
        if !documents.contains_key(&*hit.key.id) {
            // Rights, class and the access entry: the record's own read decides, not the copy.
            let read = match ledger.read(access, &hit.key).await? {
                Some(resource) if resource.class <= question.class_max => match &resource.document {
                    Content::Clear(text) => Some((resource.version, Document::read(&parse(text)?)?)),
                    Content::Erased | Content::Deleted => None,
                },
                _ => None,
            };
            documents.insert(&hit.key.id, read);
        }
        let document = documents.get(&*hit.key.id).and_then(Option::as_ref);
        let current = document.filter(|(version, _)| *version == hit.version);
        let chunk = current.and_then(|(_, document)| document.chunks.get(hit.ordinal as usize).map(|c| (document, c)));
        let Some((document, chunk)) = chunk else {
            overtaken += 1;
            continue;
        };
        passages.push(Passage {
            id: hit.key.id.to_string(),
            source: document.source.clone(),
            path: document.path.clone(),
            title: document.title.clone(),
            heading: chunk.heading.clone(),
            text: chunk.text.clone(),
            chunk: hit.ordinal,
            score: hit.score,
            class: hit.class,
            version: hit.version,
            position: hit.position,
        });
    }
    Ok(Answer { passages, model, overtaken })
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

fn look(
    vectors: &dyn VectorSearch,
    embedder: &dyn Embedder,
    tenant: &model::Tenant,
    question: &Question,
) -> Result<Vec<stores::vectors::Hit>> {
    let embedded = embedder.embed(&[&question.text])?;
    let Some(vector) = embedded.first().filter(|vector| vector.iter().any(|value| *value != 0.0)) else {
        let rule = "there is no word in this question; ask with letters or digits";
        return Err(Error::invalid("attribute-value", rule).with("field", "text"));
    };
    let filter = Filter { class_max: question.class_max, source: question.source.clone() };
    let search = Search { vector, limit: question.limit, rescore: RESCORE.max(question.limit * 2), filter: &filter };
    vectors.search(tenant, &search)
}
