//! From one embedding model to another, step by step: begin, compare, cut over, roll back, finish.

use super::{answer, search::class_max, shapes, wrong};
use crate::{
    http::{
        body,
        call::{At, Call},
    },
    identity::{act as act_of, allow, of_installation},
    problem::Answer,
    state::App,
};
use axum::extract::State;
use http::StatusCode;
use model::{Action, Error, Json, Position, Result, knowledge};
use relay::{Compared, Golden, QUESTIONS_MAX, Relay, Side, Turn};
use std::{future::Future, sync::Arc};

const ACT: &str = "knowledge-migrate";

fn stands(relay: &Relay) -> Result<Json> {
    let stands = relay.migration_stands()?;
    let status = |name: &str| relay.status().into_iter().find(|copy| copy.name == name);
    let mut shown = Json::object().with("searched", stands.searched);
    if let Some(copy) = status("vectors") {
        shown.set("vectors", super::copies::shown(&copy));
    }
    if let Some((name, embedder)) = stands.beside {
        let beside = Json::object().with("embedder", embedder);
        shown.set(
            "beside",
            status(name).map_or(beside.clone(), |copy| beside.with("copy", super::copies::shown(&copy))),
        );
    }
    if let Some(target) = stands.target {
        shown.set("target", target);
    }
    Ok(shown)
}

/// How a migration to another embedding model stands: what is searched, what stands beside it, what could be begun.
#[utoipa::path(get, path = "/api/v1/knowledge/migration", tag = "knowledge", security(("token" = [])),
    responses((status = 200, body = Object), (status = 403, body = shapes::Problem)))]
pub async fn show(State(app): State<App>, call: Call) -> Answer {
    allow(&app, &call.access, Action::Operate).await?;
    call.query.finish("none")?;
    Ok(answer(StatusCode::OK, &stands(&app.relay)?))
}

/// A step of a migration. `begin` makes a second vector copy by the settings' other embedder; `compare` asks both copies
/// `{questions: [{text, source?, path?}], class_max?}` of the caller's tenant and tells recall, overlap and, where source and
/// path name the document that answers, how it is found; `cut-over` searches the second from now on, `roll-back` the first
/// again; `finish` removes the one that is not searched.
#[utoipa::path(post, path = "/api/v1/knowledge/migration/{step}", tag = "knowledge", security(("token" = [])),
    params(("step" = String, Path, description = "begin, compare, cut-over, roll-back or finish")),
    responses((status = 200, body = Object), (status = 403, body = shapes::Problem), (status = 409, body = shapes::Problem)))]
pub async fn step(State(app): State<App>, At(step): At<String>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Operate).await?;
    let known: &[&str] = if step == "compare" { &["questions", "class_max"] } else { &[] };
    let asked = body::optional(&mut call, known)?;
    if !["begin", "compare", "cut-over", "roll-back", "finish"].contains(&&*step) {
        let what = "a step of a migration is begin, compare, cut-over, roll-back or finish";
        return Err(Error::invalid("migration-step-unknown", what).into());
    }
    let golden = if step == "compare" { golden(&asked)? } else { Vec::new() };
    of_installation(&app, &call.access, ACT).await?;
    act_of(&app, &call.access, ACT, "ordered", step.clone()).await?;
    let relay = Arc::clone(&app.relay);
    let done = match &*step {
        "begin" => to_the_end(async move { relay.migration_begin().await }).await.map(|()| None)?,
        "cut-over" => Some(turn(relay, Turn::CutOver).await?),
        "roll-back" => Some(turn(relay, Turn::RollBack).await?),
        "finish" => to_the_end(async move { relay.migration_finish().await }).await.map(|()| None)?,
        _ => {
            let found = relay.migration_compare(&call.access.tenant, class_max(&asked)?, golden).await?;
            return Ok(answer(StatusCode::OK, &compared(&found)));
        }
    };
    let shown = stands(&app.relay)?;
    let shown = match done {
        Some(position) => shown.with("position", position.to_string()),
        None => shown,
    };
    Ok(answer(StatusCode::OK, &shown))
}

async fn turn(relay: Arc<Relay>, turn: Turn) -> Result<Position> {
    to_the_end(async move { relay.migration_turn(turn).await }).await
}

/// In a task of its own: a caller who goes away leaves no step half done.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    let done = tokio::spawn(work).await;
    done.map_err(|error| Error::bug("a step of a migration ended badly").caused_by(error))?
}

fn golden(body: &Json) -> Result<Vec<Golden>> {
    let rule = "questions is a list of 1 to 1000 {text, source?, path?}";
    let listed = body.get("questions").and_then(Json::as_array).ok_or_else(|| wrong("questions", rule))?;
    if listed.is_empty() || listed.len() > QUESTIONS_MAX {
        return Err(wrong("questions", rule));
    }
    let one = |(at, item): (usize, &Json)| {
        body::only(item, &["text", "source", "path"]).map_err(|error| error.with("question", at))?;
        let field = |name: &str| match item.get(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(&**text)),
            Some(_) => Err(wrong(format!("questions[{at}].{name}"), "a string is expected here")),
        };
        let text = field("text")?.filter(|text| text.chars().any(char::is_alphanumeric) && text.len() <= 8 << 10);
        let text =
            text.ok_or_else(|| wrong(format!("questions[{at}].text"), "a question has 1 to 8192 bytes and a word"))?;
        let document = match (field("source")?, field("path")?) {
            (Some(source), Some(path)) => Some(knowledge::id(source, path)),
            (None, None) => None,
            _ => return Err(wrong(format!("questions[{at}]"), "source and path together name a document")),
        };
        Ok(Golden { text: text.to_owned(), document })
    };
    listed.iter().enumerate().map(one).collect()
}

fn ratio(value: f64) -> Json {
    Json::Number(format!("{value:.4}").into())
}

fn compared(found: &Compared) -> Json {
    let side = |side: &Side| {
        let shown = Json::object()
            .with("copy", side.copy)
            .with("embedder", &*side.embedder)
            .with("recall_at_10", ratio(side.recall_at_10));
        if found.known == 0 {
            return shown;
        }
        shown
            .with("found_at_1", ratio(side.found_at_1))
            .with("found_at_10", ratio(side.found_at_10))
            .with("mrr", ratio(side.mrr))
    };
    Json::object()
        .with("questions", found.questions as u64)
        .with("known", found.known as u64)
        .with("overlap_at_10", ratio(found.overlap_at_10))
        .with("sides", found.sides.iter().map(side).collect::<Vec<_>>())
}
