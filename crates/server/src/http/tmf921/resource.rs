//! Intents and specifications: create, read, list, change, delete.
//!
//! The hot path is `create` and `get`: one parse, one hand-over to the record, stored bytes out as they are.

use super::answer;
use crate::{
    clock,
    http::{
        call::Call,
        headers::{self, Match},
    },
    identity::allow,
    problem::Answer,
    state::App,
};
use audit::Noted;
use axum::body::Body;
use bytes::Bytes;
use http::{StatusCode, header};
use ledger::{Content, Group, ListQuery, Op, Receipt, Resource, Write};
use model::{
    Action, Error, Json, Kind, Prepared, ResourceKey, Result, Version,
    json::{self, parse},
    patch::{self, Media},
    select::{Fields, Filter, encode},
    tmf921::{self, Setting},
};
use std::time::Duration;

/// A change without `If-Match` is worked out again when another server's change came first.
const TRIES: usize = 4;
/// A version that no resource reaches.
pub const NEVER: Version = headers::VERSION_MAX;

pub fn fields(call: &mut Call) -> Result<Fields> {
    call.query.take("fields")?.map_or_else(|| Ok(Fields::default()), |text| Fields::parse(&text))
}

pub fn setting<'a>(app: &'a App, call: &'a Call) -> Setting<'a> {
    Setting { base_href: &app.base_href, tenant: &call.access.tenant, now: clock::wall() }
}

fn one(key: &ResourceKey, op: Op, document: Option<Prepared>, call: &Call) -> Result<Group> {
    let writes = vec![Write { key: key.clone(), op, document }];
    Ok(Group { writes, idempotency: call.idempotency()?, ..Group::default() })
}

pub async fn create(app: &App, mut call: Call, kind: Kind) -> Answer {
    allow(app, &call.access, Action::Write).await?;
    call.require_json()?;
    let fields = fields(&mut call)?;
    std::mem::take(&mut call.query).finish("fields")?;
    let body = parse(&call.body)?;
    let id = tmf921::proposed_id(&body)?.map_or_else(clock::new_id, str::to_owned);
    store(app, &call, kind, body, &id, &fields).await
}

/// Stores what a custom resource stands for.
pub async fn create_from(app: &App, call: &Call, kind: Kind, body: Json, id: &str) -> Answer {
    store(app, call, kind, body, id, &Fields::default()).await
}

async fn store(app: &App, call: &Call, kind: Kind, body: Json, id: &str, fields: &Fields) -> Answer {
    let prepared = tmf921::create(kind, body, id, &setting(app, call))?;
    let stored = prepared.document.clone();
    let key = ResourceKey::new(&call.access.tenant, kind, id)?;
    let receipt = app.ledger.write(&call.access, one(&key, Op::Create, Some(prepared), call)?).await?;
    created(app, call, &receipt, stored, fields).await
}

/// 201, also for a replay: then with what the first request created.
async fn created(app: &App, call: &Call, receipt: &Receipt, stored: Bytes, fields: &Fields) -> Answer {
    let written = first(receipt)?;
    let stored = if receipt.replayed { at_version(app, call, &written.key, written.version).await? } else { stored };
    let body = answer::projected(&stored, fields)?;
    let mut response = answer::document(StatusCode::CREATED, body, written.version, written.position)?;
    let href = tmf921::href(written.key.kind, &written.key.id, &app.base_href);
    headers::put(response.headers_mut(), header::LOCATION, &href);
    Ok(response)
}

fn first(receipt: &Receipt) -> Result<&ledger::Written> {
    receipt.writes.first().ok_or_else(|| Error::bug("a receipt without its write"))
}

/// A past version, for the answer of a replayed request (RECORD 14).
pub async fn at_version(app: &App, call: &Call, key: &ResourceKey, version: Version) -> Result<Bytes> {
    let found = app.ledger.history_page(&call.access, key, Some(version.saturating_add(1)), 1).await?;
    let found = found.iter().find(|known| known.version == version);
    found.map_or_else(|| Err(answer::not_found(key)), |known| answer::clear(known).cloned())
}

pub async fn get(app: &App, mut call: Call, kind: Kind, id: &str) -> Answer {
    let fields = fields(&mut call)?;
    std::mem::take(&mut call.query).finish("fields")?;
    let key = ResourceKey::new(&call.access.tenant, kind, id)?;
    let resource = app.ledger.read(&call.access, &key).await?.ok_or_else(|| answer::not_found(&key))?;
    let body = answer::projected(answer::clear(&resource)?, &fields)?;
    let known = headers::is_held(&call.headers, resource.version);
    let mut response = answer::document(StatusCode::OK, body, resource.version, resource.position)?;
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
    }
    Ok(response)
}

/// Asked of the record at one time, and bytes of documents after which a page ends early: a page is bounded in both.
const STEP: u32 = 200;
const PAGE_BYTES: usize = 8 << 20;

pub async fn list(app: &App, mut call: Call, kind: Kind) -> Answer {
    let fields = fields(&mut call)?;
    let mut query = list_query(app, &mut call)?;
    let limit = query.limit;
    let (mut items, mut bytes, mut total): (Vec<Bytes>, usize, Option<u64>) = (Vec::new(), 0, None);
    loop {
        // `limit=0` asks for the count alone.
        query.limit = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX)).clamp(1, STEP);
        let page = app.ledger.list(&call.access, kind, &query).await?;
        let total = *total.get_or_insert(page.total);
        for resource in page.items.iter().filter(|_| limit > 0) {
            let item = listed(app, resource, &fields)?;
            bytes += item.len();
            items.push(item);
        }
        let full = items.len() >= limit as usize || bytes >= PAGE_BYTES;
        let Some(cursor) = page.next.clone().filter(|_| !full) else {
            let mut response = crate::http::json(StatusCode::OK, answer::array(&items));
            let map = response.headers_mut();
            headers::put(map, headers::TOTAL_COUNT, &total.to_string());
            headers::put(map, headers::RESULT_COUNT, &items.len().to_string());
            headers::put(map, headers::LEDGER_POSITION, &page.position.to_string());
            if let Some(cursor) = page.next.as_ref().filter(|_| limit > 0) {
                headers::put(map, header::LINK, &link(kind, limit, cursor, &call));
            }
            return Ok(response);
        };
        (query.after, query.offset) = (Some(cursor), 0);
    }
}

fn listed(app: &App, resource: &Resource, fields: &Fields) -> Result<Bytes> {
    match &resource.document {
        Content::Clear(document) => answer::projected(document, fields),
        _ => Ok(answer::erased_entry(resource, &app.base_href).to_bytes()),
    }
}

const PAGING: [&str; 4] = ["fields", "limit", "offset", "after"];
/// The server's own times: anything but a time could only ever find nothing.
const DATES: [&str; 2] = ["creationDate", "lastUpdate"];

fn list_query(app: &App, call: &mut Call) -> Result<ListQuery> {
    let limit = call.query.take_number("limit")?.unwrap_or(app.limits.page_default).min(app.limits.page);
    let offset = call.query.take_number("offset")?.unwrap_or(0);
    let after = call.query.take("after")?;
    if call.query.take("sort")?.is_some() {
        let told = "lists are in the order of creation and cannot be sorted otherwise; leave sort out";
        return Err(Error::invalid("sort-unsupported", told).with("parameter", "sort"));
    }
    let filter = Filter::parse(&call.raw_query, &PAGING)?;
    for condition in filter.conditions.iter().filter(|known| DATES.contains(&known.path.as_str())) {
        if let Some(wrong) = condition.values.iter().find(|value| value.text.parse::<jiff::Timestamp>().is_err()) {
            let rule = "a date is compared with an RFC 3339 time with its zone, for example 2026-01-31T12:00:00Z";
            let shown: String = wrong.text.chars().take(80).collect();
            return Err(Error::invalid("parameter-malformed", rule)
                .with("parameter", &condition.path)
                .with("given", shown));
        }
    }
    Ok(ListQuery { filter, after, offset, limit, ..ListQuery::default() })
}

/// The same request, from where this page ended.
fn link(kind: Kind, limit: u32, cursor: &str, call: &Call) -> String {
    let mut link = format!("<{}/{}?", tmf921::BASE_PATH, tmf921::resource_name(kind));
    let turns = ["limit=", "offset=", "after="];
    for part in call.raw_query.split('&').filter(|part| !part.is_empty() && !turns.iter().any(|t| part.starts_with(t)))
    {
        link.push_str(part);
        link.push('&');
    }
    link + &format!("limit={limit}&after={}>; rel=\"next\"", encode(cursor))
}

/// What a change is made of.
struct Change {
    media: Media,
    patch: Json,
    expected: Option<Match>,
}

pub async fn patch(app: &App, mut call: Call, kind: Kind, id: &str) -> Answer {
    allow(app, &call.access, Action::Write).await?;
    let fields = fields(&mut call)?;
    std::mem::take(&mut call.query).finish("fields")?;
    let media = Media::from_content_type(headers::media_type(&call.headers)?.as_deref())?;
    let change = Change { media, patch: parse(&call.body)?, expected: call.if_match()? };
    let key = ResourceKey::new(&call.access.tenant, kind, id)?;
    let mut reads = Vec::new();
    let lane = app.lane(&key).await;
    let changed = settled(app, &call, &key, &change, &mut reads).await;
    drop(lane);
    let (stored, receipt) = told(changed, released(reads).await).map_err(|error| precise(error, change.expected))?;
    let written = first(&receipt)?;
    let body = answer::projected(&stored, &fields)?;
    answer::document(StatusCode::OK, body, written.version, written.position)
}

async fn released(reads: Vec<Noted>) -> Result<()> {
    for noted in reads {
        noted.released().await?;
    }
    Ok(())
}

/// Nothing that came of the reads, not even an error, is told before they stand in the audit log; but of what is stored,
/// or may be, it is never said that it is not.
fn told(changed: Result<(Bytes, Receipt)>, released: Result<()>) -> Result<(Bytes, Receipt)> {
    match (changed, released) {
        (Ok((_, receipt)), Err(error)) if !receipt.replayed => Err(receipt.withheld(error)),
        (Err(unknown), Err(_)) if unknown.code() == "outcome-unknown" => Err(unknown),
        (_, Err(error)) => Err(error),
        (changed, Ok(())) => changed,
    }
}

/// Tried again where somebody else came first and the caller named no version.
async fn settled(
    app: &App,
    call: &Call,
    key: &ResourceKey,
    change: &Change,
    reads: &mut Vec<Noted>,
) -> Result<(Bytes, Receipt)> {
    let mut tries = 1;
    loop {
        match apply(app, call, key, change, reads).await {
            Err(error) if error.code() == "version-conflict" && change.expected.is_none() && tries < TRIES => {
                tries += 1;
            }
            other => return other,
        }
    }
}

/// With `If-Match`, a version that is not the expected one is a failed precondition.
pub fn precise(error: Error, expected: Option<Match>) -> Error {
    if error.code() != "version-conflict" || expected.is_none() {
        return error;
    }
    let told = "the resource is not at the version of If-Match; read it again and repeat the change";
    let precise = Error::conflict("precondition-failed", told).with("header", "If-Match");
    match error.fact("current") {
        Some(current) => precise.with("current", current),
        None => precise,
    }
}

/// One try: read, change, check, compare and set.
async fn apply(
    app: &App,
    call: &Call,
    key: &ResourceKey,
    change: &Change,
    reads: &mut Vec<Noted>,
) -> Result<(Bytes, Receipt)> {
    let failing = app.audit.failing(Duration::MAX).is_some();
    let (current, noted) = app.ledger.read_noted(&call.access, key).await?;
    // Its sync runs beside that of the change, unless the audit log is known to be in trouble: then nothing is stored
    // before the entry is.
    if failing {
        noted.released().await?;
    } else {
        reads.push(noted);
    }
    let worked = match &current {
        Some(current) => worked_out(app, call, key, current, change),
        None => Err(answer::not_found(key)),
    };
    let (op, prepared) = match worked {
        Ok(worked) => worked,
        Err(error) => return replayed_or(app, call, key, current.as_ref(), error).await,
    };
    let stored = prepared.document.clone();
    let receipt = app.ledger.write(&call.access, one(key, op, Some(prepared), call)?).await?;
    let stored = if receipt.replayed { at_version(app, call, key, first(&receipt)?.version).await? } else { stored };
    Ok((stored, receipt))
}

fn worked_out(
    app: &App,
    call: &Call,
    key: &ResourceKey,
    current: &Resource,
    change: &Change,
) -> Result<(Op, Prepared)> {
    if let Some(Match::Version(expected)) = change.expected
        && expected != current.version
    {
        return Err(Error::conflict("version-conflict", "the resource has changed").with("current", current.version));
    }
    let document = json::stored(answer::clear(current)?)?;
    let next = patch::apply(change.media, &document, &change.patch)?;
    let prepared = tmf921::changed(key.kind, &document, next, &setting(app, call))?;
    Ok((Op::Replace { expected: current.version }, prepared))
}

/// A repeated request with an `Idempotency-Key` gets its first answer even where the change no longer applies: the
/// record is asked with a version that never is, so that nothing can be written.
async fn replayed_or(
    app: &App,
    call: &Call,
    key: &ResourceKey,
    current: Option<&Resource>,
    error: Error,
) -> Result<(Bytes, Receipt)> {
    let (Some(_), Some(current)) = (call.idempotency()?, current) else { return Err(error) };
    let Content::Clear(document) = &current.document else { return Err(error) };
    let prepared = tmf921::prepared(key.kind, &json::stored(document)?, &call.access.tenant)?;
    let never = Op::Replace { expected: NEVER };
    match app.ledger.write(&call.access, one(key, never, Some(prepared), call)?).await {
        Ok(receipt) if receipt.replayed => {
            let stored = at_version(app, call, key, first(&receipt)?.version).await?;
            Ok((stored, receipt))
        }
        Err(other) if other.code() == "idempotency-mismatch" => Err(other),
        _ => Err(error),
    }
}

pub async fn delete(app: &App, mut call: Call, kind: Kind, id: &str) -> Answer {
    std::mem::take(&mut call.query).finish("none")?;
    let expected = call.if_match()?;
    let version = match expected {
        Some(Match::Version(version)) => Some(version),
        Some(Match::Any) | None => None,
    };
    let key = ResourceKey::new(&call.access.tenant, kind, id)?;
    let group = one(&key, Op::Delete { expected: version }, None, &call)?;
    let _lane = app.lane(&key).await;
    let receipt = app.ledger.write(&call.access, group).await.map_err(|error| precise(error, expected))?;
    answer::gone(receipt.position)
}
