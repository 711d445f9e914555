#![allow(clippy::unwrap_used)]
use super::*;
use crate::json;

fn read(text: &str) -> Json {
    json::parse(text.as_bytes()).unwrap()
}

const TARGET: &str = r#"{"apiVersion":"intent.nephoran.com/v1alpha1","kind":"NetworkIntent","metadata":{"name":"scale-du","namespace":"ran"},
    "spec":{"source":"user","intentType":"scaling","target":"du","namespace":"oran","replicas":3,"networkParameters":{"networkSliceId":"s1","qosProfile":{"priority":1}}}}"#;

fn with_spec(version: &str, spec: &str) -> Json {
    read(&format!(r#"{{"apiVersion":"{version}","kind":"NetworkIntent","metadata":{{"name":"n"}},"spec":{spec}}}"#))
}

#[test]
fn a_target_becomes_an_intent_that_keeps_it_whole() {
    let resource = read(TARGET);
    let intent = mapped(&resource).unwrap();
    let text = |path: &[&str]| intent.dig(path).and_then(Json::as_str);
    assert_eq!(text(&["name"]), Some("scale-du"));
    assert_eq!(text(&["description"]), Some("scaling of du in oran to 3 replicas"));
    assert_eq!((text(&["context"]), text(&["priority"])), (Some("scaling"), Some("1")));
    assert_eq!(intent.dig(&["expression", "expressionValue"]), Some(&resource));
    assert_eq!(intent.pointer("/characteristic/2/value").and_then(Json::as_str), Some("s1"));
}

#[test]
fn a_sentence_becomes_the_description() {
    let spec =
        r#"{"intent":"Deploy AMF with 3 replicas","priority":"high","resourceConstraints":{"cpu":"500m","maxCpu":4}}"#;
    let intent = mapped(&with_spec("nephoran.com/v1", spec)).unwrap();
    assert_eq!(intent.get("description").and_then(Json::as_str), Some("Deploy AMF with 3 replicas"));
    assert_eq!(intent.get("priority").and_then(Json::as_str), Some("high"));
    assert!(mapped(&with_spec("nephoran.io/v1", r#"{"intent":"Keep latency < 1 ms"}"#)).is_ok());
    assert!(mapped(&with_spec("intent.nephoran.com/v1", r#"{"naturalLanguageIntent":"Scale a"}"#)).is_ok());
}

#[test]
fn a_wrong_resource_is_refused_naming_the_field() {
    for (version, spec, field) in [
        ("nephoran.com/v1", "{}", "spec.intent"),
        ("nephoran.com/v1", r#"{"intent":""}"#, "spec.intent"),
        ("nephoran.com/v1", r#"{"intent":"rm -rf / "}"#, "spec.intent"),
        ("nephoran.com/v1", r#"{"intent":"a","priority":"urgent"}"#, "spec.priority"),
        ("nephoran.com/v1", r#"{"intent":"a","targetComponents":[1]}"#, "spec.targetComponents"),
        ("nephoran.com/v1", r#"{"intent":"a","resourceConstraints":{"cpu":"many"}}"#, "spec.resourceConstraints.cpu"),
        ("intent.nephoran.com/v1alpha1", r#"{"replicas":-1}"#, "spec.replicas"),
        ("intent.nephoran.com/v1alpha1", r#"{"replicas":"3"}"#, "spec.replicas"),
        (
            "intent.nephoran.com/v1alpha1",
            r#"{"networkParameters":{"qosProfile":{"priority":1.5}}}"#,
            "spec.networkParameters.qosProfile.priority",
        ),
        ("nephoran.io/v1", r#"{"description":"a"}"#, "spec"),
        ("nephoran.com/v7", r#"{"intent":"a"}"#, "apiVersion"),
        ("apps/v1", r#"{"intent":"a"}"#, "apiVersion"),
        ("nephoran.com/v1", "[]", "spec"),
    ] {
        let error = mapped(&with_spec(version, spec)).unwrap_err();
        assert_eq!((error.code(), error.fact("field")), ("network-intent-malformed", Some(field)), "{version} {spec}");
    }
    let mut nameless = read(TARGET);
    nameless.set("metadata", Json::object());
    assert_eq!(mapped(&nameless).unwrap_err().fact("field"), Some("metadata.name"));
    let mut other = read(TARGET);
    other.set("kind", "E2NodeSet");
    assert_eq!(mapped(&other).unwrap_err().fact("field"), Some("kind"));
}

#[test]
fn the_id_is_that_of_the_object_not_of_its_content() {
    let mut again = read(TARGET);
    let id = stable_id(&again).unwrap();
    again.set("spec", Json::object());
    assert_eq!(stable_id(&again).unwrap(), id);
    again.set("metadata", Json::object().with("name", "scale-du"));
    assert_ne!(stable_id(&again).unwrap(), id);
    assert_eq!(id, "50d90230-5ca7-5ae8-84aa-8d85397a8aae");
}
