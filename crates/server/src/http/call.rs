//! One extractor for every handler: who calls, under which conditions, with which body.
//!
//! Order: authenticate, wait for the position the caller has seen, then read the body; a stranger costs no body.

use super::{
    headers::{self, Match},
    query::Query,
};
use crate::{limits, listen::Peer, problem::Problem, state::App};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::Bytes;
use http::{HeaderMap, Method, request::Parts};
use ledger::Idempotency;
use model::{Access, Error, Result};

#[derive(Debug)]
pub struct Call {
    pub access: Access,
    pub headers: HeaderMap,
    pub query: Query,
    /// As it came: attribute filters know an encoded comma from a bare one.
    pub raw_query: String,
    /// Method, path and query: an idempotency key belongs to one request, not to a body.
    target: String,
    /// Empty for methods without a body.
    pub body: Bytes,
}

impl FromRequest<App> for Call {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let peer = parts.extensions.get::<Peer>().map(|peer| peer.0.ip());
        let access = app.authenticator.authenticate(app, &parts.headers, peer).await?;
        if let Some(seen) = headers::position(&parts.headers)? {
            app.ledger.wait_for(seen, app.limits.position_wait).await?;
        }
        let query = Query::parse(parts.uri.query())?;
        let raw_query = parts.uri.query().unwrap_or_default().to_owned();
        let body = match parts.method {
            Method::POST | Method::PUT | Method::PATCH => limits::read_body(&parts.headers, body, &app.limits).await?,
            _ => Bytes::new(),
        };
        let target = format!("{} {}?{raw_query}\n", parts.method, parts.uri.path());
        Ok(Self { access, headers: parts.headers, query, raw_query, target, body })
    }
}

impl Call {
    pub fn if_match(&self) -> Result<Option<Match>> {
        headers::if_match(&self.headers)
    }

    pub fn require_json(&self) -> Result<()> {
        headers::require_json(&self.headers)
    }

    /// For requests whose answer cannot be given again, a token that is shown once or a fresh key: the header would promise
    /// what is not kept.
    pub fn refuse_idempotency_key(&self) -> Result<()> {
        if !self.headers.contains_key(headers::IDEMPOTENCY_KEY) {
            return Ok(());
        }
        let why = "this request cannot be answered a second time: leave the header out, and look at what there is before repeating it";
        Err(Error::invalid("idempotency-unsupported", why).with("header", "Idempotency-Key"))
    }

    pub fn idempotency(&self) -> Result<Option<Idempotency>> {
        let key = headers::idempotency_key(&self.headers)?;
        let request = || Bytes::from([self.target.as_bytes(), &self.body[..]].concat());
        Ok(key.map(|key| Idempotency { key: key.to_owned(), body: request() }))
    }
}

/// Path parameters, refused with a TMF630 body when they are not UTF-8.
#[derive(Debug)]
pub struct At<T>(pub T);

impl<T: serde::de::DeserializeOwned + Send> FromRequestParts<App> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, app).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(_) => Err(Error::invalid("path-malformed", "an id in a path is percent-encoded UTF-8").into()),
        }
    }
}
