//! The schema registry below `/schema-registry`: Confluent's interface, so that its clients and serialisers work
//! unchanged (<https://docs.confluent.io/platform/current/schema-registry/develop/api.html>).
//!
//! Rules live in the crate `registry`; here they meet HTTP and the record. Every tenant has a registry of its own.

mod compatibility;
pub mod own;
mod register;
mod remove;
mod schemas;
mod settings;
mod store;
mod subjects;

use super::headers;
use crate::{problem::Problem, state::App};
use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use http::{HeaderValue, StatusCode, header};
use model::{Error, ErrorKind, Json};

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.schemaregistry.v1+json");

pub fn routes() -> Router<App> {
    let routes = Router::new()
        .route("/", get(schemas::root))
        .route("/contexts", get(schemas::contexts))
        .route("/schemas", get(schemas::list))
        .route("/schemas/types", get(schemas::types))
        .route("/schemas/ids/{id}", get(schemas::by_id))
        .route("/schemas/ids/{id}/{what}", get(schemas::about_id))
        .route("/subjects", get(subjects::list))
        .route("/subjects/{subject}", post(subjects::lookup).delete(remove::subject))
        .route("/subjects/{subject}/versions", get(subjects::versions).post(register::register))
        .route("/subjects/{subject}/versions/{version}", get(subjects::version).delete(remove::version))
        .route("/subjects/{subject}/versions/{version}/{what}", get(subjects::about_version))
        .route("/compatibility/subjects/{subject}/versions", post(compatibility::with_level))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(compatibility::with_version))
        .route("/config", put(settings::set_level).get(settings::level).delete(settings::unset_level))
        .route(
            "/config/{subject}",
            put(settings::set_subject_level).get(settings::subject_level).delete(settings::unset_subject_level),
        )
        .route("/mode", put(settings::set_mode).get(settings::mode))
        .route(
            "/mode/{subject}",
            put(settings::set_subject_mode).get(settings::subject_mode).delete(settings::unset_subject_mode),
        );
    Router::new().nest("/schema-registry", routes)
}

pub type Answer = Result<Response, Refusal>;

/// An error in the registry's own shape: `error_code` and `message`.
#[derive(Debug)]
pub struct Refusal(Error);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// Confluent's numbers; the first three digits are the status.
const NUMBERS: [(&str, u32); 17] = [
    ("schema-subject-unknown", 40401),
    ("schema-version-unknown", 40402),
    ("schema-unknown", 40403),
    ("schema-subject-deleted", 40404),
    ("schema-subject-not-deleted", 40405),
    ("schema-version-deleted", 40406),
    ("schema-version-not-deleted", 40407),
    ("schema-level-unset", 40408),
    ("schema-mode-unset", 40409),
    ("schema-incompatible", 409),
    ("schema-invalid", 42201),
    ("schema-version-malformed", 42202),
    ("schema-level-malformed", 42203),
    ("schema-mode-malformed", 42204),
    ("schema-mode-forbids", 42205),
    ("schema-referenced", 42206),
    ("schema-subject-malformed", 42208),
];

fn number(error: &Error) -> u32 {
    let known = NUMBERS.iter().find(|(code, _)| *code == error.code()).map(|(_, number)| *number);
    let by_kind = || match error.kind() {
        ErrorKind::Retry => 50301,
        ErrorKind::Invalid => 42201,
        _ => u32::from(crate::problem::status(error).as_u16()).saturating_mul(100).saturating_add(1),
    };
    known.unwrap_or_else(by_kind)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let number = number(&self.0);
        let digits = if number > 999 { number / 100 } else { number };
        let status = u16::try_from(digits).ok().and_then(|digits| StatusCode::from_u16(digits).ok());
        let mut message = self.0.message().to_owned();
        for (name, value) in self.0.context() {
            message.push_str(&format!("; {name}: {value}"));
        }
        // Redirects to the leader, headers and the log are the same as everywhere.
        let ours = matches!(self.0.kind(), ErrorKind::Corrupt | ErrorKind::Bug);
        let shown = if ours { "this is our mistake; nothing was written".to_owned() } else { message };
        let told = Json::object().with("error_code", u64::from(number)).with("message", shown);
        let code = self.0.code();
        let mut response = Problem(self.0).into_response();
        if response.status() != StatusCode::TEMPORARY_REDIRECT {
            *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            *response.body_mut() = Body::from(told.to_bytes());
            response.headers_mut().insert(header::CONTENT_TYPE, MEDIA_TYPE);
            headers::put(response.headers_mut(), headers::ERROR_CODE, code);
        }
        response
    }
}

fn answer(body: &Json) -> Response {
    let mut response = super::json(StatusCode::OK, body.to_bytes());
    response.headers_mut().insert(header::CONTENT_TYPE, MEDIA_TYPE);
    response
}

/// A list of numbers.
fn numbers(all: impl IntoIterator<Item = u32>) -> Json {
    all.into_iter().map(|one| Json::from(u64::from(one))).collect::<Vec<_>>().into()
}
