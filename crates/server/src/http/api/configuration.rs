//! Configuration: namespaced keys with versions, history, differences and rollback.
//!
//! A key has no colon, so an action stands behind one: `…/KEY:history`, `…/KEY:diff?from=1&to=2`, `…/KEY:rollback?to=1`.

use super::{history, positioned, shapes, version};
use crate::{
    http::{
        body,
        call::{At, Call},
        headers::{self, Match},
        tmf921::not_found,
    },
    identity::allow,
    problem::Answer,
    state::App,
};
use axum::extract::State;
use http::{StatusCode, header};
use ledger::{Content, Group, ListQuery, Op, Resource, Write};
use model::{
    Action, Error, Json, Kind, Prepared, ResourceKey, Result, Version,
    configuration::{self, ConfigurationKey, diff},
    json::{self, parse},
};

/// A key, and what stands behind its colon.
fn target(call: &Call, namespace: &str, rest: &str) -> Result<(ResourceKey, Option<String>)> {
    let (key, action) = rest.split_once(':').map_or((rest, None), |(key, action)| (key, Some(action.to_owned())));
    let id = format!("{namespace}/{key}");
    ConfigurationKey::parse(&id)?;
    Ok((ResourceKey::new(&call.access.tenant, Kind::Configuration, &id)?, action))
}

fn unknown(action: &str) -> Error {
    let shown: String = action.chars().take(40).collect();
    Error::invalid("configuration-action-unknown", "behind the colon stands history or diff (GET), or rollback (POST)")
        .with("action", shown)
}

/// One document, now or at a past version. (Behind `KEY:` stand its history and the difference of two versions.)
#[utoipa::path(get, path = "/api/v1/configuration/{namespace}/{key}", tag = "configuration", security(("token" = [])),
    params(("namespace" = String, Path),
        ("key" = String, Path, description = "segments divided by /"),
        ("version" = Option<u64>, Query, description = "a past version")),
    responses((status = 200, body = shapes::ResourceVersion), (status = 404, body = shapes::Problem),
        (status = 410, body = shapes::Problem)))]
pub async fn get(State(app): State<App>, At((namespace, rest)): At<(String, String)>, mut call: Call) -> Answer {
    let (key, action) = target(&call, &namespace, &rest)?;
    match action.as_deref() {
        None => {
            let past = call.query.take_number("version")?;
            std::mem::take(&mut call.query).finish("version")?;
            let found = match past {
                Some(past) => at_version(&app, &call, &key, past).await?,
                None => current(&app, &call, &key).await?,
            };
            shown(StatusCode::OK, &found)
        }
        Some("history") => versions(&app, call, &key).await,
        Some("diff") => difference(&app, call, &key).await,
        Some(other) => Err(unknown(other).into()),
    }
}

async fn current(app: &App, call: &Call, key: &ResourceKey) -> Result<Resource> {
    app.ledger.read(&call.access, key).await?.ok_or_else(|| not_found(key))
}

async fn at_version(app: &App, call: &Call, key: &ResourceKey, wanted: Version) -> Result<Resource> {
    let found = app.ledger.history_page(&call.access, key, Some(wanted.saturating_add(1)), 1).await?;
    let missing = || not_found(key).with("version", wanted);
    found.into_iter().find(|known| known.version == wanted).ok_or_else(missing)
}

fn shown(status: StatusCode, resource: &Resource) -> Answer {
    let mut response = positioned(status, &version(resource)?, resource.position);
    response.headers_mut().insert(header::ETAG, headers::etag(resource.version));
    Ok(response)
}

fn document(resource: &Resource) -> Result<Json> {
    match &resource.document {
        Content::Clear(document) => json::stored(document),
        Content::Erased => Err(crate::http::tmf921::erased(&resource.key)),
        Content::Deleted => Ok(Json::object()),
    }
}

/// All versions of a document, oldest first, deletions included.
#[utoipa::path(get, path = "/api/v1/configuration/{namespace}/{key}:history", tag = "configuration",
    security(("token" = [])),
    params(("namespace" = String, Path), ("key" = String, Path),
        ("before" = Option<u64>, Query, description = "versions below this one"),
        ("limit" = Option<u32>, Query, description = "the newest of them")),
    responses((status = 200, body = shapes::History), (status = 404, body = shapes::Problem)))]
pub async fn versions(app: &App, mut call: Call, key: &ResourceKey) -> Answer {
    history::page(app, &mut call, key).await
}

/// What changed from one version of a document to another.
#[utoipa::path(get, path = "/api/v1/configuration/{namespace}/{key}:diff", tag = "configuration",
    security(("token" = [])),
    params(("namespace" = String, Path), ("key" = String, Path), ("from" = u64, Query), ("to" = u64, Query)),
    responses((status = 200, body = shapes::Differences), (status = 404, body = shapes::Problem),
        (status = 410, body = shapes::Problem)))]
pub async fn difference(app: &App, mut call: Call, key: &ResourceKey) -> Answer {
    let needed = |name: &'static str| {
        Error::invalid("parameter-missing", "a difference is asked for with from=VERSION&to=VERSION")
            .with("parameter", name)
    };
    let from = call.query.take_number("from")?.ok_or_else(|| needed("from"))?;
    let to = call.query.take_number("to")?.ok_or_else(|| needed("to"))?;
    std::mem::take(&mut call.query).finish("from, to")?;
    let (old, new) = (at_version(app, &call, key, from).await?, at_version(app, &call, key, to).await?);
    let position = if old.version > new.version { old.position } else { new.position };
    let (old, new) = (document(&old)?, document(&new)?);
    let differences: Vec<Json> = diff(&old, &new).iter().map(configuration::Difference::document).collect();
    let body = Json::object().with("id", &*key.id).with("from", from).with("to", to).with("differences", differences);
    Ok(positioned(StatusCode::OK, &body, position))
}

/// Stores a document: with `If-Match` only over that version, with `If-None-Match: *` only where there is none.
#[utoipa::path(put, path = "/api/v1/configuration/{namespace}/{key}", tag = "configuration", security(("token" = [])),
    params(("namespace" = String, Path), ("key" = String, Path)), request_body = Object,
    responses((status = 200, body = shapes::Written), (status = 201, body = shapes::Written),
        (status = 400, body = shapes::Problem), (status = 412, body = shapes::Problem)))]
pub async fn put(State(app): State<App>, At((namespace, rest)): At<(String, String)>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Write).await?;
    call.require_json()?;
    std::mem::take(&mut call.query).finish("none")?;
    let (key, action) = target(&call, &namespace, &rest)?;
    if let Some(action) = action {
        return Err(unknown(&action).into());
    }
    let prepared = configuration::prepared(&key.id, &parse(&call.body)?, &key.tenant)?;
    let created_only = headers::if_none_match(&call.headers)?.is_some_and(|tag| tag == "*");
    let op = match (call.if_match()?, created_only) {
        (None, true) => Op::Create,
        (Some(Match::Version(expected)), false) => Op::Replace { expected },
        (None, false) => Op::Put,
        (Some(Match::Any), false) => Op::Replace { expected: current(&app, &call, &key).await?.version },
        (Some(_), true) => {
            let rule = "send If-Match or If-None-Match, not both";
            return Err(Error::invalid("header-malformed", rule).with("header", "If-None-Match").into());
        }
    };
    write(&app, &call, &key, op, Some(prepared)).await
}

async fn write(app: &App, call: &Call, key: &ResourceKey, op: Op, document: Option<Prepared>) -> Answer {
    let writes = vec![Write { key: key.clone(), op, document }];
    let group = Group { writes, idempotency: call.idempotency()?, ..Group::default() };
    let conditional = matches!(op, Op::Create | Op::Replace { .. } | Op::Delete { expected: Some(_) });
    let receipt = app.ledger.write(&call.access, group).await.map_err(|error| precise(error, conditional))?;
    let Some(written) = receipt.writes.first() else { return Err(Error::bug("a receipt without its write").into()) };
    let status = if written.version == 1 { StatusCode::CREATED } else { StatusCode::OK };
    let body = Json::object()
        .with("kind", key.kind.as_str())
        .with("id", &*key.id)
        .with("version", written.version)
        .with("position", written.position.to_string());
    let mut response = positioned(status, &body, written.position);
    response.headers_mut().insert(header::ETAG, headers::etag(written.version));
    Ok(response)
}

fn precise(error: Error, conditional: bool) -> Error {
    if !conditional || !matches!(error.code(), "version-conflict" | "already-exists") {
        return error;
    }
    let told = "the document is not at the expected version; read it again and repeat the change";
    let precise = Error::conflict("precondition-failed", told);
    match error.fact("current") {
        Some(current) => precise.with("current", current),
        None => precise,
    }
}

/// Deletes a document; its history stays.
#[utoipa::path(delete, path = "/api/v1/configuration/{namespace}/{key}", tag = "configuration",
    security(("token" = [])), params(("namespace" = String, Path), ("key" = String, Path)),
    responses((status = 204), (status = 404, body = shapes::Problem), (status = 412, body = shapes::Problem)))]
pub async fn delete(State(app): State<App>, At((namespace, rest)): At<(String, String)>, mut call: Call) -> Answer {
    std::mem::take(&mut call.query).finish("none")?;
    let (key, action) = target(&call, &namespace, &rest)?;
    if let Some(action) = action {
        return Err(unknown(&action).into());
    }
    let expected = match call.if_match()? {
        Some(Match::Version(version)) => Some(version),
        Some(Match::Any) | None => None,
    };
    let writes = vec![Write { key, op: Op::Delete { expected }, document: None }];
    let group = Group { writes, idempotency: call.idempotency()?, ..Group::default() };
    let deleted = app.ledger.write(&call.access, group).await;
    let receipt = deleted.map_err(|error| precise(error, expected.is_some()))?;
    crate::http::tmf921::gone(receipt.position)
}

/// What stands behind a key's colon and changes it: `POST …/KEY:rollback?to=VERSION`.
pub async fn act(State(app): State<App>, At((namespace, rest)): At<(String, String)>, call: Call) -> Answer {
    allow(&app, &call.access, Action::Write).await?;
    let (key, action) = target(&call, &namespace, &rest)?;
    if action.as_deref() != Some("rollback") {
        return Err(unknown(action.as_deref().unwrap_or_default()).into());
    }
    rollback(&app, call, &key).await
}

/// Stores a past version again, as a new one.
#[utoipa::path(post, path = "/api/v1/configuration/{namespace}/{key}:rollback", tag = "configuration",
    security(("token" = [])),
    params(("namespace" = String, Path), ("key" = String, Path),
        ("to" = u64, Query, description = "the version to store again")),
    responses((status = 200, body = shapes::Written), (status = 404, body = shapes::Problem)))]
pub async fn rollback(app: &App, mut call: Call, key: &ResourceKey) -> Answer {
    body::none(&call)?;
    let missing =
        || Error::invalid("parameter-missing", "a rollback names its version with to=VERSION").with("parameter", "to");
    let to = call.query.take_number("to")?.ok_or_else(missing)?;
    std::mem::take(&mut call.query).finish("to")?;
    let past = at_version(app, &call, key, to).await?;
    let Content::Clear(stored) = &past.document else {
        return Err(not_found(key).with("version", to).into());
    };
    let prepared = configuration::prepared(&key.id, &json::stored(stored)?, &key.tenant)?;
    let op = match call.if_match()? {
        Some(Match::Version(expected)) => Op::Replace { expected },
        Some(Match::Any) | None => Op::Put,
    };
    write(app, &call, key, op, Some(prepared)).await
}

/// Documents, all or of one namespace, oldest first.
#[utoipa::path(get, path = "/api/v1/configuration", tag = "configuration", security(("token" = [])),
    params(("namespace" = Option<String>, Query), ("limit" = Option<u32>, Query), ("after" = Option<String>, Query)),
    responses((status = 200, body = shapes::ResourcePage), (status = 403, body = shapes::Problem)))]
pub async fn list(State(app): State<App>, mut call: Call) -> Answer {
    let namespace = call.query.take("namespace")?.map(|name| format!("{name}/"));
    let limit = call.query.take_number("limit")?.unwrap_or(app.limits.page_default).clamp(1, app.limits.page);
    let after = call.query.take("after")?;
    std::mem::take(&mut call.query).finish("namespace, limit, after")?;
    let query = ListQuery { after, limit, id_prefix: namespace, ..ListQuery::default() };
    let page = app.ledger.list(&call.access, Kind::Configuration, &query).await?;
    let items = page.items.iter().map(version).collect::<Result<Vec<_>>>()?;
    let mut body = Json::object().with("items", items).with("total", page.total);
    if let Some(next) = page.next {
        body.set("next", next);
    }
    Ok(positioned(StatusCode::OK, &body, page.position))
}
