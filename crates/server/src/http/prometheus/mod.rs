//! Prometheus's own surface at `/prometheus`: remote write in, the HTTP API out, so that Grafana, promtool and any
//! sender of remote write work unchanged with a token of ours. Every caller writes and reads its own tenant only.
//!
//! Errors have Prometheus's shape (`status`, `errorType`, `error`). Denials are audited like everywhere; samples are of
//! no document, so writes and reads of them have no entries of their own.

mod limits;
mod parameters;
mod query;
mod rules;
mod select;
mod write;

pub use limits::{Gates, MetricLimits};

use crate::{
    identity::allow,
    limits::{Limits, read_body},
    listen::Peer,
    problem::{self, Problem},
    state::App,
};
use axum::{
    Router,
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderValue, Method, StatusCode, header, request::Parts};
use model::{Access, Action, Error, ErrorKind, Result};
use parameters::Parameters;
use serde_json::{Value, json};

/// Where all of it lies; Grafana and promtool append `/api/v1/…`.
pub const BASE: &str = "/prometheus";

pub fn routes() -> Router<App> {
    let at = |path: &str| format!("{BASE}/api/v1/{path}");
    Router::new()
        .route(&at("write"), post(write::write))
        .route(&at("query"), get(query::query).post(query::query))
        .route(&at("query_range"), get(query::range).post(query::range))
        .route(&at("query_exemplars"), get(query::exemplars).post(query::exemplars))
        .route(&at("series"), get(select::series).post(select::series))
        .route(&at("labels"), get(select::labels).post(select::labels))
        .route(&at("label/{name}/values"), get(select::values))
        .route(&at("metadata"), get(select::metadata))
        .route(&at("rules"), get(rules::rules))
        .route(&at("alerts"), get(rules::alerts))
        .route(&at("status/buildinfo"), get(rules::buildinfo))
}

/// An error in Prometheus's shape.
#[derive(Debug)]
pub struct Refused(Error);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem.0)
    }
}

pub type Answer = Result<Response, Refused>;

fn error_type(status: StatusCode, error: &Error) -> &'static str {
    match (status.as_u16(), error.kind()) {
        (_, _) if error.code() == "metrics-timeout" => "timeout",
        (401, _) => "unauthorized",
        (403, _) => "forbidden",
        (404, _) => "not_found",
        (422, _) => "execution",
        (_, ErrorKind::Retry) => "unavailable",
        (400..=499, _) => "bad_data",
        _ => "internal",
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = problem::status(&self.0);
        let kind = error_type(status, &self.0);
        let words = match self.0.kind() {
            // A parser's own words, as Prometheus would have told them.
            _ if self.0.code() == "promql-malformed" => format!("invalid parameter \"query\": {}", self.0.message()),
            ErrorKind::Bug | ErrorKind::Corrupt => "internal error".to_owned(),
            _ => told(&self.0),
        };
        let code = self.0.code();
        let headers = Problem(self.0).into_response();
        let body = json!({ "status": "error", "errorType": kind, "error": words, "code": code }).to_string();
        let (mut parts, _) = headers.into_parts();
        parts.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(parts, body.into())
    }
}

/// Message and facts on one line; the cause stays in the log.
fn told(error: &Error) -> String {
    let facts = error.context().iter().map(|(name, value)| format!(" [{name}: {value}]"));
    format!("{}{} (nephkeep explain {})", error.message(), facts.collect::<String>(), error.code())
}

fn success(data: &Value, warnings: &[String]) -> Response {
    let mut body = json!({ "status": "success", "data": data });
    if !warnings.is_empty() {
        body["warnings"] = json!(warnings);
    }
    super::json(StatusCode::OK, body.to_string())
}

async fn caller(app: &App, parts: &Parts) -> Result<Access> {
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
    app.authenticator.authenticate(app, &parts.headers, peer).await
}

/// Who reads, and with which parameters: of the query and, for POST, of a form.
#[derive(Debug)]
pub struct Reading {
    pub access: Access,
    pub parameters: Parameters,
}

impl FromRequest<App> for Reading {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refused> {
        let (parts, body) = request.into_parts();
        let access = caller(app, &parts).await?;
        allow(app, &access, Action::Read).await?;
        let mut parameters = Parameters::parse(parts.uri.query().unwrap_or_default())?;
        if parts.method == Method::POST {
            let form = "application/x-www-form-urlencoded";
            let kind = super::headers::media_type(&parts.headers)?.unwrap_or_else(|| form.to_owned());
            if kind != form {
                return Err(super::headers::unsupported(&kind, form).into());
            }
            let body = read_body(&parts.headers, body, &app.limits).await?;
            let text =
                std::str::from_utf8(&body).map_err(|_| Error::invalid("body-broken", "the form is not UTF-8"))?;
            parameters.join(Parameters::parse(text)?);
        }
        Ok(Self { access, parameters })
    }
}

/// The limits of a body of remote write, which is larger than a document.
fn write_limits(limits: &Limits) -> Limits {
    Limits { body_bytes: limits.metric.write_bytes, ..limits.clone() }
}

/// JSON as an engine sent it.
fn json_type() -> HeaderValue {
    HeaderValue::from_static("application/json")
}
