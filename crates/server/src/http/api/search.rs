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
use relay::search::{self, ALPHA, Cited, Context, Fusion, Mode, Passage, Question};
use std::str::FromStr;

const LIMIT: usize = 10;
/// Passages that are looked at for a prompt; its budget says how many of them it gets.
const RETRIEVED: usize = 20;
const BUDGET_TOKENS: u64 = 2_000;
/// Of a question, whichever way it is answered.
const MEMBERS: [&str; 7] = ["text", "limit", "class_max", "source", "mode", "fusion", "alpha"];

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
    Ok(Question {
        text: text.to_owned(),
        limit: given,
        class_max,
        source,
        mode: chosen::<Mode>(body, "mode")?,
        fusion: chosen::<Fusion>(body, "fusion")?.unwrap_or_default(),
        alpha: alpha(body)?,
    })
}

/// One of some words; anything else is told what they are.
fn chosen<T: FromStr<Err = model::Error>>(body: &Json, name: &'static str) -> Result<Option<T>> {
    body.get(name).map(|given| given.as_str().unwrap_or_default().parse()).transpose()
}

fn alpha(body: &Json) -> Result<f32> {
    let Some(given) = body.get("alpha") else { return Ok(ALPHA) };
    let rule = "alpha is the vectors' share, a number from 0 to 1";
    given.as_f64().map(|alpha| alpha as f32).ok_or_else(|| wrong("alpha", rule))
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

fn decimal(number: f32) -> Json {
    Json::Number(format!("{number:.4}").into())
}

fn shown(passage: &Passage) -> Json {
    let part = |part: Option<f32>| part.map_or(Json::Null, decimal);
    let scores = Json::object().with("vector", part(passage.parts.vector)).with("bm25", part(passage.parts.words));
    Json::object()
        .with("document", &*passage.id)
        .with("chunk", u64::from(passage.chunk))
        .with("score", decimal(passage.score))
        .with("scores", scores)
        .with("source", &*passage.source)
        .with("path", &*passage.path)
        .with("title", &*passage.title)
        .with("heading", &*passage.heading)
        .with("text", &*passage.text)
        .with("class", passage.class.as_str())
        .with("version", passage.version)
        .with("position", passage.position.to_string())
}

fn cited(cited: &Cited) -> Json {
    shown(&cited.passage).with("number", cited.number).with("citation", &*cited.citation).with("tokens", cited.tokens)
}

/// How it was found: which copies were asked, by which model, and how two rankings were made one.
fn told(body: Json, question: &Question, found: &search::Answer) -> Json {
    let name = |name: Option<&String>| name.map_or(Json::Null, |name| (&**name).into());
    let mut body = body
        .with("mode", found.mode.as_str())
        .with("model", name(found.model.as_ref().map(|(model, _)| model)))
        .with("embedder", name(found.model.as_ref().map(|(_, embedder)| embedder)))
        .with("overtaken", found.overtaken as u64)
        .with("unreadable", found.unreadable as u64);
    if found.mode == Mode::Hybrid {
        body = body.with("fusion", question.fusion.as_str()).with("alpha", decimal(question.alpha));
    }
    if let Some((copy, code)) = found.without {
        body.set("without", Json::object().with("copy", copy).with("code", code));
    }
    body
}

/// The passages nearest to a question, best first, as the record holds them now. `mode`: `hybrid` (both copies, also
/// where it is not said and both can be asked), `vector`, `text`; `fusion`: `relative` or `ranked`; `alpha`: the vectors'
/// share, 0.5. A passage has the `score` it is ranked by and, in `scores`, what each copy gave it.
#[utoipa::path(post, path = "/api/v1/search", tag = "knowledge", security(("token" = [])), request_body = Object,
    responses((status = 200, body = Object), (status = 400, body = shapes::Problem), (status = 403, body = shapes::Problem)))]
pub async fn search(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Read).await?;
    let question = question(&body::object(&mut call, &MEMBERS)?, LIMIT)?;
    let found = search::search(&app.relay, &app.ledger, &call.access, &question).await?;
    let body = Json::object().with("passages", found.passages.iter().map(shown).collect::<Vec<_>>());
    Ok(answer(StatusCode::OK, &told(body, &question, &found)))
}

/// Passages with citations for a prompt: the nearest ones that fit `tokens` (2,000) together, numbered from 1, and
/// `context`, the text of all of them as a prompt takes it. Questions as those of a search.
#[utoipa::path(post, path = "/api/v1/retrieve", tag = "knowledge", security(("token" = [])), request_body = Object,
    responses((status = 200, body = Object), (status = 400, body = shapes::Problem), (status = 403, body = shapes::Problem)))]
pub async fn retrieve(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Read).await?;
    let members: Vec<&str> = MEMBERS.into_iter().chain(["tokens"]).collect();
    let body = body::object(&mut call, &members)?;
    let budget = number(&body, "tokens")?.unwrap_or(BUDGET_TOKENS);
    let question = question(&body, RETRIEVED)?;
    let mut found = search::search(&app.relay, &app.ledger, &call.access, &question).await?;
    let context = Context::within(std::mem::take(&mut found.passages), budget);
    let body = Json::object()
        .with("context", context.text())
        .with("passages", context.cited.iter().map(cited).collect::<Vec<_>>())
        .with("tokens", context.tokens)
        .with("left_out", context.left_out);
    Ok(answer(StatusCode::OK, &told(body, &question, &found)))
}
