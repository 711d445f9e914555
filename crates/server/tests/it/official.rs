//! Every answer is held against the official document: the discriminated schema in `NEPHKEEP_SAMPLES/tmf921`.

use crate::stand::{Reply, TMF};
use jsonschema::Validator;
use serde_json::{Value, json};
use std::{collections::HashMap, path::PathBuf, sync::LazyLock};

pub fn samples() -> Option<PathBuf> {
    testkit::skipped::samples("tmf921")
}

static SCHEMAS: LazyLock<Option<HashMap<&'static str, Validator>>> = LazyLock::new(|| {
    let text = std::fs::read(samples()?.join("tmf921-v5.0.0.discriminated.schema.json")).unwrap();
    let whole: Value = serde_json::from_slice(&text).unwrap();
    let names = [
        "Intent",
        "ProbeIntent",
        "IntentSpecification",
        "IntentReport",
        "Hub",
        "Error",
        "IntentCreateEvent",
        "IntentAttributeValueChangeEvent",
        "IntentStatusChangeEvent",
        "IntentDeleteEvent",
        "IntentReportCreateEvent",
        "IntentReportAttributeValueChange",
        "IntentReportDeleteEvent",
        "IntentSpecificationCreateEvent",
        "IntentSpecificationAttributeValueChangeEvent",
        "IntentSpecificationStatusChangeEvent",
        "IntentSpecificationDeleteEvent",
    ];
    let compiled = names.into_iter().map(|name| {
        let schema = json!({ "$schema": whole["$schema"], "$defs": whole["$defs"], "$ref": format!("#/$defs/{name}") });
        (name, jsonschema::validator_for(&schema).unwrap())
    });
    Some(compiled.collect())
});

/// Validates a document as the type it names.
#[track_caller]
pub fn validate(document: &Value) {
    let Some(schemas) = SCHEMAS.as_ref() else { return };
    let named = document["@type"].as_str().unwrap_or_else(|| panic!("no @type: {document}"));
    let named = document["@baseType"]
        .as_str()
        .filter(|base| schemas.contains_key(base) && !schemas.contains_key(named))
        .unwrap_or(named);
    let Some(schema) = schemas.get(named) else { panic!("no schema for {named}: {document}") };
    let wrong: Vec<String> =
        schema.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{named}: {wrong:?}\n{document}");
}

/// What every answer of the TMF921 surface must be; called for each answer a test sees.
#[track_caller]
pub fn check(_base: &str, reply: &Reply) {
    if reply.status.is_client_error() || reply.status.is_server_error() {
        let body = reply.json();
        // Prometheus's and Confluent's interfaces have error bodies of their own.
        let foreign = body.get("errorType").is_some() || body.get("error_code").is_some();
        if !foreign {
            validate(&body);
        }
        return;
    }
    let json =
        reply.headers.get("content-type").is_some_and(|kind| kind == "application/json") && !reply.text.is_empty();
    if !json {
        return;
    }
    let documents = match reply.json() {
        Value::Array(items) => items,
        one => vec![one],
    };
    for document in documents {
        let ours = document["href"].as_str().is_some_and(|href| href.contains(TMF));
        if ours && document["name"].is_string() {
            validate(&document);
        }
    }
}
