//! Every answer is held against the official document: the discriminated schema in `NEPHKEEP_SAMPLES/tmf921`.

use crate::stand::{Reply, TMF};
use http::Method;
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
    against(schemas, named, document);
}

#[track_caller]
fn against(schemas: &HashMap<&'static str, Validator>, named: &str, document: &Value) {
    let Some(schema) = schemas.get(named) else { panic!("no schema for {named}: {document}") };
    let wrong: Vec<String> =
        schema.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{named}: {wrong:?}\n{document}");
}

/// What a path of the official document holds, its success of each method, and whether it is a list.
struct Operation {
    of: &'static str,
    status: u16,
    list: bool,
}

/// As the official document says; `None`: it knows no such operation.
fn operation(method: &Method, path: &str) -> Option<Operation> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (of, one) = match parts[..] {
        ["intent"] => ("Intent", false),
        ["intent", _] => ("Intent", true),
        ["intent", _, "intentReport"] => ("IntentReport", false),
        ["intent", _, "intentReport", _] => ("IntentReport", true),
        ["intentSpecification"] => ("IntentSpecification", false),
        ["intentSpecification", _] => ("IntentSpecification", true),
        ["hub"] => ("Hub", false),
        ["hub", _] => ("Hub", true),
        _ => return None,
    };
    let status = match *method {
        Method::GET | Method::PATCH => 200,
        Method::POST if !one => 201,
        Method::DELETE if one => 204,
        _ => return None,
    };
    Some(Operation { of, status, list: !one && *method == Method::GET })
}

/// What every answer must be, whatever it looks like: chosen by what was asked. Called for each answer a test sees.
#[track_caller]
pub fn check(method: &Method, path: &str, reply: &Reply) {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let Some(rest) = path.strip_prefix(TMF) else { return elsewhere(reply) };
    match reply.status.as_u16() {
        // What is held already is not sent again.
        304 => return assert_eq!(reply.text, "", "{method} {path}"),
        307 | 400.. => return error(reply),
        _ => {}
    }
    let Some(operation) = operation(method, rest) else { panic!("{method} {path} was taken: {}", reply.status) };
    assert_eq!(reply.status.as_u16(), operation.status, "{method} {path}: {}", reply.text);
    if operation.status == 204 {
        assert_eq!(reply.text, "", "{method} {path}");
        return;
    }
    assert_eq!(reply.header("content-type"), "application/json", "{method} {path}");
    let documents = match (reply.json(), operation.list) {
        (Value::Array(items), true) => items,
        (one @ Value::Object(_), false) => vec![one],
        (other, _) => panic!("{method} {path}: {other}"),
    };
    let selected = query.split('&').any(|pair| pair.starts_with("fields="));
    documents.iter().for_each(|document| resource(operation.of, document, selected));
}

/// Identity always stands in an answer; the whole is held against the schema unless attributes were selected.
#[track_caller]
fn resource(of: &str, document: &Value, selected: bool) {
    for name in ["@type", "id", "href"] {
        let present = document[name].as_str().is_some_and(|text| !text.is_empty());
        assert!(present || (of == "Hub" && name == "href"), "{name} is missing: {document}");
    }
    if selected {
        return;
    }
    // The official document asks for no name; ours always have one, until they are erased.
    if of == "Intent" && document["lifecycleStatus"] != "erased" {
        assert!(document["name"].is_string(), "name is missing: {document}");
    }
    if let Some(schemas) = SCHEMAS.as_ref() {
        let probe = of == "Intent" && document["@type"] == "ProbeIntent";
        against(schemas, if probe { "ProbeIntent" } else { of }, document);
    }
}

#[track_caller]
fn error(reply: &Reply) {
    let body = reply.json();
    assert_eq!(body["@type"], "Error", "{body}");
    for name in ["code", "reason", "status"] {
        assert!(body[name].as_str().is_some_and(|text| !text.is_empty()), "{name} is missing: {body}");
    }
    assert_eq!(body["status"], reply.status.as_u16().to_string(), "{body}");
    validate(&body);
}

/// Our own interfaces answer with resources of the official document too, and with its error bodies.
#[track_caller]
fn elsewhere(reply: &Reply) {
    if reply.status.is_client_error() || reply.status.is_server_error() {
        let body = reply.json();
        // Prometheus's and Confluent's interfaces have error bodies of their own.
        if body.get("errorType").is_none() && body.get("error_code").is_none() {
            error(reply);
        }
        return;
    }
    let json = reply.headers.get("content-type").is_some_and(|kind| kind == "application/json");
    if !json || reply.text.is_empty() {
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
