//! Reports of an intent: the one that comes with it is derived until it is deleted (RECORD 15).
//!
//! Deleting it stores it and then leaves its tombstone: history shows a report that existed and is gone. Until the
//! tombstone of this life of the intent is there, what is shown is derived: a stop between the two changes nothing for
//! anybody, and the report is deleted by asking again.

use super::{
    answer,
    resource::{NEVER, fields, setting},
};
use crate::{
    http::{
        call::{At, Call},
        headers::{self, Match},
        json,
    },
    problem::Answer,
    state::App,
};
use axum::extract::State;
use bytes::Bytes;
use http::StatusCode;
use ledger::{Content, Group, Op, Resource, Write};
use model::{
    Error, Json, Kind, Position, ResourceKey, Result, Version, json,
    select::Filter,
    tmf921::{self, report},
};

/// A report as it stands: version and position are those of the intent that it is derived from.
struct Report {
    document: Bytes,
    version: Version,
    position: Position,
    /// Of one that a deletion which was cut short has stored.
    stored: Option<Version>,
}

/// The intent of a report path; without it there is no report.
async fn intent(app: &App, call: &Call, id: &str) -> Result<Resource> {
    let key = ResourceKey::new(&call.access.tenant, Kind::Intent, id)?;
    app.ledger.read(&call.access, &key).await?.ok_or_else(|| answer::not_found(&key))
}

async fn report_of(app: &App, call: &Call, intent: &Resource) -> Result<Option<Report>> {
    let key = ResourceKey::new(&call.access.tenant, Kind::IntentReport, &report::derived_id(&intent.key.id))?;
    let newest = app.ledger.history_page(&call.access, &key, None, 1).await?.into_iter().next();
    let stored = match newest {
        Some(version) if version.document == Content::Deleted => {
            // The tombstone of an earlier life of the intent says nothing of this one.
            let born = app.ledger.born(&intent.key, intent.position).await?.unwrap_or(0);
            if version.position.n > born {
                return Ok(None);
            }
            None
        }
        newest => newest.map(|stored| stored.version),
    };
    let document = report::derived(&json::stored(answer::clear(intent)?)?).to_bytes();
    Ok(Some(Report { document, version: intent.version, position: intent.position, stored }))
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
    let expected = call.if_match()?;
    let key = ResourceKey::new(&call.access.tenant, Kind::IntentReport, &wanted)?;
    let _lane = app.lane(&key).await;
    if let Some(first) = repeated(&app, &call, &key).await? {
        return answer::gone(first);
    }
    let intent = intent(&app, &call, &id).await?;
    let report = named(&app, &call, &intent, &wanted).await?;
    if matches!(expected, Some(Match::Version(version)) if version != report.version) {
        let told = "the report is not at the version of If-Match; read it again and repeat the change";
        let error = Error::conflict("precondition-failed", told).with("header", "If-Match");
        return Err(error.with("current", report.version).into());
    }
    let expected = match report.stored {
        Some(version) => version,
        None => store(&app, &call, &key, &json::stored(&report.document)?).await?,
    };
    let receipt = app.ledger.write(&call.access, deletion(&call, key, expected)?).await?;
    answer::gone(receipt.position)
}

fn deletion(call: &Call, key: ResourceKey, expected: Version) -> Result<Group> {
    let writes = vec![Write { key, op: Op::Delete { expected: Some(expected) }, document: None }];
    Ok(Group { writes, idempotency: call.idempotency()?, ..Group::default() })
}

/// Where the same request under its `Idempotency-Key` was answered first. The record is asked with a version that never
/// is: nothing can be deleted by asking.
async fn repeated(app: &App, call: &Call, key: &ResourceKey) -> Result<Option<Position>> {
    if call.idempotency()?.is_none() {
        return Ok(None);
    }
    match app.ledger.write(&call.access, deletion(call, key.clone(), NEVER)?).await {
        Ok(receipt) => Ok(Some(receipt.position)),
        Err(error) if matches!(error.code(), "not-found" | "version-conflict") => Ok(None),
        Err(error) => Err(error),
    }
}

async fn store(app: &App, call: &Call, key: &ResourceKey, document: &Json) -> Result<Version> {
    let prepared = tmf921::prepared(Kind::IntentReport, document, setting(app, call).tenant)?;
    let writes = vec![Write { key: key.clone(), op: Op::Create, document: Some(prepared) }];
    let receipt = app.ledger.write(&call.access, Group { writes, ..Group::default() }).await?;
    receipt.writes.first().map(|written| written.version).ok_or_else(|| Error::bug("a receipt without its write"))
}
