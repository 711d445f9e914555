//! `POST /api/v1/open`: the documents of sealed events. Each release stands in the audit log before it is answered; keys
//! are never handed out (RECORD 16).

use super::super::{answer, shapes, version, wrong};
use crate::{
    http::{body, call::Call},
    problem::Answer,
    state::App,
};
use axum::extract::State;
use http::StatusCode;
use model::{Json, Position, Result};
use relay::events::Opened;

/// In the order asked. `state` is `present`, `deleted`, `erased` (its key was destroyed), `withheld` (its class is
/// write-only) or `absent` (nothing the caller may read stands there).
#[utoipa::path(post, path = "/api/v1/open", tag = "events", security(("token" = [])), request_body = shapes::OpenEvents,
    responses((status = 200, body = shapes::OpenedEvents), (status = 403, body = shapes::Problem), (status = 409, body = shapes::Problem)))]
pub async fn open(State(app): State<App>, mut call: Call) -> Answer {
    let body = body::object(&mut call, &["positions"])?;
    let positions = positions(&body)?;
    let opened = app.events.open(&call.access, &positions).await?;
    let shown = |(position, opened): (&Position, &Opened)| match opened {
        Opened::Resource(resource) => version(resource),
        other => Ok(Json::object().with("position", position.to_string()).with("state", other.state())),
    };
    let events = positions.iter().zip(&opened).map(shown).collect::<Result<Vec<_>>>()?;
    Ok(answer(StatusCode::OK, &Json::object().with("events", events)))
}

fn positions(body: &Json) -> Result<Vec<Position>> {
    let rule = "positions is a list of positions, the ids of events";
    let listed = body.get("positions").and_then(Json::as_array).ok_or_else(|| wrong("positions", rule))?;
    listed.iter().map(|at| at.as_str().ok_or_else(|| wrong("positions", rule))?.parse()).collect()
}
