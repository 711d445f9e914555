//! TM Forum TMF921 Intent Management v5: what an `intent`, an `intentSpecification` and an `intentReport` are.
//!
//! Pure rules: check a body, complete it with what the server owns, take out the clear columns (RECORD 15), make it
//! canonical (RECORD 5). The server owns `id`, `href`, `creationDate`, `lastUpdate` and `statusChangeDate`.

mod check;
mod columns;
pub mod event;
pub mod report;
mod schema;

pub use columns::{is_clear_priority, is_clear_status};

use crate::canonical::canonicalise;
use crate::resource::check_name;
use crate::{Error, Json, Kind, Prepared, Result, Tenant};

/// Where the API is mounted below the server's own address.
pub const BASE_PATH: &str = "/tmf-api/intentManagement/v5";

/// The status of an intent whose owner gave none, as in the official examples.
const FIRST_STATUS: &str = "Created";

/// What a client may send only unchanged.
pub const FIXED: [&str; 7] = ["id", "href", "@type", "@baseType", "creationDate", "lastUpdate", "statusChangeDate"];

/// What the server knows about a request.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// Scheme, host and mount point, without a final slash: `https://host:port/tmf-api/intentManagement/v5`.
    pub base_href: &'a str,
    pub tenant: &'a Tenant,
    pub now: jiff::Timestamp,
}

/// The id a client proposes in the body of a POST. Without one the server makes one up.
pub fn proposed_id(body: &Json) -> Result<Option<&str>> {
    match body.get("id") {
        None => Ok(None),
        Some(Json::String(id)) => check_name("id", id).map(|()| Some(id.as_str())),
        Some(other) => {
            let message = format!("a string is expected here, not {}", other.type_name());
            Err(Error::invalid("attribute-type", message).with("field", "id"))
        }
    }
}

/// A new intent or specification under `id`.
pub fn create(kind: Kind, mut body: Json, id: &str, setting: &Setting<'_>) -> Result<Prepared> {
    if !matches!(kind, Kind::Intent | Kind::IntentSpecification) {
        let message = "this kind is not created through TMF921; reports come with their intent";
        return Err(Error::invalid("kind-not-creatable", message).with("kind", kind));
    }
    check_name("id", id)?;
    check::new_document(kind, &body)?;
    let now = spell_time(setting.now);
    body.set("id", id);
    body.set("href", href(kind, id, setting.base_href));
    if kind == Kind::Intent {
        body.set("creationDate", now.as_str());
        body.set("statusChangeDate", now.as_str());
        if body.get("lifecycleStatus").is_none() {
            body.set("lifecycleStatus", FIRST_STATUS);
        }
    } else if body.get("version").is_none() {
        body.set("version", "1.0");
    }
    body.set("lastUpdate", now);
    prepared(kind, &body, setting.tenant)
}

/// A stored document after a change: `next` is what a patch made of `current`.
///
/// `lifecycleStatus` is free text and may go from any value to any other; each change moves `statusChangeDate`.
pub fn changed(kind: Kind, current: &Json, mut next: Json, setting: &Setting<'_>) -> Result<Prepared> {
    if let Some(field) = FIXED.iter().find(|field| current.get(field) != next.get(field)) {
        let message = format!("{field} is set by the server and cannot be changed; leave it out");
        return Err(Error::invalid("attribute-fixed", message).with("field", field));
    }
    check::changed_document(kind, &next)?;
    let now = spell_time(setting.now);
    if kind == Kind::Intent && current.get("lifecycleStatus") != next.get("lifecycleStatus") {
        next.set("statusChangeDate", now.as_str());
    }
    if kind != Kind::IntentReport {
        next.set("lastUpdate", now);
    }
    prepared(kind, &next, setting.tenant)
}

/// A document that is stored as it stands: a derived report, a rollback, a restored version.
pub fn prepared(kind: Kind, document: &Json, tenant: &Tenant) -> Result<Prepared> {
    Ok(Prepared {
        class: kind.default_class(),
        subject: columns::subject(document, tenant)?,
        columns: columns::columns(document),
        document: canonicalise(document),
    })
}

/// The collection's name in a path, and the resource's name in an event.
#[must_use]
pub fn resource_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Intent => "intent",
        Kind::IntentSpecification => "intentSpecification",
        Kind::IntentReport => "intentReport",
        _ => kind.as_str(),
    }
}

/// The address of an intent or a specification.
#[must_use]
pub fn href(kind: Kind, id: &str, base_href: &str) -> String {
    let mut text = String::with_capacity(base_href.len() + id.len() + 24);
    text.push_str(base_href);
    text.push('/');
    text.push_str(resource_name(kind));
    text.push('/');
    push_segment(&mut text, id);
    text
}

/// Appends one path segment, percent-encoded where RFC 3986 wants it.
pub(crate) fn push_segment(out: &mut String, segment: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for b in segment.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b':' | b'@') {
            out.push(char::from(b));
        } else {
            let digits = [b'%', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]];
            out.extend(digits.map(char::from));
        }
    }
}

/// Milliseconds, as the official examples write times.
#[must_use]
pub fn spell_time(at: jiff::Timestamp) -> String {
    format!("{at:.3}")
}

#[cfg(test)]
mod tests;
