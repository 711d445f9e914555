//! `/livez`, `/readyz`, `/metrics`: for machines, without credentials, without anybody's data.

use super::json;
use crate::{
    problem::{Answer, Problem},
    state::App,
};
use axum::{body::Body, extract::State, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ledger::Leadership;
use model::Error;
use serde_json::json;
use std::future::{Ready, ready as now};
use subtle::ConstantTimeEq;

pub fn live() -> Ready<Response> {
    now(json(StatusCode::OK, r#"{"status":"alive"}"#))
}

/// Ready: this server can answer reads; a follower is ready too.
pub async fn ready(State(app): State<App>) -> Answer {
    if *app.stop.borrow() {
        return Err(Problem(Error::retry("stopping", "this server is stopping; use another")));
    }
    app.ledger.ready().await?;
    let role = match app.ledger.leadership() {
        Leadership::Leader { .. } => "leader",
        Leadership::Follower { .. } => "follower",
    };
    Ok(json(StatusCode::OK, json!({ "status": "ready", "role": role }).to_string()))
}

/// Anybody sees what the installation counts; only our own metrics copy what it counts of single tenants.
pub async fn metrics(State(app): State<App>, headers: HeaderMap) -> Answer {
    app.postgresql.refresh().await;
    text(&app, is_scrape(&app, &headers))
}

fn is_scrape(app: &App, headers: &HeaderMap) -> bool {
    let sent = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    sent.zip(app.series.scrape_token()).is_some_and(|(sent, own)| sent.ct_eq(own.as_bytes()).into())
}

fn text(app: &App, tenants: bool) -> Answer {
    let text = app.metrics.text(tenants).map_err(|error| Error::bug("metrics cannot be printed").caused_by(error))?;
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}
