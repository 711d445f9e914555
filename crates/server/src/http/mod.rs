//! The surfaces: TMF921 for the network's own systems, `/api/v1` for everything else, health for machines.

pub mod api;
pub mod body;
pub mod call;
pub mod event_stream;
pub mod headers;
pub mod health;
pub mod prometheus;
pub mod query;
pub mod registry;
pub mod tmf921;

use crate::{
    problem::{Answer, Problem},
    state::App,
};
use axum::{Router, body::Body, response::Response, routing::get};
use http::{HeaderValue, StatusCode, header};
use model::Error;
use std::future::{Ready, ready as now};

/// Long-polls and event streams are counted apart from short requests.
#[must_use]
pub fn waits(path: &str) -> bool {
    let below: Vec<&str> = path.strip_prefix("/api/v1/events/").unwrap_or_default().split('/').collect();
    path == "/api/v1/watch" || matches!(below[..], ["topics", _] | ["groups", _, "members", _, "poll"])
}

pub fn router(app: App) -> Router {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .merge(tmf921::routes())
        .merge(api::routes())
        .merge(prometheus::routes())
        .merge(registry::routes())
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .with_state(app)
}

fn unknown_path() -> Ready<Answer> {
    let known = "there is nothing at this path; see /api/v1/openapi.json and /tmf-api/intentManagement/v5";
    now(Err(Problem(Error::not_found("path-unknown", known))))
}

fn unknown_method() -> Ready<Answer> {
    let known = "this path does not take this method; the Allow header lists those it takes";
    now(Err(Problem(Error::invalid("method-not-allowed", known))))
}

/// A JSON answer from bytes that are JSON already.
pub fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_waits_and_holds_a_place_among_watchers_is_counted_there() {
        let below = |path: &str| waits(&format!("/api/v1/{path}"));
        assert!(below("watch") && below("events/topics/intent.lifecycle") && below("events/groups/g/members/m/poll"));
        for path in ["events/topics", "events/topics/t/0.1-2.3", "events/groups/poll", "events/sinks/poll", "status"] {
            assert!(!below(path), "{path}");
        }
    }
}
