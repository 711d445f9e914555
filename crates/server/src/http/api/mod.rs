//! Our own API under `/api/v1`: events, configuration, transactions, the log, history, audit, status, principals, keys.
//!
//! Bodies are read by `model::json` (duplicate keys, depth and size refused), never by serde; answers that carry
//! documents are written by it too, so that numbers keep their digits.

pub mod audit;
pub mod configuration;
pub mod copies;
pub mod events;
pub mod history;
pub mod keys;
pub mod knowledge;
pub mod migration;
pub mod network_intents;
pub mod principals;
pub mod record;
pub mod search;
pub mod shapes;
pub mod status;
pub mod transactions;
pub mod watch;

use super::{headers, json};
use crate::state::App;
use axum::{
    Router,
    response::Response,
    routing::{get, post, put},
};
use http::StatusCode;
use ledger::{Content, Resource};
use model::{Error, Json, Kind, Position, Result, json::stored};

pub fn routes() -> Router<App> {
    Router::new()
        .route("/api/v1/openapi.json", get(crate::openapi::document))
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/record/advice", get(record::advice))
        .route("/api/v1/record/baseline", put(record::keep_baseline))
        .route("/api/v1/watch", get(watch::watch))
        .route("/api/v1/history/{kind}/{*id}", get(history::history))
        .route("/api/v1/transactions", post(transactions::transact))
        .route("/api/v1/configuration", get(configuration::list))
        .route(
            "/api/v1/configuration/{namespace}/{*key}",
            get(configuration::get).put(configuration::put).delete(configuration::delete).post(configuration::act),
        )
        .route("/api/v1/principals", get(principals::list).post(principals::create))
        .route("/api/v1/principals/{name}", get(principals::get).delete(principals::revoke))
        .route("/api/v1/principals/{name}/token", post(principals::rotate))
        .route("/api/v1/keys", get(keys::status))
        .route("/api/v1/keys/rotations", post(keys::rotate))
        .route("/api/v1/keys/root-rotations", post(keys::rotate_root))
        .route("/api/v1/erasures", get(keys::erasure_preview).post(keys::erase))
        .route("/api/v1/audit", get(audit::list))
        .route("/api/v1/audit/checkpoint", get(audit::checkpoint))
        .route("/api/v1/audit/reconciliation", get(audit::reconciliation))
        .route("/api/v1/knowledge/documents", get(knowledge::list).post(knowledge::put))
        .route("/api/v1/knowledge/documents/{id}", get(knowledge::get).delete(knowledge::delete))
        .route("/api/v1/knowledge/migration", get(migration::show))
        .route("/api/v1/knowledge/migration/{step}", post(migration::step))
        .route("/api/v1/search", post(search::search))
        .route("/api/v1/retrieve", post(search::retrieve))
        .route("/api/v1/copies", get(copies::list))
        .route("/api/v1/copies/{name}", post(copies::act))
        .merge(event_routes())
        .route("/api/v1/network-intents", post(network_intents::create))
        .route("/api/v1/network-intents/{id}", get(network_intents::get))
}

fn event_routes() -> Router<App> {
    use events::{groups, letters, members, open, sinks};
    Router::new()
        .route("/api/v1/events/topics", get(events::topics))
        .route("/api/v1/events/topics/{topic}", get(events::read))
        .route("/api/v1/events/topics/{topic}/{position}", get(events::one))
        .route("/api/v1/events/groups", get(groups::list))
        .route("/api/v1/events/groups/{group}", get(groups::get).put(groups::put).delete(groups::delete))
        .route("/api/v1/events/groups/{group}/seek", post(groups::seek))
        .route("/api/v1/events/groups/{group}/members/{member}", put(members::join).delete(members::leave))
        .route("/api/v1/events/groups/{group}/members/{member}/poll", post(members::poll))
        .route("/api/v1/events/groups/{group}/members/{member}/commit", post(members::commit))
        .route("/api/v1/events/sinks", get(sinks::list))
        .route("/api/v1/events/sinks/{sink}", get(sinks::get).put(sinks::put).delete(sinks::delete))
        .route("/api/v1/events/dead-letters", get(letters::list).post(letters::bury))
        .route("/api/v1/events/dead-letters/retry", post(letters::retry))
        .route("/api/v1/events/dead-letters/discard", post(letters::discard))
        .route("/api/v1/open", post(open::open))
}

/// An attribute of a body that has not the value it must have.
fn wrong(field: impl std::fmt::Display, rule: &str) -> Error {
    Error::invalid("attribute-value", rule).with("field", field)
}

/// Work that takes milliseconds: never on an async worker.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::bug("a worker of the door ended badly").caused_by(error))?
}

/// An answer from our own JSON value.
pub fn answer(status: StatusCode, body: &Json) -> Response {
    json(status, body.to_bytes())
}

/// The same with the position that a reader may send back.
pub fn positioned(status: StatusCode, body: &Json, position: Position) -> Response {
    let mut response = answer(status, body);
    headers::put(response.headers_mut(), headers::LEDGER_POSITION, &position.to_string());
    response
}

/// One version of a resource, as lists, histories and transactions show it.
pub fn version(resource: &Resource) -> Result<Json> {
    let shown = Json::object()
        .with("kind", resource.key.kind.as_str())
        .with("id", &*resource.key.id)
        .with("version", resource.version)
        .with("position", resource.position.to_string())
        .with("class", resource.class.as_str());
    Ok(match &resource.document {
        Content::Clear(document) => {
            shown.with("state", "present").with("document", visible(resource.key.kind, document)?)
        }
        Content::Erased => shown.with("state", "erased"),
        Content::Deleted => shown.with("state", "deleted"),
    })
}

/// A document as it may be shown: never a token hash.
fn visible(kind: Kind, document: &[u8]) -> Result<Json> {
    let mut document = stored(document)?;
    if kind == Kind::Principal {
        document.remove("tokenHash");
    }
    Ok(document)
}
