//! `/api/v1/events`: the change log as CloudEvents, by topic. Groups share the reading (`groups`, `members`); `open`
//! gives the documents of sealed events, audited; `sinks` are sent to, and what nobody took are `letters`.
//!
//! Pages are a CloudEvents batch, written as bytes by the relay; where to go on stands in the headers, so that the body
//! is what every CloudEvents library reads.

pub mod groups;
pub mod letters;
pub mod members;
pub mod open;
pub mod sinks;

use super::{answer, shapes};
use crate::{
    http::{
        call::{At, Call},
        event_stream, headers,
    },
    listen::overloaded,
    problem::Answer,
    sinks::message,
    state::App,
};
use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use model::{Access, Json, Position, Result, sink::Mode};
use relay::events::{
    Batch, Event, Start, Topic,
    encode::{self, Encoder},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::OwnedSemaphorePermit;

/// How far the log may be read at all.
pub const PUBLISHED: HeaderName = HeaderName::from_static("events-published");
const STREAM_PAGE: usize = 1_000;
const PAGE_DEFAULT: usize = 1_000;

/// Every topic of the policy: what it tells, how much of it in clear, how far back.
#[utoipa::path(get, path = "/api/v1/events/topics", tag = "events", security(("token" = [])),
    responses((status = 200, body = shapes::Topics), (status = 401, body = shapes::Problem)))]
pub async fn topics(State(app): State<App>, call: Call) -> Answer {
    call.query.finish("none")?;
    let topics: Vec<Json> = app.events.topics().all().map(|topic| shown(topic)).collect();
    Ok(answer(StatusCode::OK, &Json::object().with("topics", topics)))
}

fn shown(topic: &Topic) -> Json {
    Json::object()
        .with("name", &*topic.name)
        .with("kinds", topic.kinds.iter().map(|kind| Json::from(kind.as_str())).collect::<Vec<_>>())
        .with("data", topic.data.as_str())
        .with("partitions", u64::from(topic.partitions))
        .with("retention_days", u64::from(topic.retention_days))
}

/// Events of a topic after a place, as a CloudEvents batch; with `Accept: text/event-stream` a stream of them that
/// resumes by `Last-Event-ID`. `ledger-position` of the answer is the next `after`.
#[utoipa::path(get, path = "/api/v1/events/topics/{topic}", tag = "events", security(("token" = [])),
    params(("topic" = String, Path), ("after" = Option<String>, Query,
            description = "`earliest` (so when absent), `latest`, a position, or a time: then from that time on"),
        ("limit" = Option<u32>, Query, description = "at most 10000; 1000 when absent"),
        ("wait" = Option<u64>, Query, description = "seconds to wait for the first event")),
    responses((status = 200, body = Vec<shapes::CloudEvent>, content_type = "application/cloudevents-batch+json"),
        (status = 404, body = shapes::Problem), (status = 409, body = shapes::Problem), (status = 410, body = shapes::Problem)))]
pub async fn read(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    let permit = Arc::clone(&app.watchers).try_acquire_owned().map_err(|_| overloaded())?;
    let topic = Arc::clone(app.events.topics().get(&name)?);
    let resumed = event_stream::resumed(&call.headers)?;
    let after = resumed.or(call.query.take("after")?).map_or(Ok(Start::Earliest), |text| text.parse())?;
    let (limit, wait) = bounds(&app, &mut call)?;
    call.query.finish("after, limit, wait")?;
    let streamed = event_stream::is_asked(&call.headers)?;
    app.ledger.permit(&call.access, topic.right()).await?;
    let after = app.events.place(&after, std::slice::from_ref(&topic)).await?;
    let mut reader = Reader { app, access: call.access, topic, after, encoder: Encoder::default(), _permit: permit };
    if streamed {
        let first = reader.page(STREAM_PAGE, Duration::ZERO).await?;
        return Ok(event_stream::response(reader, first));
    }
    let page = reader.page(limit, wait).await?;
    Ok(batch(&mut reader.encoder, &page.events, page.next, page.published))
}

/// What a page may hold and how long it is waited for.
pub fn bounds(app: &App, call: &mut Call) -> Result<(usize, Duration)> {
    let limit = call.query.take_number::<usize>("limit")?.unwrap_or(PAGE_DEFAULT);
    let wait = call.query.take_number("wait")?.map_or(app.limits.watch_wait, Duration::from_secs);
    Ok((limit.clamp(1, relay::events::BATCH_MAX), wait.min(app.limits.watch_wait)))
}

/// One event by its position: `Accept: application/cloudevents+json` gives it structured, else the attributes are
/// `ce-` headers and the body is the data.
#[utoipa::path(get, path = "/api/v1/events/topics/{topic}/{position}", tag = "events", security(("token" = [])),
    params(("topic" = String, Path), ("position" = String, Path)),
    responses((status = 200, body = shapes::CloudEvent, content_type = "application/cloudevents+json"),
        (status = 404, body = shapes::Problem)))]
pub async fn one(State(app): State<App>, At((name, at)): At<(String, String)>, call: Call) -> Answer {
    let topic = Arc::clone(app.events.topics().get(&name)?);
    let at: Position = at.parse()?;
    let accepted = headers::text(&call.headers, &header::ACCEPT)?.unwrap_or_default().to_owned();
    call.query.finish("none")?;
    let event = app.events.one(&call.access, &topic, at).await?;
    let mode = if accepted.contains(encode::STRUCTURED) { Mode::Structured } else { Mode::Binary };
    let message = message::of(mode, std::slice::from_ref(&event));
    let mut response = typed(message.content_type, message.body);
    for (name, value) in message.headers {
        headers::put(response.headers_mut(), HeaderName::from_static(name), &value);
    }
    headers::put(response.headers_mut(), headers::LEDGER_POSITION, &at.to_string());
    Ok(response)
}

fn typed(media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A page of events and where to go on.
pub fn batch(encoder: &mut Encoder, events: &[Event], next: Position, published: Position) -> Response {
    let body = encoder.batch(events.iter().map(|event| (&*event.topic, &event.change)));
    let mut response = typed(encode::BATCH, body);
    headers::put(response.headers_mut(), headers::LEDGER_POSITION, &next.to_string());
    headers::put(response.headers_mut(), PUBLISHED, &published.to_string());
    response
}

struct Reader {
    app: App,
    access: Access,
    topic: Arc<Topic>,
    after: Position,
    encoder: Encoder,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    async fn page(&mut self, limit: usize, wait: Duration) -> Result<Batch> {
        let work = self.app.events.after(&self.access, std::slice::from_ref(&self.topic), self.after, limit, wait);
        let page = event_stream::until_stop(&self.app, work).await?;
        self.after = page.next;
        Ok(page)
    }
}

impl event_stream::Pages for Reader {
    type Page = Batch;

    async fn next(&mut self) -> Result<Batch> {
        self.page(STREAM_PAGE, event_stream::HEARTBEAT).await
    }

    fn lines(&mut self, page: &Batch) -> Bytes {
        let mut text = Vec::new();
        for Event { topic, change } in &page.events {
            text.extend_from_slice(format!("id: {}\ndata: ", change.position).as_bytes());
            self.encoder.event(&mut text, topic, change);
            text.extend_from_slice(b"\n\n");
        }
        if text.is_empty() {
            text = format!(": {}\n\n", page.next).into_bytes();
        }
        text.into()
    }
}
