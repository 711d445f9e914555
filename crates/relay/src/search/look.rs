//! The copies are asked: which chunks stand near to a question by their vectors, which share its words.

use super::{
    Mode, Question,
    fuse::{Ranked, by_vectors, by_words, fused},
};
use crate::{Relay, blocking};
use model::{Error, ErrorKind, Result, Tenant};
use std::sync::Arc;
use stores::{
    text::TextQuery,
    vectors::{EF, Filter, Hit, RESCORE, Search},
};

/// Of each ranking, at least: what stands low in one may stand high in the other.
const DEPTH: usize = 50;

/// What the copies say.
#[derive(Debug)]
pub struct Looked {
    pub hits: Vec<Ranked>,
    /// What was done of what was asked for.
    pub mode: Mode,
    /// The copy that could not be asked, and its error's code.
    pub without: Option<(&'static str, &'static str)>,
    /// Of the vectors that were asked, and what made them, as users are told of it.
    pub model: Option<(String, String)>,
}

type ByVectors = (Vec<Hit>, (String, String));

pub async fn look(relay: &Relay, tenant: &Tenant, question: &Question) -> Result<Looked> {
    let looked = |hits, mode, model| Looked { hits, mode, without: None, model };
    let mut found = match question.mode {
        Some(Mode::Vector) => {
            let (hits, model) = vectors(relay, tenant, question, question.limit).await?;
            looked(by_vectors(hits), Mode::Vector, Some(model))
        }
        Some(Mode::Text) => looked(by_words(words(relay, tenant, question, question.limit).await?), Mode::Text, None),
        Some(Mode::Hybrid) | None => {
            let depth = DEPTH.max(question.limit);
            let asked = tokio::join!(vectors(relay, tenant, question, depth), words(relay, tenant, question, depth));
            both(question, asked)?
        }
    };
    found.hits.truncate(question.limit);
    Ok(found)
}

/// One that cannot be asked for now does not keep the other from answering, unless both were asked for by name.
fn both(question: &Question, asked: (Result<ByVectors>, Result<Vec<Hit>>)) -> Result<Looked> {
    let spared = |error: &Error| {
        let broken = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Bug);
        if broken {
            tracing::error!(code = error.code(), "a copy could not be searched: {error}");
        }
        question.mode.is_none() && (broken || error.kind() == ErrorKind::Retry || error.code() == "copy-unknown")
    };
    match asked {
        (Ok((vectors, model)), Ok(words)) => {
            let hits = fused(vectors, words, question.fusion, question.alpha);
            Ok(Looked { hits, mode: Mode::Hybrid, without: None, model: Some(model) })
        }
        (Ok((vectors, model)), Err(error)) if spared(&error) => {
            let without = Some(("text", error.code()));
            Ok(Looked { hits: by_vectors(vectors), mode: Mode::Vector, without, model: Some(model) })
        }
        (Err(error), Ok(words)) if spared(&error) => {
            let without = Some(("vectors", error.code()));
            Ok(Looked { hits: by_words(words), mode: Mode::Text, without, model: None })
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn filter(question: &Question) -> Filter {
    Filter { class_max: question.class_max, source: question.source.clone() }
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

async fn vectors(relay: &Relay, tenant: &Tenant, question: &Question, limit: usize) -> Result<ByVectors> {
    let (vectors, embedder) = relay.searched()?;
    let model = (embedder.model().to_owned(), embedder.described());
    let (tenant, text, filter) = (tenant.clone(), question.text.clone(), filter(question));
    let (queries, recall) = (Arc::clone(relay.queries()), Arc::clone(relay.recall()));
    let hits = blocking(move || {
        let vector = &embedder.question(&text).map_err(unanswered)?;
        if vector.iter().all(|value| *value == 0.0) {
            return Ok(Vec::new());
        }
        // Its effort is the tenant's, which the monitor knows.
        let search = Search { vector, limit, rescore: RESCORE, ef: EF, filter: &filter };
        queries.timed(|| recall.search(&vectors, &tenant, &search))
    });
    Ok((hits.await?, model))
}

async fn words(relay: &Relay, tenant: &Tenant, question: &Question, limit: usize) -> Result<Vec<Hit>> {
    let texts = relay.texts()?;
    let (tenant, text, filter) = (tenant.clone(), question.text.clone(), filter(question));
    blocking(move || texts.search(&tenant, &TextQuery { text: &text, limit, filter: &filter })).await
}
