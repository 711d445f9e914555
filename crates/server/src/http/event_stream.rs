//! Server-sent events, page by page: what every stream of the log has in common.

use super::headers;
use crate::state::App;
use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use model::{Error, Result};
use std::{convert::Infallible, future::Future, time::Duration};

/// A comment line this often tells a proxy that the stream lives.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A reader of pages that remembers where it is.
pub trait Pages: Send + 'static {
    type Page: Send + 'static;
    /// The next page, also an empty one once [`HEARTBEAT`] is over.
    fn next(&mut self) -> impl Future<Output = Result<Self::Page>> + Send;
    /// Its events, or a comment line.
    fn lines(&mut self, page: &Self::Page) -> Bytes;
}

/// Whether the caller asks for a stream.
pub fn is_asked(sent: &HeaderMap) -> Result<bool> {
    Ok(headers::text(sent, &header::ACCEPT)?.is_some_and(|accepted| accepted.contains("text/event-stream")))
}

/// The last event that a client has seen, when it comes back.
pub fn resumed(sent: &HeaderMap) -> Result<Option<String>> {
    Ok(headers::text(sent, &LAST_EVENT_ID)?.map(str::to_owned))
}

/// Work that waits ends when the server does.
pub async fn until_stop<T>(app: &App, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut stopped = app.stop.subscribe();
    tokio::select! {
        done = work => done,
        _ = stopped.wait_for(|stop| *stop) => Err(Error::retry("stopping", "this server is stopping; use another")),
    }
}

/// The first page was read before the head: a voided position or a denial is an error, not an empty stream.
pub fn response<P: Pages>(pages: P, first: P::Page) -> Response {
    let begun = Some((pages, Some(first)));
    let stream = stream::unfold(begun, |state| async move {
        let (mut pages, ready) = state?;
        let page = match ready {
            Some(page) => Ok(page),
            None => pages.next().await,
        };
        match page {
            Ok(page) => {
                let text = pages.lines(&page);
                Some((Ok::<_, Infallible>(text), Some((pages, None))))
            }
            // The client comes back with Last-Event-ID, here or elsewhere.
            Err(error) => Some((Ok(Bytes::from(format!(": {}\n\n", error.code()))), None)),
        }
    });
    let mut response = Response::new(Body::from_stream(stream));
    let map = response.headers_mut();
    map.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    map.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
