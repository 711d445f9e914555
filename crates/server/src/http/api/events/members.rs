//! Members of a group: join, poll, commit, leave. A poll renews the lease; so does a commit.
//!
//! A poll names what the answer before gave: `after` (its `ledger-position`) and `epoch` (its `events-epoch`). A member
//! whose assignment is over gets 409 `consumer-fenced`.

use super::{
    super::{answer, shapes, wrong},
    batch, bounds,
    groups::{nothing, partition},
};
use crate::{
    http::{
        body,
        call::{At, Call},
        event_stream::until_stop,
        headers,
    },
    listen::overloaded,
    problem::Answer,
    state::App,
};
use axum::extract::State;
use http::{HeaderName, StatusCode};
use ledger::{Membership, groups::Commit};
use model::{Error, Json, Position, Result};
use relay::events::{Poll, encode::Encoder};
use std::{sync::Arc, time::Duration};

/// Of the assignment under which a page was read.
pub const EPOCH: HeaderName = HeaderName::from_static("events-epoch");
const LEASE: Duration = Duration::from_secs(30);

fn number(value: &Json) -> Option<u64> {
    value.as_number()?.parse().ok()
}

fn shown(member: &str, membership: &Membership) -> Json {
    Json::object()
        .with("member", member)
        .with("epoch", membership.epoch)
        .with("partitions", membership.partitions.iter().map(partition).collect::<Vec<_>>())
}

/// Adds a member, or takes its name over: whoever had it is fenced.
#[utoipa::path(put, path = "/api/v1/events/groups/{group}/members/{member}", tag = "events", security(("token" = [])),
    params(("group" = String, Path), ("member" = String, Path)), request_body = shapes::Join,
    responses((status = 200, body = shapes::Membership), (status = 404, body = shapes::Problem)))]
pub async fn join(State(app): State<App>, At((group, member)): At<(String, String)>, mut call: Call) -> Answer {
    let body = body::optional(&mut call, &["lease_seconds"])?;
    let lease = match body.get("lease_seconds") {
        None | Some(Json::Null) => LEASE,
        Some(seconds) => Duration::from_secs(
            number(seconds).ok_or_else(|| wrong("lease_seconds", "a lease is a whole number of seconds"))?,
        ),
    };
    let joined = app.events.join(&call.access, &group, &member, lease).await?;
    Ok(answer(StatusCode::OK, &shown(&member, &joined)))
}

/// Ends a membership; others take its partitions at their next poll.
#[utoipa::path(delete, path = "/api/v1/events/groups/{group}/members/{member}", tag = "events", security(("token" = [])),
    params(("group" = String, Path), ("member" = String, Path)),
    responses((status = 204), (status = 404, body = shapes::Problem)))]
pub async fn leave(State(app): State<App>, At((group, member)): At<(String, String)>, call: Call) -> Answer {
    call.query.finish("none")?;
    app.events.leave(&call.access, &group, &member).await?;
    Ok(nothing())
}

/// The next events of a member's partitions, waiting for the first. With `processed` everything up to there is committed,
/// durable within about a second.
#[utoipa::path(post, path = "/api/v1/events/groups/{group}/members/{member}/poll", tag = "events", security(("token" = [])),
    params(("group" = String, Path), ("member" = String, Path),
        ("after" = Option<String>, Query, description = "`ledger-position` of the poll before; from the committed positions when absent"),
        ("epoch" = Option<u64>, Query, description = "`events-epoch` of the poll before; required with `after`"),
        ("processed" = Option<String>, Query, description = "everything up to this position is done"),
        ("limit" = Option<u32>, Query, description = "at most 10000; 1000 when absent"),
        ("wait" = Option<u64>, Query, description = "seconds to wait for the first event")),
    responses((status = 200, body = Vec<shapes::CloudEvent>, content_type = "application/cloudevents-batch+json"),
        (status = 404, body = shapes::Problem), (status = 409, body = shapes::Problem), (status = 410, body = shapes::Problem)))]
pub async fn poll(State(app): State<App>, At((group, member)): At<(String, String)>, mut call: Call) -> Answer {
    let _permit = Arc::clone(&app.watchers).try_acquire_owned().map_err(|_| overloaded())?;
    body::none(&call)?;
    let poll = asked(&app, &mut call)?;
    let polled = until_stop(&app, app.events.poll(&call.access, &group, &member, &poll)).await?;
    let mut response = batch(&mut Encoder::default(), &polled.events, polled.next, polled.published);
    headers::put(response.headers_mut(), EPOCH, &polled.epoch.to_string());
    Ok(response)
}

fn asked(app: &App, call: &mut Call) -> Result<Poll> {
    let position = |text: Option<String>| text.map(|text| text.parse::<Position>()).transpose();
    let after = position(call.query.take("after")?)?;
    let epoch = call.query.take_number::<u64>("epoch")?;
    let processed = position(call.query.take("processed")?)?;
    let (limit, wait) = bounds(app, call)?;
    std::mem::take(&mut call.query).finish("after, epoch, processed, limit, wait")?;
    let reached = match (epoch, after) {
        (Some(epoch), Some(after)) => Some((epoch, after)),
        (None, None) if processed.is_none() => None,
        _ => {
            let rule = "after, and processed where it is sent, go with the epoch of the answer they are from";
            return Err(Error::invalid("parameter-missing", rule).with("parameter", "epoch"));
        }
    };
    Ok(Poll { reached, processed, limit, wait })
}

/// Everything up to a position is done; durable when it is answered.
#[utoipa::path(post, path = "/api/v1/events/groups/{group}/members/{member}/commit", tag = "events", security(("token" = [])),
    params(("group" = String, Path), ("member" = String, Path)), request_body = shapes::Commit,
    responses((status = 200, body = shapes::Committed), (status = 409, body = shapes::Problem)))]
pub async fn commit(State(app): State<App>, At((group, member)): At<(String, String)>, mut call: Call) -> Answer {
    let body = body::object(&mut call, &["epoch", "position"])?;
    let epoch = body.get("epoch").and_then(number).ok_or_else(|| wrong("epoch", "epoch is a number"))?;
    let through = body.get("position").and_then(Json::as_str);
    let through = through.ok_or_else(|| wrong("position", "position is the place up to which all is done"))?.parse()?;
    let partitions = app.events.commit(&call.access, &group, Commit { member, epoch, through }).await?;
    Ok(answer(StatusCode::OK, &Json::object().with("partitions", partitions)))
}
