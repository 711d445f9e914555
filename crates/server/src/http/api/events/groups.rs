//! Consumer groups: made, shown, moved, deleted. Those who may read each of a group's topics may do so, within their
//! tenant; moving and deleting stand in the audit log before they are done.

use super::super::{answer, positioned, shapes, wrong};
use crate::{
    http::{
        body,
        call::{At, Call},
    },
    identity::act,
    problem::Answer,
    state::App,
};
use axum::{extract::State, response::Response};
use http::StatusCode;
use ledger::{ConsumerGroup, Partition};
use model::{Error, Json, Result};
use relay::events::Start;

fn shown(app: &App, group: &ConsumerGroup) -> Result<Json> {
    let published = app.ledger.published()?.map_or(0, |position| position.n);
    let behind = |partition: &Partition| published.saturating_sub(partition.committed.n);
    let row = |held: &Partition| {
        partition(held)
            .with("member", held.member.as_deref().map_or(Json::Null, Json::from))
            .with("behind", behind(held))
    };
    let member = |member: &ledger::groups::Member| {
        Json::object()
            .with("name", &*member.name)
            .with("principal", &*member.principal)
            .with("lease_seconds", member.lease.as_secs())
            .with("expired", member.expired)
    };
    Ok(Json::object()
        .with("name", &*group.name)
        .with("epoch", group.epoch)
        .with("topics", group.topics().into_iter().map(Json::from).collect::<Vec<_>>())
        .with("behind", group.partitions.iter().map(behind).max().unwrap_or(0))
        .with("members", group.members.iter().map(member).collect::<Vec<_>>())
        .with("partitions", group.partitions.iter().map(row).collect::<Vec<_>>()))
}

/// One partition as a group holds it.
pub fn partition(partition: &Partition) -> Json {
    Json::object()
        .with("topic", &*partition.topic)
        .with("partition", u64::from(partition.number))
        .with("committed", partition.committed.to_string())
}

/// The tenant's groups, their members, and how far behind the log each is.
#[utoipa::path(get, path = "/api/v1/events/groups", tag = "events", security(("token" = [])),
    responses((status = 200, body = shapes::ConsumerGroups), (status = 403, body = shapes::Problem)))]
pub async fn list(State(app): State<App>, call: Call) -> Answer {
    call.query.finish("none")?;
    let groups = app.events.groups(&call.access).await?;
    let groups = groups.iter().map(|group| shown(&app, group)).collect::<Result<Vec<_>>>()?;
    Ok(answer(StatusCode::OK, &Json::object().with("groups", groups)))
}

/// One group.
#[utoipa::path(get, path = "/api/v1/events/groups/{group}", tag = "events", security(("token" = [])),
    params(("group" = String, Path)),
    responses((status = 200, body = shapes::ConsumerGroup), (status = 404, body = shapes::Problem)))]
pub async fn get(State(app): State<App>, At(name): At<String>, call: Call) -> Answer {
    call.query.finish("none")?;
    let group = app.events.group(&call.access, &name).await?;
    Ok(answer(StatusCode::OK, &shown(&app, &group)?))
}

/// Makes a group (201), or finds the same one there (200, its positions as they are).
#[utoipa::path(put, path = "/api/v1/events/groups/{group}", tag = "events", security(("token" = [])),
    params(("group" = String, Path)), request_body = shapes::NewConsumerGroup,
    responses((status = 201, body = shapes::ConsumerGroup), (status = 200, body = shapes::ConsumerGroup),
        (status = 404, body = shapes::Problem), (status = 409, body = shapes::Problem)))]
pub async fn put(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    let body = body::object(&mut call, &["topics", "from"])?;
    let listed = body.get("topics").and_then(Json::as_array).unwrap_or_default();
    let topics = listed.iter().map(Json::as_str).collect::<Option<Vec<_>>>();
    let topics = topics.ok_or_else(|| wrong("topics", "topics is a list of names"))?;
    let from = place(&body, "from")?.unwrap_or(Start::Earliest);
    let made = app.events.group_create(&call.access, &name, &topics, &from).await?;
    let group = app.events.group(&call.access, &name).await?;
    let status = if made { StatusCode::CREATED } else { StatusCode::OK };
    Ok(answer(status, &shown(&app, &group)?))
}

/// Where in the log, as a body names it.
pub fn place(body: &Json, field: &'static str) -> Result<Option<Start>> {
    match body.get(field) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => text.parse().map(Some),
        Some(_) => Err(wrong(field, "this is earliest, latest, a position or a time, as text")),
    }
}

/// Moves a group, or one topic of it, back or forth: what members have read and not committed is committed by nobody.
#[utoipa::path(post, path = "/api/v1/events/groups/{group}/seek", tag = "events", security(("token" = [])),
    params(("group" = String, Path)), request_body = shapes::Seek,
    responses((status = 200, body = shapes::Sought), (status = 404, body = shapes::Problem), (status = 410, body = shapes::Problem)))]
pub async fn seek(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    let body = body::object(&mut call, &["to", "topic"])?;
    let Some(to) = place(&body, "to")? else {
        let rule = "say where to: earliest, latest, a position or a time";
        return Err(Error::invalid("attribute-missing", rule).with("field", "to").into());
    };
    let topic = body.get("topic").filter(|topic| !matches!(topic, Json::Null));
    let topic = topic.map(|topic| topic.as_str().ok_or_else(|| wrong("topic", "topic is a name"))).transpose()?;
    // Whoever may not is told so before anything is noted as done.
    app.events.permitted(&call.access, &name).await?;
    let told = body.get("to").and_then(Json::as_str).unwrap_or_default();
    act(&app, &call.access, "events-seek", "begun", format!("group {name} to {told}")).await?;
    let (position, partitions) = app.events.seek(&call.access, &name, topic, &to).await?;
    let body = Json::object().with("position", position.to_string()).with("partitions", partitions);
    Ok(positioned(StatusCode::OK, &body, position))
}

/// Deletes a group with its positions and dead letters.
#[utoipa::path(delete, path = "/api/v1/events/groups/{group}", tag = "events", security(("token" = [])),
    params(("group" = String, Path)), responses((status = 204), (status = 404, body = shapes::Problem)))]
pub async fn delete(State(app): State<App>, At(name): At<String>, call: Call) -> Answer {
    call.query.finish("none")?;
    app.events.permitted(&call.access, &name).await?;
    act(&app, &call.access, "events-group-delete", "begun", format!("group {name}")).await?;
    app.events.group_delete(&call.access, &name).await?;
    Ok(nothing())
}

/// 204.
pub fn nothing() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
