//! How much one client may ask for: sizes, times, counts. Every limit is a refusal with a clear status.

use crate::http::prometheus::MetricLimits;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use model::{Error, Result};
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Limits {
    pub body_bytes: usize,
    /// A whole body must have arrived by then.
    pub body_time: Duration,
    /// A whole request head must have arrived by then; also how long an idle connection is kept.
    pub head_time: Duration,
    /// Request line and headers together.
    pub head_bytes: usize,
    pub connections: usize,
    /// Requests in work at one time; waiting watchers are counted apart.
    pub requests: usize,
    pub watchers: usize,
    pub page: u32,
    pub page_default: u32,
    /// How long `ledger-position` in a request may make it wait.
    pub position_wait: Duration,
    /// How long a long-poll waits at most.
    pub watch_wait: Duration,
    /// How long requests in work may take to end when the server stops.
    pub drain: Duration,
    pub metric: MetricLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            body_time: Duration::from_secs(10),
            head_time: Duration::from_secs(30),
            head_bytes: 32 << 10,
            connections: 4096,
            requests: 2048,
            watchers: 512,
            page: 1000,
            page_default: 100,
            position_wait: Duration::from_secs(5),
            watch_wait: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            metric: MetricLimits::default(),
        }
    }
}

fn too_large(limit: usize) -> Error {
    Error::invalid(
        "body-too-large",
        format!("a request body has at most {limit} bytes; send less, or in several requests"),
    )
    .with("limit", limit)
}

/// Reads a body whole: bounded in bytes and in time.
pub async fn read_body(headers: &HeaderMap, body: Body, limits: &Limits) -> Result<Bytes> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > limits.body_bytes as u64) {
        return Err(too_large(limits.body_bytes));
    }
    let whole = Limited::new(body, limits.body_bytes).collect();
    match tokio::time::timeout(limits.body_time, whole).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limits.body_bytes)),
        Ok(Err(_)) => {
            Err(Error::invalid("body-broken", "the request body ended before it was complete; send it again"))
        }
        Err(_) => Err(Error::invalid("body-too-slow", "the request body did not arrive in time; send it faster")
            .with("seconds", limits.body_time.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_one_byte_too_long_is_refused_announced_or_not() {
        let limits = Limits { body_bytes: 4, ..Limits::default() };
        let whole = read_body(&HeaderMap::new(), Body::from("1234"), &limits).await;
        assert_eq!(whole.unwrap(), "1234");
        let long = read_body(&HeaderMap::new(), Body::from("12345"), &limits).await;
        assert_eq!(long.unwrap_err().code(), "body-too-large");
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, http::HeaderValue::from_static("99999999999"));
        let announced = read_body(&headers, Body::empty(), &limits).await;
        assert_eq!(announced.unwrap_err().code(), "body-too-large");
    }
}
