//! `GET /api/v1/history/{kind}/{id}`: every version of any resource.

use super::{positioned, shapes, version};
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

/// Versions of a resource, oldest first, deletions included: all of them, or a page below `before`.
#[utoipa::path(get, path = "/api/v1/history/{kind}/{id}", tag = "history", security(("token" = [])),
    params(("kind" = String, Path), ("id" = String, Path),
        ("before" = Option<u64>, Query, description = "versions below this one"),
        ("limit" = Option<u32>, Query, description = "the newest of them")),
    responses((status = 200, body = shapes::History), (status = 404, body = shapes::Problem)))]
pub async fn history(State(app): State<App>, At((kind, id)): At<(String, String)>, mut call: Call) -> Answer {
    let kind: Kind = kind.parse()?;
    let key = ResourceKey::new(&call.access.tenant, kind, &id)?;
    page(&app, &mut call, &key).await
}

/// A history, or one page of it with `before` for the next; as of its newest version.
pub async fn page(app: &App, call: &mut Call, key: &ResourceKey) -> Answer {
    let before = call.query.take_number("before")?;
    let limit: Option<u32> = call.query.take_number("limit")?;
    std::mem::take(&mut call.query).finish("before, limit")?;
    let found = match (before, limit) {
        (None, None) => app.ledger.history(&call.access, key).await?,
        (before, limit) => {
            let limit = limit.unwrap_or(app.limits.page_default).clamp(1, app.limits.page);
            let mut found = app.ledger.history_page(&call.access, key, before, limit as usize).await?;
            found.reverse();
            found
        }
    };
    let (Some(oldest), Some(newest)) = (found.first(), found.last()) else {
        return Err(not_found(key).into());
    };
    let versions = found.iter().map(version).collect::<Result<Vec<_>>>()?;
    let mut body = Json::object().with("kind", key.kind.as_str()).with("id", &*key.id).with("versions", versions);
    if oldest.version > 1 {
        body.set("before", oldest.version);
    }
    Ok(positioned(StatusCode::OK, &body, newest.position))
}
