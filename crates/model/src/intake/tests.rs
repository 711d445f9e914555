#![allow(clippy::unwrap_used)]
use super::*;
use crate::json;

fn mapped(text: &str) -> Result<Mapped> {
    map(Place { file: "f.jsonl", row: 7 }, &json::parse(text.as_bytes()).unwrap())
}

fn at<'a>(mapped: &'a Mapped, pointer: &str) -> Option<&'a str> {
    mapped.body.pointer(pointer).and_then(Json::as_str)
}

#[test]
fn every_shape_has_its_mapping() {
    let plain =
        mapped(r#"{"id":"a-1","intent_type":"Deployment Intent","text":"Deploy a UPF","scores":{"x":1.0}}"#).unwrap();
    assert_eq!(at(&plain, "/name"), Some("Deploy a UPF"));
    assert_eq!(at(&plain, "/context"), Some("Deployment Intent"));
    assert_eq!(plain.body.pointer("/expression/expressionValue/scores/x").unwrap().as_number(), Some("1.0"));
    assert_eq!(at(&plain, "/characteristic/0/value"), Some("f.jsonl#a-1"));

    let utterance =
        mapped(r#"{"id":"u","text":"add a flow","intent":"create_flow","entities":[{"entity":"target"}]}"#).unwrap();
    assert_eq!(at(&utterance, "/context"), Some("create_flow"));

    let order = mapped(
        r#"{"id":"o","text":"Create it","operation":{"action":"POST (ProbeIntent)"},"resource":{"priority":"5"}}"#,
    )
    .unwrap();
    assert_eq!(at(&order, "/priority"), Some("5"));

    let scaled = mapped(r#"{"id":"s","intent":{"intent_type":"scaling","target":"du","namespace":"ran","replicas":3,"reason":"load","priority":8}}"#).unwrap();
    assert_eq!(at(&scaled, "/name"), Some("scaling of du in ran to 3 replicas"));
    assert_eq!((at(&scaled, "/description"), at(&scaled, "/priority")), (Some("load"), Some("8")));

    let generated = mapped(r#"{"id":"g","text":"t","intent":{"@type":"Intent","id":"x","name":"N","expression":{"@type":"JsonLdExpression","iri":"urn:i","expressionValue":{"k":1}}}}"#).unwrap();
    assert_eq!((at(&generated, "/name"), at(&generated, "/expression/iri")), (Some("N"), Some("urn:i")));
    assert_eq!(at(&generated, "/expression/@type"), Some("JsonLdExpression"));

    let expected = mapped(r#"{"id":"e","document":{"intentId":"i-1","serviceType":"eMBB","sla":{"latency":10},"metadata":{"customer":"c1","priority":"High"}}}"#).unwrap();
    assert_eq!(at(&expected, "/relatedParty/0/partyOrPartyRole/id"), Some("c1"));
    assert_eq!((at(&expected, "/name"), at(&expected, "/priority")), (Some("i-1"), Some("high")));

    let custom = mapped(r#"{"id":"c","resource":{"apiVersion":"nephoran.io/v1","kind":"NetworkIntent","metadata":{"name":"n"},"spec":{"intent":"a"}},"source":{"path":"p"}}"#).unwrap();
    assert_eq!(at(&custom, "/name"), Some("n"));
    for one in [plain, utterance, order, scaled, generated, expected, custom] {
        assert_eq!(one.kind, Kind::Intent);
    }
}

#[test]
fn a_tmf921_document_is_taken_as_it_is() {
    let text = r#"{"@type":"Intent","id":"20011","name":"n","expression":{"@type":"E","iri":"i"},"isBundled":false}"#;
    let whole = mapped(text).unwrap();
    assert_eq!((whole.id.as_str(), whole.body.to_string().as_str()), ("20011", text));
    let specification = mapped(r#"{"@type":"IntentSpecification","name":"n"}"#).unwrap();
    assert_eq!(specification.kind, Kind::IntentSpecification);
}

#[test]
fn ids_are_stable_and_distinct() {
    let id = |file: &str, text: &str| map(Place { file, row: 7 }, &json::parse(text.as_bytes()).unwrap()).unwrap().id;
    assert_eq!(id("f.jsonl", r#"{"id":"a","text":"x"}"#), "125d55e0-c593-5b11-a61b-eeb16f2451b3");
    assert_eq!(id("f.jsonl", r#"{"id":"a","text":"x"}"#), id("f.jsonl", r#"{"id":"a","text":"y"}"#));
    assert_ne!(id("f.jsonl", r#"{"id":"a","text":"x"}"#), id("g.jsonl", r#"{"id":"a","text":"x"}"#));
    assert_ne!(id("f.jsonl", r#"{"id":"a","text":"x"}"#), id("f.jsonl", r#"{"text":"x"}"#));
}

#[test]
fn what_is_no_intent_is_refused_with_a_reason() {
    for (text, reason) in [
        ("[]", "a row is a JSON object"),
        (r#"{"id":"1"}"#, "demands nothing"),
        (r#"{"text":"  "}"#, "no text"),
        (r#"{"text":"t","operation":{"action":"DELETE"}}"#, "orders DELETE"),
        (r#"{"document":{"name":"n","expectation":[1]}}"#, "no identity"),
        (
            r#"{"document":{"intentExpectationId":"x","intent":{"qos":{"a":1},"networkSlice":{"sliceType":"BAD"}}}}"#,
            "slice type",
        ),
        (
            r#"{"intent":{"intent_type":"scaling","target":"a; rm -rf /","namespace":"n","replicas":1}}"#,
            "Kubernetes name",
        ),
        (r#"{"intent":{"intent_type":"scaling","target":"a","namespace":"n","replicas":-1}}"#, "replicas"),
        (r#"{"@type":"IntentCreateEvent","eventType":"IntentCreateEvent"}"#, "notification"),
        (r#"{"@type":"IntentReport","id":"1"}"#, "comes into being with its intent"),
        (r#"{"@type":"Intent","name":"n"}"#, "expression is required"),
        (r#"{"apiVersion":"v1","kind":"Pod"}"#, "NetworkIntent"),
    ] {
        let error = mapped(text).unwrap_err();
        assert!(error.message().contains(reason), "{text}: {error}");
    }
}
