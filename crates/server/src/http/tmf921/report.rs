//! Reports of an intent: the one that comes with it is derived until it is deleted (RECORD 15).
//!
//! Deleting it stores it and then leaves its tombstone: the log has both, so history and subscribers see a report
//! that existed and is gone. A stop between the two leaves a stored report, which is deleted by asking again.

use super::{
    answer,
    resource::{fields, setting},
};
use crate::{
    http::{
        call::{At, Call},
        headers, json,
    },
    problem::Answer,
    state::App,
};
use axum::extract::State;
use bytes::Bytes;
use http::StatusCode;
use ledger::{Group, Op, Resource, Write};
use model::{
    Json, Kind, Position, ResourceKey, Result, Version, json,
    select::Filter,
    tmf921::{self, report},
};

/// A report as it stands, stored or derived.
struct Report {
    document: Bytes,
    version: Version,
    position: Position,
    /// `None` while it is derived.
    stored: Option<Version>,
}

/// The intent of a report path; without it there is no report.
async fn intent(app: &App, call: &Call, id: &str) -> Result<Resource> {
    let key = ResourceKey::new(&call.access.tenant, Kind::Intent, id)?;
    app.ledger.read(&call.access, &key).await?.ok_or_else(|| answer::not_found(&key))
}

async fn report_of(app: &App, call: &Call, intent: &Resource) -> Result<Option<Report>> {
    let key = ResourceKey::new(&call.access.tenant, Kind::IntentReport, &report::derived_id(&intent.key.id))?;
    if let Some(stored) = app.ledger.read(&call.access, &key).await? {
        let document = answer::clear(&stored)?.clone();
        let (version, position) = (stored.version, stored.position);
        return Ok(Some(Report { document, version, position, stored: Some(version) }));
    }
    if existed(app, call, &key).await? {
        return Ok(None);
    }
    let document = report::derived(&json::stored(answer::clear(intent)?)?).to_bytes();
    Ok(Some(Report { document, version: intent.version, position: intent.position, stored: None }))
}

/// Whether a report was stored once: its tombstone says that it was deleted.
async fn existed(app: &App, call: &Call, key: &ResourceKey) -> Result<bool> {
    Ok(!app.ledger.history_page(&call.access, key, None, 1).await?.is_empty())
}

pub async fn list(State(app): State<App>, At(id): At<String>, mut call: Call) -> Answer {
    let fields = fields(&mut call)?;
    let limit = call.query.take_number("limit")?.unwrap_or(app.limits.page_default);
    let offset: u64 = call.query.take_number("offset")?.unwrap_or(0);
    let filter = Filter::parse(&call.raw_query, &["fields", "limit", "offset"])?;
    let intent = intent(&app, &call, &id).await?;
    let found = report_of(&app, &call, &intent).await?;
    let mut matching = Vec::new();
    if let Some(report) = found {
        let document = json::stored(&report.document)?;
        if filter.matches(&document) {
            matching.push(fields.project(&document).to_bytes());
        }
    }
    let total = matching.len();
    let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
    let items: Vec<Bytes> = matching.into_iter().skip(skipped).take(limit as usize).collect();
    let mut response = json(StatusCode::OK, answer::array(&items));
    headers::put(response.headers_mut(), headers::TOTAL_COUNT, &total.to_string());
    headers::put(response.headers_mut(), headers::RESULT_COUNT, &items.len().to_string());
    if let Some(position) = app.ledger.published()? {
        headers::put(response.headers_mut(), headers::LEDGER_POSITION, &position.to_string());
    }
    Ok(response)
}

pub async fn get(State(app): State<App>, At((id, wanted)): At<(String, String)>, mut call: Call) -> Answer {
    let fields = fields(&mut call)?;
    std::mem::take(&mut call.query).finish("fields")?;
    let intent = intent(&app, &call, &id).await?;
    let report = named(&app, &call, &intent, &wanted).await?;
    let body = answer::projected(&report.document, &fields)?;
    answer::document(StatusCode::OK, body, report.version, report.position)
}

async fn named(app: &App, call: &Call, intent: &Resource, wanted: &str) -> Result<Report> {
    let missing = || match ResourceKey::new(&call.access.tenant, Kind::IntentReport, wanted) {
        Ok(key) => answer::not_found(&key),
        Err(error) => error,
    };
    if report::derived_id(&intent.key.id) != wanted {
        return Err(missing());
    }
    report_of(app, call, intent).await?.ok_or_else(missing)
}

pub async fn delete(State(app): State<App>, At((id, wanted)): At<(String, String)>, mut call: Call) -> Answer {
    std::mem::take(&mut call.query).finish("none")?;
    let intent = intent(&app, &call, &id).await?;
    let key = ResourceKey::new(&call.access.tenant, Kind::IntentReport, &wanted)?;
    let _lane = app.lane(&key).await;
    let report = named(&app, &call, &intent, &wanted).await?;
    let expected = match report.stored {
        Some(version) => version,
        None => store(&app, &call, &key, &json::stored(&report.document)?).await?,
    };
    let op = Op::Delete { expected: Some(expected) };
    let writes = vec![Write { key, op, document: None }];
    let receipt = app.ledger.write(&call.access, Group { writes, ..Group::default() }).await?;
    answer::gone(receipt.position)
}

async fn store(app: &App, call: &Call, key: &ResourceKey, document: &Json) -> Result<Version> {
    let prepared = tmf921::prepared(Kind::IntentReport, document, setting(app, call).tenant)?;
    let writes = vec![Write { key: key.clone(), op: Op::Create, document: Some(prepared) }];
    let receipt = app.ledger.write(&call.access, Group { writes, ..Group::default() }).await?;
    receipt
        .writes
        .first()
        .map(|written| written.version)
        .ok_or_else(|| model::Error::bug("a receipt without its write"))
}
