//! Answers of the TMF921 surface: documents as stored, or projected by `fields`; the headers that go with them.

use crate::{
    http::{
        headers::{self, LEDGER_POSITION},
        json,
    },
    problem::Answer,
};
use bytes::Bytes;
use http::StatusCode;
use ledger::{Content, Resource};
use model::{Error, Json, Kind, Position, ResourceKey, Result, Version, json as text, select::Fields, tmf921};

/// The document of a resource that must be there to be shown.
pub fn clear(resource: &Resource) -> Result<&Bytes> {
    match &resource.document {
        Content::Clear(document) => Ok(document),
        Content::Erased => Err(erased(&resource.key)),
        Content::Deleted => Err(not_found(&resource.key)),
    }
}

pub fn erased(key: &ResourceKey) -> Error {
    Error::not_found("erased", "the data of this subject was erased for good; there is nothing left to show")
        .with("kind", key.kind)
        .with("id", &key.id)
}

pub fn not_found(key: &ResourceKey) -> Error {
    let why = "there is no such resource, or no longer; list the collection to see what there is";
    Error::not_found("not-found", why).with("kind", key.kind).with("id", &key.id)
}

/// The stored bytes as they are, unless `fields` asks for less.
pub fn projected(document: &Bytes, fields: &Fields) -> Result<Bytes> {
    if fields.is_everything() {
        return Ok(document.clone());
    }
    Ok(fields.project(&text::parse(document)?).to_bytes())
}

/// One document with its version and position.
pub fn document(status: StatusCode, body: Bytes, version: Version, position: Position) -> Answer {
    let mut response = json(status, body);
    let map = response.headers_mut();
    map.insert(http::header::ETAG, headers::etag(version));
    headers::put(map, LEDGER_POSITION, &position.to_string());
    Ok(response)
}

pub fn gone(position: Position) -> Answer {
    let mut response = axum::response::Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    headers::put(response.headers_mut(), LEDGER_POSITION, &position.to_string());
    Ok(response)
}

/// What a list shows of a resource whose key was destroyed: that it was, and nothing of it.
pub fn erased_entry(resource: &Resource, base_href: &str) -> Json {
    let (kind, id) = (resource.key.kind, &*resource.key.id);
    let at_type = match kind {
        Kind::IntentSpecification => "IntentSpecification",
        _ => "Intent",
    };
    Json::object()
        .with("@type", at_type)
        .with("id", id)
        .with("href", tmf921::href(kind, id, base_href))
        .with("lifecycleStatus", "erased")
}

/// A list: the documents one after the other, without reading them again.
pub fn array(items: &[Bytes]) -> Bytes {
    let bytes = items.iter().map(Bytes::len).sum::<usize>() + items.len() + 2;
    let mut out = Vec::with_capacity(bytes);
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item);
    }
    out.push(b']');
    out.into()
}
