//! Every official TMF921 example: requests are accepted, everything survives our JSON.

use super::{lines, read, skipped::samples};
use model::canonical::{canonicalise, is_canonical};
use model::patch::{Media, apply};
use model::tmf921::{Setting, changed, create};
use model::{Json, Kind, Tenant, json, tmf921};
use std::path::Path;

fn setting(tenant: &Tenant) -> Setting<'_> {
    Setting { base_href: "https://x/v5", tenant, now: jiff::Timestamp::UNIX_EPOCH }
}

fn kind_of(schema: &str) -> Kind {
    if schema.contains("Specification") { Kind::IntentSpecification } else { Kind::Intent }
}

/// The stored resource an example patch is meant for.
fn stored(folder: &Path, kind: Kind, patch_name: &str, tenant: &Tenant) -> Json {
    let name = match kind {
        Kind::IntentSpecification => "IntentSpecification_create_example_request.json",
        _ if patch_name.starts_with("Probe") => "Intent_create_example_11_request.json",
        _ => "Intent_create_example_01_request.json",
    };
    let mut body = read(&folder.join(name));
    if body.get("validFor").is_none() {
        // The patch replaces a date inside it: the official probe intent has none when it is created.
        body.set("validFor", Json::object().with("startDateTime", "2023-01-01T00:00:00Z"));
    }
    json::parse(&create(kind, body, "1", &setting(tenant)).unwrap().document).unwrap()
}

#[test]
fn every_official_request_is_accepted() {
    let Some(samples) = samples("tmf921") else { return };
    let tenant = Tenant::new("t").unwrap();
    let (mut creates, mut patches, mut events) = (0, 0, 0);
    for line in lines(&samples.join("examples_index.jsonl")) {
        let entry = json::parse(line.as_bytes()).unwrap();
        let text = |name: &str| entry.get(name).and_then(Json::as_str).unwrap().to_owned();
        if text("used_as") != "request" {
            continue;
        }
        let (name, schema) = (text("example"), text("schema"));
        let folder = samples.join("examples");
        let body = read(&folder.join(format!("{name}.json")));
        let operation = entry.pointer("/operations/0").and_then(Json::as_str).unwrap();
        let kind = kind_of(operation);
        if operation.starts_with("POST /listener") {
            events += 1;
            continue;
        }
        if operation.starts_with("POST") {
            create(kind, body, "1", &setting(&tenant)).unwrap_or_else(|error| panic!("{name} ({schema}): {error}"));
            creates += 1;
            continue;
        }
        let current = stored(&folder, kind, &name, &tenant);
        let media = Media::from_content_type(Some(&text("content_type"))).unwrap();
        let next = apply(media, &current, &body).unwrap_or_else(|error| panic!("{name}: {error}"));
        let new = changed(kind, &current, next, &setting(&tenant)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let new = json::parse(&new.document).unwrap();
        assert_ne!(new.get("description"), current.get("description"), "{name}");
        patches += 1;
    }
    println!(
        "official requests accepted: {creates} creates, {patches} patches; {events} notifications are not ours to take"
    );
    assert_eq!((creates, patches), (3, 12));
}

#[test]
fn every_official_example_survives_our_json() {
    let Some(samples) = samples("tmf921") else { return };
    let mut count = 0;
    for entry in std::fs::read_dir(samples.join("examples")).unwrap() {
        let path = entry.unwrap().path();
        let value = read(&path);
        let bytes = canonicalise(&value);
        assert!(is_canonical(&bytes), "{}", path.display());
        assert!(json::parse(&bytes).unwrap().same(&value), "{}", path.display());
        count += 1;
    }
    println!("official examples read and printed: {count}");
    assert!(count >= 50);
}

#[test]
fn our_event_names_are_those_of_the_official_examples() {
    let Some(samples) = samples("tmf921") else { return };
    let document = read(&samples.join("tmf921-v5.0.0.schema.json"));
    for event in tmf921::event::EventType::ALL {
        assert!(document.dig(&["$defs", event.name()]).is_some(), "{}", event.name());
    }
    let paths = json::parse_with(
        &std::fs::read(samples.join("TMF921_Intent_Management_v5.0.0.oas.json")).unwrap(),
        &json::Limits { bytes: 1 << 24, ..json::Limits::default() },
    );
    let paths = paths.unwrap();
    for event in tmf921::event::EventType::ALL {
        assert!(paths.dig(&["paths", &event.listener()]).is_some(), "{}", event.listener());
    }
}
