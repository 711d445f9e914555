//! Webhook sinks: made, shown with how they are, deleted. A sink is a resource, so it survives everything and its
//! changes are audited; what it may tell is what its maker may read.

use super::{
    super::{answer, positioned, shapes},
    groups::{nothing, place},
};
use crate::{
    http::{
        body,
        call::{At, Call},
    },
    identity::allow,
    problem::Answer,
    sinks::{consumer, read},
    state::App,
};
use axum::extract::State;
use http::StatusCode;
use ledger::{Group, ListQuery, Op, Resource, Write};
use model::{Access, Action, Error, Json, Kind, ResourceKey, Result, sink::Sink};
use relay::events::Start;
use std::sync::atomic::Ordering;

fn key(access: &Access, name: &str) -> Result<ResourceKey> {
    ResourceKey::new(&access.tenant, Kind::EventSink, name)
}

/// With what its worker knows, on the leader.
async fn shown(app: &App, resource: &Resource) -> Result<Option<Json>> {
    let Some(sink) = read(resource)? else { return Ok(None) };
    let mut shown = sink.shown(&resource.key.id);
    shown.set("version", resource.version);
    let committed = app.ledger.consumer_position(&resource.key.tenant, &consumer(&resource.key)).await?;
    shown.set("position", committed.unwrap_or(sink.begins).to_string());
    if let Some(state) = app.sinks.board.of(&resource.key) {
        shown.set("delivered", state.delivered.load(Ordering::Relaxed));
        shown.set("failed", state.failed.load(Ordering::Relaxed));
        shown.set("dead_letters", state.buried.load(Ordering::Relaxed));
        if let Some(error) = state.error.lock().as_deref() {
            shown.set("error", error);
        }
    }
    Ok(Some(shown))
}

/// The tenant's sinks, how far each is, and what keeps one from going on.
#[utoipa::path(get, path = "/api/v1/events/sinks", tag = "events", security(("token" = [])),
    responses((status = 200, body = shapes::Sinks), (status = 403, body = shapes::Problem)))]
pub async fn list(State(app): State<App>, call: Call) -> Answer {
    call.query.finish("none")?;
    let mut query = ListQuery { limit: app.limits.page, ..ListQuery::default() };
    let mut sinks = Vec::new();
    loop {
        let page = app.ledger.list(&call.access, Kind::EventSink, &query).await?;
        for resource in &page.items {
            sinks.extend(shown(&app, resource).await?);
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(answer(StatusCode::OK, &Json::object().with("sinks", sinks)));
        }
    }
}

async fn found(app: &App, access: &Access, name: &str) -> Result<Resource> {
    let found = app.ledger.read(access, &key(access, name)?).await?;
    found.ok_or_else(|| Error::not_found("not-found", "there is no such sink").with("sink", name))
}

/// One sink.
#[utoipa::path(get, path = "/api/v1/events/sinks/{sink}", tag = "events", security(("token" = [])),
    params(("sink" = String, Path)), responses((status = 200, body = shapes::Sink), (status = 404, body = shapes::Problem)))]
pub async fn get(State(app): State<App>, At(name): At<String>, call: Call) -> Answer {
    call.query.finish("none")?;
    let resource = found(&app, &call.access, &name).await?;
    let shown = shown(&app, &resource).await?.ok_or_else(|| Error::not_found("erased", "this sink was erased"))?;
    Ok(positioned(StatusCode::OK, &shown, resource.position))
}

/// Makes a sink (201) or changes it (200); a sink that is there goes on where it stands.
#[utoipa::path(put, path = "/api/v1/events/sinks/{sink}", tag = "events", security(("token" = [])),
    params(("sink" = String, Path)), request_body = shapes::NewSink,
    responses((status = 201, body = shapes::Sink), (status = 200, body = shapes::Sink),
        (status = 400, body = shapes::Problem), (status = 403, body = shapes::Problem)))]
pub async fn put(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Write).await?;
    let body = body::object(&mut call, &["url", "topics", "mode", "attempts", "from"])?;
    let key = key(&call.access, &name)?;
    let _lane = app.lane(&key).await;
    let before = app.ledger.read(&call.access, &key).await?;
    let stands = before.as_ref().map(read).transpose()?.flatten().map(|sink| sink.begins);
    let from = place(&body, "from")?.unwrap_or(Start::Latest);
    let latest = app.events.place(&Start::Latest, &[]).await?;
    let mut sink = Sink::read(&body, Some(stands.unwrap_or(latest)))?;
    app.sinks.check(&sink.url)?;
    let topics = app.events.topics().named(&sink.topics)?;
    app.events.allowed(&call.access, &topics).await?;
    if stands.is_none() {
        sink.begins = app.events.place(&from, &topics).await?;
    }
    let write = Write { key: key.clone(), op: Op::Put, document: Some(sink.prepared(&name, &key.tenant)?) };
    let receipt = app.ledger.write(&call.access, Group { writes: vec![write], ..Group::default() }).await?;
    let status = if stands.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    Ok(positioned(status, &sink.shown(&name), receipt.position))
}

/// Deletes a sink with its position and its dead letters.
#[utoipa::path(delete, path = "/api/v1/events/sinks/{sink}", tag = "events", security(("token" = [])),
    params(("sink" = String, Path)), responses((status = 204), (status = 404, body = shapes::Problem)))]
pub async fn delete(State(app): State<App>, At(name): At<String>, call: Call) -> Answer {
    call.query.finish("none")?;
    let key = key(&call.access, &name)?;
    let write = Write { key: key.clone(), op: Op::Delete { expected: None }, document: None };
    app.ledger.write(&call.access, Group { writes: vec![write], ..Group::default() }).await?;
    // Its worker forgets it too; but a server that stops now must not leave a place for a later sink of that name.
    app.ledger.consumer_forget(&key.tenant, &consumer(&key)).await?;
    Ok(nothing())
}
