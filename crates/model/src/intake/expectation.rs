//! Intents written as expectations: 3GPP TS 28.312-like, TMF921-like with expectations inside, simplified services.
//!
//! A document is taken when it has an identity and something to hold the network to; the whole document becomes the
//! value of the expression.

use super::refused;
use crate::draft::{Draft, EXPECTATION};
use crate::json::place::Wrong;
use crate::{Error, Json, Result};

/// Where the shapes keep their identity, and what is demanded there.
const IDENTITIES: [&str; 4] = ["id", "intentId", "intentExpectationId", "expectationId"];
/// Any of these says what is wanted.
const DEMANDS: [&str; 10] = [
    "expectation",
    "expectations",
    "expectationTarget",
    "expectationTargets",
    "expectationObjects",
    "intentExpectationTarget",
    "parameters",
    "sla",
    "serviceType",
    "serviceCharacteristic",
];
const SLICES: [&str; 3] = ["eMBB", "URLLC", "mMTC"];

pub(super) fn draft(document: &Json) -> Result<Draft> {
    if document.as_object().is_none() {
        return Err(refused(format!("a document is a JSON object, not {}", document.type_name())));
    }
    let inner = unwrapped(document);
    let text = |path: &[&str]| inner.dig(path).and_then(Json::as_str).filter(|text| !text.is_empty());
    let Some(identity) = IDENTITIES.iter().find_map(|name| text(&[name])) else {
        return Err(refused(format!("the document has no identity; one of {} is needed", IDENTITIES.join(", "))));
    };
    if !demands(inner) {
        let known = DEMANDS.join(", ");
        return Err(refused(format!("the document demands nothing of the network; one of {known} is needed")));
    }
    slice(inner)?;
    let named = text(&["name"]).or_else(|| text(&["expectationName"])).or_else(|| text(&["intent", "serviceName"]));
    let context = text(&["intentType"])
        .or_else(|| text(&["intentExpectationType"]))
        .or_else(|| text(&["serviceType"]))
        .or_else(|| text(&["expectationObject", "objectType"]))
        .or_else(|| text(&["category"]));
    let status = text(&["lifecycleStatus"]).or_else(|| text(&["state"])).or_else(|| text(&["lifecycle"]));
    let start = text(&["validFor", "startDateTime"]).or_else(|| text(&["intent", "lifecycle", "startTime"]));
    let end = text(&["validFor", "endDateTime"]).or_else(|| text(&["intent", "lifecycle", "endTime"]));
    Ok(Draft::new(named.unwrap_or(identity), EXPECTATION, document.clone())
        .text("description", text(&["description"]))
        .text("context", context)
        .text("lifecycleStatus", status)
        .priority(inner.get("priority").or_else(|| inner.dig(&["metadata", "priority"])))
        .period(start, end)
        .customer(text(&["metadata", "customer"]))
        .characteristic("sourceId", Some(identity))
        .characteristic("targetSite", text(&["targetSite"])))
}

/// `{"serviceIntent": {…}}` and a list of a single expectation say the same as what is inside.
fn unwrapped(document: &Json) -> &Json {
    if let Some(inner) = document.get("serviceIntent") {
        return inner;
    }
    match document.get("expectationList").and_then(Json::as_array) {
        Some([only]) => only,
        _ => document,
    }
}

fn demands(document: &Json) -> bool {
    let filled = |value: &Json| match value {
        Json::Null => false,
        Json::Array(items) => !items.is_empty(),
        Json::Object(members) => !members.is_empty(),
        _ => true,
    };
    DEMANDS.iter().any(|name| document.get(name).is_some_and(filled))
        || document.dig(&["intentSpecification", "intentExpectations"]).is_some_and(filled)
        || document.dig(&["intent", "qos"]).is_some_and(filled)
}

/// A network slice, where there is one, is a known type with counts that can be.
fn slice(document: &Json) -> Result<()> {
    let Some(slice) = document.dig(&["intent", "networkSlice"]) else { return Ok(()) };
    let wrong = |name: &str, message: String| {
        Err(Error::from(Wrong::new("intake-refused", message).under(name).under("networkSlice").under("intent")))
    };
    if let Some(kind) = slice.get("sliceType")
        && !kind.as_str().is_some_and(|kind| SLICES.contains(&kind))
    {
        return wrong("sliceType", format!("a slice type is one of {}", SLICES.join(", ")));
    }
    for name in ["maxNumberofUEs", "maxNumberofConnections"] {
        if let Some(count) = slice.get(name)
            && count.as_i64().is_none_or(|count| count < 0)
        {
            return wrong(name, format!("{name} is a whole number from 0"));
        }
    }
    Ok(())
}
