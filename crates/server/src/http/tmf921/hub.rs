//! Subscriptions: register and unregister. They are resources; delivery is in `crate::sinks`.

use super::{
    answer,
    resource::{at_version, precise},
};
use crate::{
    clock,
    http::{
        call::{At, Call},
        headers::{self, Match},
    },
    identity::allow,
    problem::Answer,
    state::App,
};
use axum::extract::State;
use http::{StatusCode, header};
use ledger::{Group, Op, Write};
use model::{Action, Error, Kind, ResourceKey, hub, json::parse};

pub async fn register(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Write).await?;
    call.require_json()?;
    std::mem::take(&mut call.query).finish("none")?;
    let id = clock::new_id();
    let body = parse(&call.body)?;
    let callback = body.get("callback").and_then(model::Json::as_str).unwrap_or_default().to_owned();
    let prepared = hub::registration(body, &id, &app.base_href, &call.access.tenant)?;
    app.sinks.check(&callback)?;
    let document = prepared.document.clone();
    let key = ResourceKey::new(&call.access.tenant, Kind::Hub, &id)?;
    let writes = vec![Write { key, op: Op::Create, document: Some(prepared) }];
    let group = Group { writes, idempotency: call.idempotency()?, ..Group::default() };
    let receipt = app.ledger.write(&call.access, group).await?;
    let written = receipt.writes.first().ok_or_else(|| Error::bug("a receipt without its write"))?;
    // A repeated request gets the subscription that the first one made.
    let id = &*written.key.id;
    let document = match receipt.replayed {
        true => at_version(&app, &call, &written.key, written.version).await?,
        false => document,
    };
    let mut response = answer::document(StatusCode::CREATED, document, written.version, written.position)?;
    headers::put(response.headers_mut(), header::LOCATION, &format!("{}/hub/{id}", app.base_href));
    Ok(response)
}

pub async fn unregister(State(app): State<App>, At(id): At<String>, mut call: Call) -> Answer {
    std::mem::take(&mut call.query).finish("none")?;
    let key = ResourceKey::new(&call.access.tenant, Kind::Hub, &id)?;
    let expected = match call.if_match()? {
        Some(Match::Version(version)) => Some(version),
        Some(Match::Any) | None => None,
    };
    let writes = vec![Write { key, op: Op::Delete { expected }, document: None }];
    let group = Group { writes, idempotency: call.idempotency()?, ..Group::default() };
    let deleted = app.ledger.write(&call.access, group).await;
    let receipt = deleted.map_err(|error| precise(error, call.if_match().ok().flatten()))?;
    answer::gone(receipt.position)
}
