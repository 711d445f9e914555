//! Nephoran `NetworkIntent` objects of both API groups, kept as the TMF921 intents they stand for.

use super::{positioned, shapes};
use crate::{
    http::{
        call::{At, Call},
        headers,
        tmf921::{clear, create_from, not_found},
    },
    identity::allow,
    problem::Answer,
    state::App,
};
use axum::extract::State;
use http::{StatusCode, header};
use model::{
    Action, Json, Kind, ResourceKey,
    json::{self, parse},
    network_intent::{is_resource, mapped, stable_id},
};

/// Stores a NetworkIntent as a TMF921 intent; the same object (group, namespace, name) is the same intent.
#[utoipa::path(post, path = "/api/v1/network-intents", tag = "network-intents", security(("token" = [])),
    request_body = Object,
    responses((status = 201, body = Object), (status = 400, body = shapes::Problem), (status = 409, body = shapes::Problem)))]
pub async fn create(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Write).await?;
    call.require_json()?;
    std::mem::take(&mut call.query).finish("none")?;
    let resource = parse(&call.body)?;
    let (intent, id) = (mapped(&resource)?, stable_id(&resource)?);
    create_from(&app, &call, Kind::Intent, intent, &id).await
}

/// The object as it was posted.
#[utoipa::path(get, path = "/api/v1/network-intents/{id}", tag = "network-intents", security(("token" = [])),
    params(("id" = String, Path)),
    responses((status = 200, body = Object), (status = 404, body = shapes::Problem)))]
pub async fn get(State(app): State<App>, At(id): At<String>, call: Call) -> Answer {
    let access = call.access;
    call.query.finish("none")?;
    let key = ResourceKey::new(&access.tenant, Kind::Intent, &id)?;
    let missing = || not_found(&key);
    let found = app.ledger.read(&access, &key).await?.ok_or_else(missing)?;
    let document = json::stored(clear(&found)?)?;
    let posted = document.dig(&["expression", "expressionValue"]).filter(|value: &&Json| is_resource(value));
    let mut response = positioned(StatusCode::OK, posted.ok_or_else(missing)?, found.position);
    response.headers_mut().insert(header::ETAG, headers::etag(found.version));
    Ok(response)
}
