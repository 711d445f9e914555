//! `GET /api/v1/status`: how this server and its record are.

use super::{answer, shapes};
use crate::{http::call::Call, problem::Answer, state::App};
use axum::extract::State;
use http::StatusCode;
use ledger::{Leadership, Metrics};
use model::{Error, Json};
use stores::{
    embed::{Embedder, SEMANTIC},
    metrics::Status,
};

/// Absent while this server has not led.
fn last_run(seconds: u64) -> Json {
    let at = i64::try_from(seconds).ok().filter(|at| *at > 0).and_then(|at| jiff::Timestamp::from_second(at).ok());
    at.map_or_else(Json::object, |at| Json::object().with("last_run", at.to_string()))
}

fn upkeep(metrics: &Metrics) -> Json {
    last_run(metrics.upkeep_last_run.get())
        .with("failures", metrics.upkeep_failures.get())
        .with("tables_vacuumed", metrics.upkeep_vacuumed.get())
        .with("tables_analyzed", metrics.upkeep_analyzed.get())
        .with("tables_waiting", metrics.upkeep_waiting.get())
        .with("cut_short", metrics.upkeep_cut_short.get())
        .with("yielded", metrics.upkeep_yielded.get())
}

fn expiry(metrics: &Metrics) -> Json {
    last_run(metrics.expiry_last_run.get())
        .with("failures", metrics.expiry_failures.get())
        .with("months_dropped", metrics.expiry_dropped.get())
        .with("months_held_back", metrics.expiry_held_back.get())
}

/// How this server and its record are.
#[utoipa::path(get, path = "/api/v1/status", tag = "status", security(("token" = [])), responses(
    (status = 200, body = shapes::Status),
    (status = 401, body = shapes::Problem),
))]
pub async fn status(State(app): State<App>, call: Call) -> Answer {
    call.query.finish("none")?;
    let published = app.ledger.published()?.ok_or_else(|| Error::retry("record-starting", "the record is opening"))?;
    let mut record = Json::object();
    match app.ledger.leadership() {
        Leadership::Leader { epoch } => {
            record.set("role", "leader");
            record.set("epoch", epoch);
        }
        Leadership::Follower { leader_url } => {
            record.set("role", "follower");
            if let Some(url) = leader_url {
                record.set("leader_url", url);
            }
        }
    }
    record.set("published", published.to_string());
    record.set("upkeep", upkeep(&app.ledger.metrics()));
    let audit = Json::object()
        .with("entries", app.audit.size())
        .with("checkpoint_size", app.audit.checkpoint().size)
        .with("expiry", expiry(&app.ledger.metrics()));
    let keystore = Json::object().with("generation", app.keystore.generation()).with("epoch", app.keystore.epoch());
    let counted = app.events.counted();
    let (sinks, failing) = app.sinks.board.counted();
    let events = Json::object()
        .with("topics", app.events.topics().all().count() as u64)
        .with("delivered", counted.delivered)
        .with("fenced", counted.fenced)
        .with("sinks", sinks)
        .with("sinks_failing", failing);
    let body = Json::object()
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("started", app.started.to_string())
        .with("record", record)
        .with("audit", audit)
        .with("keystore", keystore)
        .with("events", events)
        .with("embedder", app.relay.searched().map_or(Json::Null, |(_, searched)| embedder(&*searched)))
        .with("vector_indexes", super::copies::indexes(&app, &call.access))
        .with("copies", app.relay.status().iter().map(super::copies::shown).collect::<Vec<_>>())
        .with("metrics", metrics(app.series.status().await));
    Ok(answer(StatusCode::OK, &body))
}

/// What makes the vectors; of a lexical one, how to have another.
pub fn embedder(embedder: &dyn Embedder) -> Json {
    let shown = Json::object().with("name", embedder.described()).with("dimensions", embedder.dimensions() as u64);
    if embedder.is_kept() { shown } else { shown.with("hint", SEMANTIC) }
}

fn metrics(status: Status) -> Json {
    let mut shown = Json::object().with("kind", status.kind);
    let facts = [("program", status.program), ("version", status.version), ("reason", status.reason)];
    for (name, fact) in facts {
        if let Some(fact) = fact {
            shown.set(name, fact);
        }
    }
    if let Some(version) = status.remote_write {
        shown.set("remote_write", version);
    }
    for engine in status.engines {
        let mut told = Json::object().with("state", engine.state).with("restarts", engine.restarts);
        if let Some(pid) = engine.pid {
            told.set("pid", u64::try_from(pid).unwrap_or(0));
        }
        if let Some(reason) = engine.reason {
            told.set("reason", reason);
        }
        shown.set(engine.class, told);
    }
    shown
}
