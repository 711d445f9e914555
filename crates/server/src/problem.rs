//! The one place where an error becomes an HTTP status and a TMF630 error body.

use crate::http::headers::{LEDGER_POSITION, put};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use model::{Error, ErrorKind};
use serde_json::{Map, Value, json};

/// What a handler answers.
pub type Answer = Result<Response, Problem>;

/// An error on its way out of the door.
#[derive(Debug)]
pub struct Problem(pub Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// A follower refuses writes with the leader's address, when it knows one.
const NOT_LEADER: &str = "not-leader";
const LEADER: &str = "leader";
/// Stored, but not shown: its position and version go out all the same.
const WITHHELD: &str = "answer-withheld";

/// Codes whose status says more than their kind does.
const PRECISE: [(&str, StatusCode); 20] = [
    // Not 503: what is stored must not be sent again by a client that repeats.
    (WITHHELD, StatusCode::INTERNAL_SERVER_ERROR),
    ("credential-missing", StatusCode::UNAUTHORIZED),
    ("credential-unknown", StatusCode::UNAUTHORIZED),
    (NOT_LEADER, StatusCode::TEMPORARY_REDIRECT),
    ("precondition-failed", StatusCode::PRECONDITION_FAILED),
    ("idempotency-mismatch", StatusCode::UNPROCESSABLE_ENTITY),
    ("patch-test-failed", StatusCode::CONFLICT),
    ("patch-target-absent", StatusCode::UNPROCESSABLE_ENTITY),
    ("json-size", StatusCode::PAYLOAD_TOO_LARGE),
    ("document-too-large", StatusCode::PAYLOAD_TOO_LARGE),
    ("body-too-large", StatusCode::PAYLOAD_TOO_LARGE),
    ("body-too-slow", StatusCode::REQUEST_TIMEOUT),
    ("media-type-unsupported", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ("method-not-allowed", StatusCode::METHOD_NOT_ALLOWED),
    ("too-many-failures", StatusCode::TOO_MANY_REQUESTS),
    ("metrics-busy", StatusCode::TOO_MANY_REQUESTS),
    ("promql-failed", StatusCode::UNPROCESSABLE_ENTITY),
    ("subject-erased", StatusCode::GONE),
    ("erased", StatusCode::GONE),
    ("position-gone", StatusCode::GONE),
];

#[must_use]
pub fn status(error: &Error) -> StatusCode {
    if error.code() == NOT_LEADER && error.fact(LEADER).is_none() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if let Some((_, precise)) = PRECISE.iter().find(|(code, _)| *code == error.code()) {
        return *precise;
    }
    match error.kind() {
        ErrorKind::Retry => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Refused => StatusCode::FORBIDDEN,
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Corrupt | ErrorKind::Bug => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The TMF630 body. The cause chain stays in the log: it may name files, hosts and statements.
fn body(error: &Error, status: StatusCode) -> Value {
    let ours = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Bug);
    let facts: Map<String, Value> =
        if ours { Map::new() } else { error.context().iter().map(|(n, v)| ((*n).to_owned(), json!(v))).collect() };
    let told: String =
        facts.iter().map(|(name, value)| format!("{name}: {}; ", value.as_str().unwrap_or(""))).collect();
    let reason =
        if error.kind() == ErrorKind::Bug { "this is our mistake; nothing was written" } else { error.message() };
    let remedy = format!("{told}cause and remedy: nephkeep explain {}", error.code());
    json!({
        "@type": "Error",
        "code": error.code(),
        "reason": reason,
        "message": remedy,
        "status": status.as_str(),
        "referenceError": format!("urn:nephkeep:error:{}", error.code()),
        "context": facts,
    })
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let error = self.0;
        let status = status(&error);
        if status.is_server_error() && error.kind() != ErrorKind::Retry {
            tracing::error!(code = error.code(), "{error}");
        } else {
            tracing::debug!(code = error.code(), status = status.as_u16(), "{error}");
        }
        let text = body(&error, status).to_string();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(position) = error.fact("position").filter(|_| error.code() == WITHHELD) {
            put(headers, LEDGER_POSITION, position);
        }
        match status {
            StatusCode::TEMPORARY_REDIRECT => {
                put(headers, header::LOCATION, error.fact(LEADER).unwrap_or_default());
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"nephkeep\""));
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_status_and_a_code_may_be_more_precise() {
        assert_eq!(status(&Error::conflict("version-conflict", "")), StatusCode::CONFLICT);
        assert_eq!(status(&Error::conflict("precondition-failed", "")), StatusCode::PRECONDITION_FAILED);
        assert_eq!(status(&Error::refused("credential-missing", "")), StatusCode::UNAUTHORIZED);
        let follower = || Error::refused("not-leader", "");
        assert_eq!(status(&follower()), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(&follower().with("leader", "http://x")), StatusCode::TEMPORARY_REDIRECT);
        assert_eq!(status(&Error::bug("x")), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn the_body_names_the_field_but_never_the_cause() {
        let error = Error::invalid("field-missing", "a field is missing").with("field", "/name").caused_by("secret.rs");
        let text = body(&error, status(&error)).to_string();
        assert!(text.contains("/name") && text.contains("\"status\":\"400\""), "{text}");
        assert!(!text.contains("secret.rs"), "{text}");
        let ours = body(&Error::bug("row 7").with("table", "resource"), StatusCode::INTERNAL_SERVER_ERROR).to_string();
        assert!(!ours.contains("row 7") && !ours.contains("resource"), "{ours}");
    }
}
