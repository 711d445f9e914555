//! Rows around a sentence: plain, with an operation, with entities, with a generated intent; and scaling intents.

use super::refused;
use crate::draft::{Draft, NATURAL_LANGUAGE, SCALING};
use crate::json::place::Wrong;
use crate::{Json, Result};

fn text<'a>(row: &'a Json, name: &str) -> Option<&'a str> {
    row.get(name).and_then(Json::as_str)
}

/// The sentence of a row, not blank.
fn said(row: &Json) -> Result<&str> {
    text(row, "text").filter(|text| !text.trim().is_empty()).ok_or_else(|| refused("the row has no text"))
}

/// `text`, with what stands beside it (`intent_type`, `scores`, `class`, `quoted_intent`, `intent` and `entities`) kept
/// in the expression.
pub(super) fn sentence(row: &Json) -> Result<Draft> {
    let said = said(row)?;
    let mut value = Json::object().with("text", said);
    for name in ["quoted_intent", "intent", "entities", "scores", "overall"] {
        if let Some(member) = row.get(name) {
            value.set(name, member.clone());
        }
    }
    let context = text(row, "intent_type").or_else(|| text(row, "intent"));
    Ok(Draft::new(said, NATURAL_LANGUAGE, value)
        .text("description", Some(said))
        .text("context", context)
        .characteristic("textClass", text(row, "class")))
}

/// A sentence that orders an operation on TMF921 resources.
pub(super) fn operation(row: &Json) -> Result<Draft> {
    let action = row.dig(&["operation", "action"]).and_then(Json::as_str).unwrap_or_default();
    if !action.starts_with("POST") {
        let shown: String = action.chars().take(40).collect();
        return Err(refused(format!("the row orders {shown} on an existing resource; only POST states a new intent")));
    }
    let said = said(row)?;
    let mut value = Json::object().with("text", said);
    if let Some(parameters) = row.get("parameters") {
        value.set("parameters", parameters.clone());
    }
    Ok(Draft::new(said, NATURAL_LANGUAGE, value)
        .text("description", Some(said))
        .text("context", row.dig(&["resource", "context"]).and_then(Json::as_str))
        .priority(row.dig(&["resource", "priority"]))
        .characteristic("operation", Some(action)))
}

/// A sentence with the TMF921 intent a program made of it: the intent is taken as it is.
pub(super) fn generated(row: &Json, intent: &Json) -> Draft {
    let told = text(row, "text").filter(|_| intent.get("description").is_none());
    Draft::of(intent).text("description", told).characteristic("sourceId", text(intent, "id"))
}

/// An intent in the operator's own schema: `intent_type`, `target`, `namespace`, `replicas`.
pub(super) fn scaling(intent: &Json) -> Result<Draft> {
    let wrong = |name: &str, message: String| Wrong::new("intake-refused", message).under(name);
    for name in ["target", "namespace"] {
        if !text(intent, name).is_some_and(is_kubernetes_name) {
            let message = format!("{name} is a Kubernetes name: at most 253 of a-z, 0-9, - and .");
            return Err(wrong(name, message).into());
        }
    }
    let replicas = intent.get("replicas").and_then(Json::as_i64).filter(|replicas| (0..=100).contains(replicas));
    let Some(replicas) = replicas else {
        return Err(wrong("replicas", "replicas is a whole number from 0 to 100".into()).into());
    };
    let kind = text(intent, "intent_type").unwrap_or_default();
    if !matches!(kind, "scaling" | "deployment" | "configuration") {
        return Err(wrong("intent_type", "intent_type is one of scaling, deployment, configuration".into()).into());
    }
    let target = text(intent, "target").unwrap_or_default();
    let namespace = text(intent, "namespace").unwrap_or_default();
    let told = format!("{kind} of {target} in {namespace} to {replicas} replicas");
    Ok(Draft::new(&told, SCALING, intent.clone())
        .text("description", text(intent, "reason").or(Some(&told)))
        .text("context", Some(kind))
        .priority(intent.get("priority"))
        .characteristic("correlationId", text(intent, "correlation_id")))
}

fn is_kubernetes_name(name: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let inside = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'));
    name.len() <= 253 && inside && edge(name.bytes().next()) && edge(name.bytes().last())
}
