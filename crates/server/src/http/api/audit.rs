//! The audit trail: entries of the transparency log, its signed checkpoint. Reading it is an act of its own.

use super::{answer, shapes};
use crate::{
    http::call::Call,
    identity::{act, allow, principals::HOME_TENANT},
    problem::Answer,
    state::App,
};
use audit::{Entry, EntryKind, Query};
use axum::{body::Body, extract::State, response::Response};
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use model::{Access, Action, Error, Hlc, Json, Kind, Result};
use std::sync::Arc;

/// Entries of the audit trail, newest first unless `order=oldest`.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", security(("token" = [])),
    params(("kind" = Option<String>, Query, description = "write, access, act or restore"),
        ("principal" = Option<String>, Query), ("tenant" = Option<String>, Query),
        ("since" = Option<String>, Query, description = "RFC 3339"), ("until" = Option<String>, Query),
        ("order" = Option<String>, Query, description = "newest or oldest"),
        ("from" = Option<u64>, Query, description = "first index, as given in `rest`"),
        ("to" = Option<u64>, Query, description = "index after the last"), ("limit" = Option<u32>, Query)),
    responses((status = 200, body = shapes::AuditPage), (status = 403, body = shapes::Problem)))]
pub async fn list(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::ReadAudit).await?;
    let query = query(&app, &mut call)?;
    act(&app, &call.access, "audit-read", "allowed", String::new()).await?;
    let log = Arc::clone(&app.audit);
    let found = tokio::task::spawn_blocking(move || log.query(&query)).await;
    let found = found.map_err(|error| Error::bug("the audit reader ended badly").caused_by(error))??;
    let entries: Vec<Json> = found.entries.iter().map(|(index, entry)| shown(*index, entry)).collect();
    let mut body = Json::object().with("entries", entries);
    if let Some(rest) = found.rest {
        body.set("rest", Json::object().with("from", rest.start).with("to", rest.end));
    }
    Ok(answer(StatusCode::OK, &body))
}

fn query(app: &App, call: &mut Call) -> Result<Query> {
    let wrong = |name: &'static str, rule: &str| Error::invalid("parameter-malformed", rule).with("parameter", name);
    let kind = match call.query.take("kind")?.as_deref() {
        None => None,
        Some("write") => Some(EntryKind::Write),
        Some("access") => Some(EntryKind::Access),
        Some("act") => Some(EntryKind::Act),
        Some("restore") => Some(EntryKind::Restore),
        Some(_) => return Err(wrong("kind", "a kind of entry is write, access, act or restore")),
    };
    let newest_first = match call.query.take("order")?.as_deref() {
        None | Some("newest") => true,
        Some("oldest") => false,
        Some(_) => return Err(wrong("order", "order is newest or oldest")),
    };
    let mut micros = |name: &'static str| -> Result<Option<u64>> {
        let Some(text) = call.query.take(name)? else { return Ok(None) };
        let at: Timestamp = text.parse().map_err(|_| wrong(name, "a time reads like 2026-01-31T12:00:00Z"))?;
        Ok(Some(u64::try_from(at.as_microsecond()).unwrap_or(0)))
    };
    let (since_micros, until_micros) = (micros("since")?, micros("until")?);
    let (from, to): (Option<u64>, Option<u64>) = (call.query.take_number("from")?, call.query.take_number("to")?);
    let (from, to) = (from.unwrap_or(0), to.unwrap_or_else(|| app.audit.size()));
    let limit = call.query.take_number("limit")?.unwrap_or(app.limits.page_default).clamp(1, app.limits.page);
    let (principal, named) = (call.query.take("principal")?, call.query.take("tenant")?);
    std::mem::take(&mut call.query).finish("kind, principal, tenant, since, until, order, from, to, limit")?;
    Ok(Query {
        range: Some(from.min(to)..to),
        kind,
        principal,
        tenant: tenant(&call.access, named)?,
        since_micros,
        until_micros,
        limit: limit as usize,
        newest_first,
    })
}

/// Everybody sees the own tenant; the installation's own tenant sees all, failed logins and restores included.
fn tenant(access: &Access, named: Option<String>) -> Result<Option<String>> {
    let own = access.tenant.as_str();
    if own == HOME_TENANT {
        return Ok(named);
    }
    match named {
        Some(other) if other != own => {
            Err(Error::refused("tenant-denied", "the audit trail shows your own tenant only")
                .with("parameter", "tenant"))
        }
        _ => Ok(Some(own.to_owned())),
    }
}

fn shown(index: u64, entry: &Entry) -> Json {
    let micros = i64::try_from(Hlc(entry.hlc().0).micros()).unwrap_or(i64::MAX);
    let time = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX);
    let mut shown =
        Json::object().with("index", index).with("time", format!("{time:.6}")).with("principal", entry.principal());
    if let Some(tenant) = entry.tenant() {
        shown.set("tenant", tenant);
    }
    match entry {
        Entry::Write { position, action, kind, id, version, class, purpose, .. } => shown
            .with("entry", "write")
            .with("position", position.to_string())
            .with("action", action.as_str())
            .with("kind", Kind::from_code(*kind).map_or("unknown", Kind::as_str))
            .with("id", id.as_str())
            .with("version", *version)
            .with("class", class.as_str())
            .with("purpose", purpose.as_str()),
        Entry::Access { purpose, class, positions, .. } => {
            let positions: Vec<Json> = positions.iter().map(|position| position.to_string().into()).collect();
            shown
                .with("entry", "access")
                .with("class", class.as_str())
                .with("purpose", purpose.as_str())
                .with("positions", positions)
        }
        Entry::Act { action, outcome, detail, .. } => shown
            .with("entry", "act")
            .with("action", action.as_str())
            .with("outcome", outcome.as_str())
            .with("detail", detail.as_str()),
        Entry::Restore { from, to, voided, .. } => shown
            .with("entry", "restore")
            .with("from", from.to_string())
            .with("to", to.to_string())
            .with("voided", format!("{}..={}", voided.start(), voided.end())),
    }
}

/// A fresh signed checkpoint over everything recorded so far, as a C2SP signed note.
#[utoipa::path(get, path = "/api/v1/audit/checkpoint", tag = "audit", security(("token" = [])),
    responses((status = 200, body = String, content_type = "text/plain"), (status = 403, body = shapes::Problem)))]
pub async fn checkpoint(State(app): State<App>, call: Call) -> Answer {
    allow(&app, &call.access, Action::ReadAudit).await?;
    call.query.finish("none")?;
    app.audit.publish().await?;
    let mut response = Response::new(Body::from(app.audit.checkpoint_text()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Ok(response)
}

/// Whether every change has its audit row and every audit row its entry in the transparency log, and the other way round.
#[utoipa::path(get, path = "/api/v1/audit/reconciliation", tag = "audit", security(("token" = [])),
    responses((status = 200, body = Object), (status = 403, body = shapes::Problem)))]
pub async fn reconciliation(State(app): State<App>, call: Call) -> Answer {
    allow(&app, &call.access, Action::ReadAudit).await?;
    call.query.finish("none")?;
    act(&app, &call.access, "audit-reconcile", "allowed", String::new()).await?;
    let found = app.ledger.reconcile(&call.access).await?;
    let text = serde_json::to_vec(&found).map_err(|error| Error::bug("a report cannot be printed").caused_by(error))?;
    Ok(crate::http::json(StatusCode::OK, text))
}
