//! The four ways to change a document: merge patch (RFC 7386, also as plain `application/json`), JSON patch (RFC 6902)
//! and TM Forum's JSON patch query. A patch applies whole or not at all.

mod operations;
mod query;

use crate::json::{Json, Limits, Member};
use crate::{Error, Result};
use std::collections::BTreeMap;

/// What a patch is, by its content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    Merge,
    Operations,
    QueryOperations,
}

impl Media {
    pub const CONTENT_TYPES: [&str; 4] = [
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/json-patch-query+json",
        "application/json",
    ];

    /// Parameters are the caller's to look at; no content type at all means a merge patch.
    pub fn from_content_type(value: Option<&str>) -> Result<Self> {
        let Some(value) = value else { return Ok(Self::Merge) };
        let name = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match name.as_str() {
            "application/merge-patch+json" | "application/json" => Ok(Self::Merge),
            "application/json-patch+json" => Ok(Self::Operations),
            "application/json-patch-query+json" => Ok(Self::QueryOperations),
            _ => {
                let message = format!("a patch is sent as one of {}", Self::CONTENT_TYPES.join(", "));
                Err(Error::invalid("media-type-unsupported", message).with("content-type", name))
            }
        }
    }
}

/// What `patch` makes of `current`.
pub fn apply(media: Media, current: &Json, patch: &Json) -> Result<Json> {
    let changed = match media {
        Media::Merge => merge(current, patch)?,
        Media::Operations => operations::apply(current, patch, operations::Paths::Pointers)?,
        Media::QueryOperations => operations::apply(current, patch, operations::Paths::Queries)?,
    };
    let limit = Limits::default().bytes;
    if changed.to_bytes().len() > limit {
        let message = format!("the changed document would be larger than {limit} bytes");
        return Err(Error::invalid("json-size", message));
    }
    Ok(changed)
}

fn merge(current: &Json, patch: &Json) -> Result<Json> {
    if patch.as_object().is_none() {
        let message = format!("a merge patch is an object, not {}", patch.type_name());
        return Err(Error::invalid("patch-malformed", message));
    }
    let mut changed = current.clone();
    merge_into(&mut changed, patch);
    Ok(changed)
}

fn merge_into(target: &mut Json, patch: &Json) {
    let Json::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if target.as_object().is_none() {
        *target = Json::object();
    }
    if members.len() > MANY_MEMBERS {
        merge_many(target, members);
        return;
    }
    for (name, value) in members {
        if value.is_null() {
            target.remove(name);
        } else if let Some(member) = target.get_mut(name) {
            merge_into(member, value);
        } else {
            target.set(name, fresh(value));
        }
    }
}

/// From here on members are looked up in a map, so that a patch of many members is not quadratic.
const MANY_MEMBERS: usize = 32;

fn merge_many(target: &mut Json, members: &[Member]) {
    let Json::Object(known) = std::mem::take(target) else { return };
    let mut known: BTreeMap<String, Json> = known.into_iter().collect();
    for (name, value) in members {
        if value.is_null() {
            known.remove(name);
        } else if let Some(member) = known.get_mut(name) {
            merge_into(member, value);
        } else {
            known.insert(name.clone(), fresh(value));
        }
    }
    *target = Json::Object(known.into_iter().collect());
}

/// A member that was not there: the patch itself, without its nulls.
fn fresh(value: &Json) -> Json {
    let mut member = Json::Null;
    merge_into(&mut member, value);
    member
}

#[cfg(test)]
mod tests;
