//! Documents of other shapes on their way in: one row of a file becomes one TMF921 body under a stable id.
//!
//! The shape is told by the content, never by the file's name; docs/guide/mapping.md has the rules as tables.
//! Importing a file again finds the same ids: a TMF921 document that has an id keeps it, every other row has the
//! UUIDv5 of its file's name and its own `id` (else its line). Rows that are no intent are refused with a reason, among
//! them operations on existing resources (`GET`, `PATCH`, `DELETE`): of sentence-and-operation rows only the `POST`
//! ones state an intent, and it is their sentence that is taken, since their resource is not valid TMF921 v5.

mod expectation;
mod rows;

use crate::draft::Draft;
use crate::tmf921::{Setting, create, proposed_id};
use crate::{Error, Json, Kind, Result, Tenant, network_intent};
use uuid::Uuid;

/// Names imported rows; never changes, or an import would double everything.
const ROWS: Uuid = Uuid::from_u128(0x51c7_9e02_b1d4_5e6a_8f3d_0b94_77ac_e218);

/// What a row becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    pub kind: Kind,
    /// The same at every import of the same row.
    pub id: String,
    /// A body for [`crate::tmf921::create`], already checked.
    pub body: Json,
}

/// Where a row stands: the file's name without its folders, and the line or document counted from 1.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub file: &'a str,
    pub row: usize,
}

pub(crate) fn refused(message: impl Into<String>) -> Error {
    Error::invalid("intake-refused", message)
}

/// Maps one row, or says why it is not taken.
pub fn map(place: Place<'_>, row: &Json) -> Result<Mapped> {
    if row.as_object().is_none() {
        return Err(refused(format!("a row is a JSON object, not {}; send the items one by one", row.type_name())));
    }
    if let Some(at_type) = row.get("@type") {
        return resource(place, row, at_type.as_str().unwrap_or_default());
    }
    let (drafted, source) = draft(row)?;
    let key = row_key(place, row);
    let body = drafted
        .characteristic("source", Some(&format!("{}#{key}", place.file)))
        .characteristic("sourcePath", source)
        .finish();
    checked(Mapped { kind: Kind::Intent, id: row_id(place.file, &key), body })
}

/// A TMF921 document as it is.
fn resource(place: Place<'_>, row: &Json, at_type: &str) -> Result<Mapped> {
    if row.get("eventType").is_some() {
        return Err(refused("this is a notification about a resource, not a resource"));
    }
    let kind = match at_type {
        "IntentReport" => return Err(refused("an intent report comes into being with its intent; import the intent")),
        "IntentSpecification" => Kind::IntentSpecification,
        _ if row.get("@baseType").and_then(Json::as_str) == Some("IntentSpecification") => Kind::IntentSpecification,
        _ => Kind::Intent,
    };
    let id = match proposed_id(row)? {
        Some(id) => id.to_owned(),
        None => row_id(place.file, &place.row.to_string()),
    };
    checked(Mapped { kind, id, body: row.clone() })
}

/// The draft of a row in another shape, and the path its source gives.
fn draft(row: &Json) -> Result<(Draft, Option<&str>)> {
    let source = row.dig(&["source", "path"]).and_then(Json::as_str);
    let has = |name: &str| row.get(name).is_some();
    if network_intent::is_resource(row) && !has("resource") {
        return Ok((network_intent::draft(row)?, source));
    }
    if let Some(resource) = row.get("resource").filter(|resource| network_intent::is_resource(resource)) {
        return Ok((network_intent::draft(resource)?, source));
    }
    let drafted = match (row.get("document"), row.get("intent")) {
        (Some(document), _) => expectation::draft(document)?,
        (None, Some(intent)) if intent.get("@type").is_some() => rows::generated(row, intent),
        (None, Some(intent)) if intent.get("intent_type").is_some() => rows::scaling(intent)?,
        _ if has("operation") => rows::operation(row)?,
        _ if has("text") => rows::sentence(row)?,
        _ if has("intent_type") => rows::scaling(row)?,
        _ => expectation::draft(row)?,
    };
    Ok((drafted, source))
}

/// The row's own name in its file.
fn row_key(place: Place<'_>, row: &Json) -> String {
    let own = row.get("id").and_then(|id| id.as_str().or_else(|| id.as_number()));
    own.map_or_else(|| place.row.to_string(), str::to_owned)
}

fn row_id(file: &str, key: &str) -> String {
    Uuid::new_v5(&ROWS, format!("{file}\n{key}").as_bytes()).to_string()
}

/// What would be refused when it is created is refused here, with the same words.
fn checked(mapped: Mapped) -> Result<Mapped> {
    let tenant = Tenant::new("intake")?;
    let setting = Setting { base_href: "", tenant: &tenant, now: jiff::Timestamp::UNIX_EPOCH };
    create(mapped.kind, mapped.body.clone(), &mapped.id, &setting)?;
    Ok(mapped)
}

#[cfg(test)]
mod tests;
