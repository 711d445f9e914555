//! `GET /api/v1/history/{kind}/{id}`: every version of any resource.

use super::{answer, shapes, version};
use crate::{
    http::{
        call::{At, Call},
        tmf921::not_found,
    },
    problem::Answer,
    state::App,
};
use axum::extract::State;
use http::StatusCode;
use model::{Json, Kind, ResourceKey, Result};

/// Every version of a resource, oldest first, deletions included.
#[utoipa::path(get, path = "/api/v1/history/{kind}/{id}", tag = "history", security(("token" = [])),
    params(("kind" = String, Path), ("id" = String, Path)),
    responses((status = 200, body = shapes::History), (status = 404, body = shapes::Problem)))]
pub async fn history(State(app): State<App>, At((kind, id)): At<(String, String)>, call: Call) -> Answer {
    let access = call.access;
    call.query.finish("none")?;
    let kind: Kind = kind.parse()?;
    let key = ResourceKey::new(&access.tenant, kind, &id)?;
    let found = app.ledger.history(&access, &key).await?;
    if found.is_empty() {
        return Err(not_found(kind).into());
    }
    let versions = found.iter().map(version).collect::<Result<Vec<_>>>()?;
    let body = Json::object().with("kind", kind.as_str()).with("id", id).with("versions", versions);
    Ok(answer(StatusCode::OK, &body))
}
