//! Questions to the knowledge base: passages with their scores, or as many as fit a budget of tokens.
//!
//! Who may not read is refused before anything is looked at; each document is then read under the caller's own rights.

use super::{answer, shapes, wrong};
use crate::{
    http::{body, call::Call},
    identity::allow,
    problem::Answer,
    state::App,
};
use axum::extract::State;
use http::StatusCode;
use model::{Action, Class, Json, Result};
use relay::search::{self, Passage, Question};

const LIMIT: usize = 10;
/// Of English text; a rough measure is enough to stay within a prompt.
const CHARACTERS_PER_TOKEN: usize = 4;
const BUDGET_TOKENS: u64 = 2_000;

fn question(body: &Json, limit: usize) -> Result<Question> {
    let text =
        body.get("text").and_then(Json::as_str).ok_or_else(|| wrong("text", "text is the question, a string"))?;
    let given = number(body, "limit")?.map_or(limit, |given| usize::try_from(given).unwrap_or(usize::MAX));
    let class_max = class_max(body)?;
    let source = match body.get("source") {
        None => None,
        Some(Json::String(source)) => Some(source.clone()),
        Some(_) => return Err(wrong("source", "source is a string")),
    };
    Ok(Question { text: text.to_owned(), limit: given, class_max, source })
}

pub fn class_max(body: &Json) -> Result<Class> {
    let class = body.get("class_max").map(|class| class.as_str().unwrap_or_default().parse::<Class>());
    Ok(class.transpose().map_err(|error| error.with("field", "class_max"))?.unwrap_or(Class::Confidential))
}

fn number(body: &Json, name: &'static str) -> Result<Option<u64>> {
    let Some(value) = body.get(name) else { return Ok(None) };
    let number = value.as_i64().and_then(|number| u64::try_from(number).ok());
    number.map(Some).ok_or_else(|| wrong(name, "a whole number that is not negative is expected here"))
}

fn shown(passage: &Passage) -> Json {
    Json::object()
        .with("document", &*passage.id)
        .with("chunk", u64::from(passage.chunk))
        .with("score", Json::Number(format!("{:.4}", passage.score).into()))
        .with("source", &*passage.source)
        .with("path", &*passage.path)
        .with("title", &*passage.title)
        .with("heading", &*passage.heading)
        .with("text", &*passage.text)
        .with("class", passage.class.as_str())
        .with("version", passage.version)
        .with("position", passage.position.to_string())
}

/// The passages nearest to a question, best first, as the record holds them now.
#[utoipa::path(post, path = "/api/v1/search", tag = "knowledge", security(("token" = [])), request_body = Object,
    responses((status = 200, body = Object), (status = 400, body = shapes::Problem), (status = 403, body = shapes::Problem)))]
pub async fn search(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Read).await?;
    let question = question(&body::object(&mut call, &["text", "limit", "class_max", "source"])?, LIMIT)?;
    let found = search::search(&app.relay, &app.ledger, &call.access, &question).await?;
    let body = Json::object()
        .with("passages", found.passages.iter().map(shown).collect::<Vec<_>>())
        .with("model", &*found.model)
        .with("embedder", &*found.embedder)
        .with("overtaken", found.overtaken as u64)
        .with("unreadable", found.unreadable as u64);
    Ok(answer(StatusCode::OK, &body))
}

/// Passages with citations for a prompt: the nearest ones that fit `tokens` together, numbered from 1.
#[utoipa::path(post, path = "/api/v1/retrieve", tag = "knowledge", security(("token" = [])), request_body = Object,
    responses((status = 200, body = Object), (status = 400, body = shapes::Problem), (status = 403, body = shapes::Problem)))]
pub async fn retrieve(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Read).await?;
    let body = body::object(&mut call, &["text", "limit", "class_max", "source", "tokens"])?;
    let budget = number(&body, "tokens")?.unwrap_or(BUDGET_TOKENS);
    let question = question(&body, LIMIT * 2)?;
    let found = search::search(&app.relay, &app.ledger, &call.access, &question).await?;
    let (mut used, mut passages) = (0, Vec::new());
    for passage in &found.passages {
        let tokens = passage.text.chars().count().div_ceil(CHARACTERS_PER_TOKEN) as u64;
        if used + tokens > budget {
            continue;
        }
        used += tokens;
        let heading = if passage.heading.is_empty() { &passage.title } else { &passage.heading };
        let citation = format!("{}: {}, {heading}", passage.source, passage.path);
        passages.push(shown(passage).with("number", passages.len() as u64 + 1).with("citation", citation));
    }
    let body = Json::object().with("passages", passages).with("tokens", used).with("model", &*found.model);
    Ok(answer(StatusCode::OK, &body))
}
