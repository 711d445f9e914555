//! `POST /api/v1/transactions`: reads, preconditions and writes of several resources, all or nothing.

use super::{positioned, shapes, version, wrong};
use crate::{
    clock,
    http::{body, call::Call, headers},
    identity::allow,
    problem::Answer,
    state::App,
};
use axum::extract::State;
use http::StatusCode;
use ledger::{Content, Group, Op, Precondition, Receipt, Write};
use model::{
    Action, Error, Json, Kind, Prepared, ResourceKey, Result, Version, configuration, json,
    tmf921::{self, Setting},
};

/// Members of one transaction.
const MEMBERS_MAX: usize = 256;
const KINDS: [Kind; 3] = [Kind::Intent, Kind::IntentSpecification, Kind::Configuration];

/// Reads, preconditions and writes of several resources: all or nothing, at one position.
#[utoipa::path(post, path = "/api/v1/transactions", tag = "transactions", security(("token" = [])),
    request_body = shapes::Transaction,
    responses((status = 200, body = shapes::TransactionResult), (status = 400, body = shapes::Problem),
        (status = 409, body = shapes::Problem), (status = 412, body = shapes::Problem)))]
pub async fn transact(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Read).await?;
    let body = body::object(&mut call, &["reads", "preconditions", "writes"])?;
    let group = group(&app, &call, &body).await?;
    let receipt = app.ledger.write(&call.access, group).await?;
    Ok(positioned(StatusCode::OK, &shown(&receipt)?, receipt.position))
}

fn members<'b>(body: &'b Json, name: &'static str) -> Result<&'b [Json]> {
    match body.get(name) {
        None => Ok(&[]),
        Some(list) => list.as_array().ok_or_else(|| wrong(name, "a list is expected here")),
    }
}

async fn group(app: &App, call: &Call, body: &Json) -> Result<Group> {
    let (reads, preconditions, writes) =
        (members(body, "reads")?, members(body, "preconditions")?, members(body, "writes")?);
    let count = reads.len() + preconditions.len() + writes.len();
    if count == 0 || count > MEMBERS_MAX {
        return Err(wrong("$", "a transaction has 1 to 256 members in reads, preconditions and writes"));
    }
    let mut group = Group { idempotency: call.idempotency()?, ..Group::default() };
    for (at, read) in reads.iter().enumerate() {
        group.reads.push(self::read(call, read).map_err(|error| placed(error, "reads", at))?);
    }
    for (at, condition) in preconditions.iter().enumerate() {
        group.preconditions.push(precondition(call, condition).map_err(|error| placed(error, "preconditions", at))?);
    }
    if !writes.is_empty() {
        allow(app, &call.access, Action::Write).await?;
    }
    for (at, write) in writes.iter().enumerate() {
        group.writes.push(self::write(app, call, write).await.map_err(|error| placed(error, "writes", at))?);
    }
    Ok(group)
}

fn placed(error: Error, list: &str, at: usize) -> Error {
    error.with("member", format!("{list}[{at}]"))
}

fn text<'b>(member: &'b Json, name: &'static str) -> Result<&'b str> {
    member.get(name).and_then(Json::as_str).ok_or_else(|| wrong(name, "a string is expected here"))
}

fn key(call: &Call, member: &Json) -> Result<ResourceKey> {
    let kind: Kind = text(member, "kind")?.parse()?;
    if !KINDS.contains(&kind) {
        return Err(wrong("kind", "a transaction is about intent, intent-specification and configuration"));
    }
    ResourceKey::new(&call.access.tenant, kind, text(member, "id")?)
}

fn read(call: &Call, member: &Json) -> Result<ResourceKey> {
    body::only(member, &["kind", "id"])?;
    key(call, member)
}

fn number(member: &Json) -> Result<Option<Version>> {
    let Some(version) = member.get("version") else { return Ok(None) };
    let number = version.as_i64().and_then(|version| u64::try_from(version).ok());
    let number = number.filter(|version| (1..=headers::VERSION_MAX).contains(version));
    number.map(Some).ok_or_else(|| wrong("version", "a version is a whole number from 1"))
}

fn precondition(call: &Call, member: &Json) -> Result<(ResourceKey, Precondition)> {
    body::only(member, &["kind", "id", "version", "present", "absent"])?;
    let condition = match (number(member)?, member.get("present"), member.get("absent")) {
        (Some(version), None, None) => Precondition::VersionIs(version),
        (None, Some(Json::Bool(true)), None) => Precondition::Present,
        (None, None, Some(Json::Bool(true))) => Precondition::Absent,
        _ => return Err(wrong("$", "a precondition has one of version: N, present: true, absent: true")),
    };
    Ok((key(call, member)?, condition))
}

async fn write(app: &App, call: &Call, member: &Json) -> Result<Write> {
    body::only(member, &["op", "kind", "id", "version", "document"])?;
    let (key, version) = (key(call, member)?, number(member)?);
    let op = match (text(member, "op")?, version) {
        ("create", None) => Op::Create,
        ("replace", Some(expected)) => Op::Replace { expected },
        ("put", None) => Op::Put,
        ("delete", expected) => Op::Delete { expected },
        _ => return Err(wrong("op", "op is create, replace with a version, put, or delete with or without a version")),
    };
    let document = match (op, member.get("document")) {
        (Op::Delete { .. }, None) => None,
        (Op::Delete { .. }, Some(_)) => return Err(wrong("document", "a delete has no document")),
        (_, None) => return Err(wrong("document", "the new document is missing; add it")),
        (_, Some(document)) => Some(prepared(app, call, &key, op, document).await?),
    };
    Ok(Write { key, op, document })
}

/// The document by the rules of its kind. A replaced intent keeps what only the server sets; it is read for that, and
/// the expected version makes sure that it is still the one read.
async fn prepared(app: &App, call: &Call, key: &ResourceKey, op: Op, document: &Json) -> Result<Prepared> {
    if key.kind == Kind::Configuration {
        return configuration::prepared(&key.id, document, &key.tenant);
    }
    let setting = Setting { base_href: &app.base_href, tenant: &key.tenant, now: clock::wall() };
    let Op::Replace { expected } = op else {
        return match op {
            Op::Create => tmf921::create(key.kind, document.clone(), &key.id, &setting),
            _ => Err(wrong("op", "put is for configuration; intents are created or replaced")),
        };
    };
    let current = app.ledger.read(&call.access, key).await?.filter(|current| current.version == expected);
    let conflict = || Error::conflict("version-conflict", "the resource is not at this version; read it again");
    let Content::Clear(stored) = current.ok_or_else(conflict)?.document else { return Err(conflict()) };
    let stored = json::stored(&stored)?;
    let mut next = document.clone();
    for fixed in tmf921::FIXED {
        if let (None, Some(value)) = (next.get(fixed), stored.get(fixed)) {
            next.set(fixed, value.clone());
        }
    }
    tmf921::changed(key.kind, &stored, next, &setting)
}

fn shown(receipt: &Receipt) -> Result<Json> {
    let writes: Vec<Json> = receipt.writes.iter().map(written).collect();
    let read = |read: &Option<ledger::Resource>| read.as_ref().map_or(Ok(Json::Null), version);
    let reads = receipt.reads.iter().map(read).collect::<Result<Vec<_>>>()?;
    Ok(Json::object()
        .with("position", receipt.position.to_string())
        .with("replayed", receipt.replayed)
        .with("writes", writes)
        .with("reads", reads))
}

fn written(written: &ledger::Written) -> Json {
    Json::object()
        .with("kind", written.key.kind.as_str())
        .with("id", &*written.key.id)
        .with("version", written.version)
        .with("position", written.position.to_string())
}
