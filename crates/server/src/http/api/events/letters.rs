//! Dead letters: events that a sink or a group's member would not take, with the reason. The event itself stays in the log.
//!
//! A consumer is named `sink/NAME`, `hub/ID` or `group/NAME`.

use super::super::{answer, shapes, wrong};
use super::groups::nothing;
use crate::{
    http::{body, call::Call},
    identity::allow,
    problem::Answer,
    sinks,
    state::App,
};
use axum::extract::State;
use http::StatusCode;
use ledger::DeadLetter;
use model::{Action, Error, Json, Kind, Position, ResourceKey, Result};

const PAGE: u32 = 1_000;
const REASON_MAX: usize = 500;

fn shown(letter: &DeadLetter) -> Result<Json> {
    let at = jiff::Timestamp::try_from(letter.at)
        .map_err(|error| Error::corrupt("record-corrupt", "a dead letter's time cannot be read").caused_by(error))?;
    Ok(Json::object()
        .with("topic", &*letter.topic)
        .with("position", letter.position.to_string())
        .with("attempts", u64::from(letter.attempts))
        .with("reason", &*letter.reason)
        .with("time", format!("{at:.3}")))
}

/// Those of one consumer, in the order of the log.
#[utoipa::path(get, path = "/api/v1/events/dead-letters", tag = "events", security(("token" = [])),
    params(("consumer" = String, Query, description = "sink/NAME, hub/ID or group/NAME"),
        ("after" = Option<String>, Query, description = "the position of the last one seen")),
    responses((status = 200, body = shapes::DeadLetters), (status = 403, body = shapes::Problem)))]
pub async fn list(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Read).await?;
    let missing = || Error::invalid("parameter-missing", "name the consumer: sink/NAME, hub/ID or group/NAME");
    let consumer = call.query.take("consumer")?.ok_or_else(|| missing().with("parameter", "consumer"))?;
    let after = call.query.take("after")?.map(|text| text.parse::<Position>()).transpose()?;
    call.query.finish("consumer, after")?;
    let after = after.map_or(0, |position| position.n);
    let letters = app.ledger.letters(&call.access.tenant, &consumer, after, PAGE).await?;
    let letters = letters.iter().map(shown).collect::<Result<Vec<_>>>()?;
    Ok(answer(StatusCode::OK, &Json::object().with("dead_letters", letters)))
}

/// What a request about one letter says.
struct Named {
    consumer: String,
    topic: String,
    position: Position,
    reason: String,
}

fn named(call: &mut Call) -> Result<Named> {
    let body = body::object(call, &["consumer", "topic", "position", "reason"])?;
    let text = |field: &'static str| {
        let text = body.get(field).and_then(Json::as_str).filter(|text| !text.is_empty() && text.len() <= REASON_MAX);
        text.map(str::to_owned).ok_or_else(|| wrong(field, "this is a text of 1 to 500 bytes"))
    };
    let reason = if body.get("reason").is_some() { text("reason")? } else { String::new() };
    Ok(Named { consumer: text("consumer")?, topic: text("topic")?, position: text("position")?.parse()?, reason })
}

/// A member of a group puts an event aside that it cannot work with: durable when answered, then commit past it.
#[utoipa::path(post, path = "/api/v1/events/dead-letters", tag = "events", security(("token" = [])),
    request_body = shapes::DeadLetterOf,
    responses((status = 204), (status = 404, body = shapes::Problem)))]
pub async fn bury(State(app): State<App>, mut call: Call) -> Answer {
    let Named { consumer, topic, position, reason } = named(&mut call)?;
    let group = consumer.strip_prefix("group/").ok_or_else(|| wrong("consumer", "here a consumer is group/NAME"))?;
    if reason.is_empty() {
        return Err(wrong("reason", "say why it was not taken, without the event's data").into());
    }
    app.events.permitted(&call.access, group).await?;
    let topic = app.events.topics().get(&topic)?;
    app.events.one(&call.access, topic, position).await?;
    app.ledger.letter_bury(&call.access.tenant, &consumer, (&topic.name, position), (1, &reason)).await?;
    Ok(nothing())
}

async fn letter(app: &App, call: &Call, named: &Named) -> Result<DeadLetter> {
    let before = named.position.n.saturating_sub(1);
    let found = app.ledger.letters(&call.access.tenant, &named.consumer, before, PAGE).await?;
    let found = found.into_iter().find(|letter| letter.position == named.position && letter.topic == named.topic);
    found.ok_or_else(|| Error::not_found("not-found", "there is no such dead letter").with("consumer", &named.consumer))
}

/// Sends a letter of a webhook sink again, once. Taken, it is gone; else it stays and the answer says why.
#[utoipa::path(post, path = "/api/v1/events/dead-letters/retry", tag = "events", security(("token" = [])),
    request_body = shapes::DeadLetterOf,
    responses((status = 204), (status = 404, body = shapes::Problem), (status = 503, body = shapes::Problem)))]
pub async fn retry(State(app): State<App>, mut call: Call) -> Answer {
    let named = named(&mut call)?;
    allow(&app, &call.access, Action::Write).await?;
    let sink = named.consumer.strip_prefix("sink/").ok_or_else(|| wrong("consumer", "here a consumer is sink/NAME"))?;
    let letter = letter(&app, &call, &named).await?;
    let key = ResourceKey::new(&call.access.tenant, Kind::EventSink, sink)?;
    sinks::redeliver(&app, &key, &letter).await?;
    Ok(nothing())
}

/// Gives a letter up.
#[utoipa::path(post, path = "/api/v1/events/dead-letters/discard", tag = "events", security(("token" = [])),
    request_body = shapes::DeadLetterOf, responses((status = 204), (status = 404, body = shapes::Problem)))]
pub async fn discard(State(app): State<App>, mut call: Call) -> Answer {
    let named = named(&mut call)?;
    allow(&app, &call.access, Action::Write).await?;
    let letter = letter(&app, &call, &named).await?;
    app.ledger.letter_remove(&call.access.tenant, &named.consumer, &letter.topic, letter.position).await?;
    Ok(nothing())
}
