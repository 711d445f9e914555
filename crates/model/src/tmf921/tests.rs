#![allow(clippy::unwrap_used, clippy::panic)]
use super::event::{EventType, body, notifications};
use super::*;
use crate::json;

const BASE: &str = "https://nephkeep.example/tmf-api/intentManagement/v5";

fn at(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

fn tenant() -> Tenant {
    Tenant::new("t1").unwrap()
}

fn made(kind: Kind, text: &str) -> Result<Json> {
    let tenant = tenant();
    let setting = Setting { base_href: BASE, tenant: &tenant, now: at("2026-11-25T10:00:00.1234Z") };
    create(kind, json::parse(text.as_bytes())?, "a b", &setting).map(|new| json::parse(&new.document).unwrap())
}

const SMALL: &str = r#"{"@type":"Intent","name":"n","expression":{"@type":"IntentExpression","iri":"urn:x"},"x":1.0}"#;

#[test]
fn a_new_intent_is_completed_and_keeps_what_it_brought() {
    let intent = made(Kind::Intent, SMALL).unwrap();
    let expected = r#"{"@type":"Intent","creationDate":"2026-11-25T10:00:00.123Z","expression":{"@type":"IntentExpression","iri":"urn:x"},"href":"https://nephkeep.example/tmf-api/intentManagement/v5/intent/a%20b","id":"a b","lastUpdate":"2026-11-25T10:00:00.123Z","lifecycleStatus":"Created","name":"n","statusChangeDate":"2026-11-25T10:00:00.123Z","x":1.0}"#;
    assert_eq!(intent.to_string(), expected);
}

#[test]
fn a_wrong_body_is_refused_naming_the_field() {
    let expression = r#""expression":{"@type":"JsonLdExpression","iri":"urn:x","expressionValue":1}"#;
    for (text, code, field) in [
        ("[]".to_owned(), "attribute-type", "$"),
        (r#"{"name":"n"}"#.into(), "attribute-missing", "@type"),
        (r#"{"@type":7}"#.into(), "attribute-type", "@type"),
        (r#"{"@type":"IntentSpecification","@baseType":"Intent"}"#.into(), "type-unknown", "@type"),
        (r#"{"@type":"Mine"}"#.into(), "type-unknown", "@type"),
        (r#"{"@type":"Intent"}"#.into(), "attribute-missing", "name"),
        (r#"{"@type":"Intent","name":"n"}"#.into(), "attribute-missing", "expression"),
        (r#"{"@type":"Intent","name":"n","expression":{"@type":"X"}}"#.into(), "attribute-missing", "expression.iri"),
        (
            r#"{"@type":"Intent","name":"n","expression":{"@type":"JsonLdExpression","iri":""}}"#.into(),
            "attribute-missing",
            "expression.expressionValue",
        ),
        (format!(r#"{{"@type":"Intent","name":null,{expression}}}"#), "attribute-type", "name"),
        (format!(r#"{{"@type":"Intent","name":"n","priority":1,{expression}}}"#), "attribute-type", "priority"),
        (format!(r#"{{"@type":"Intent","name":"n","isBundle":"no",{expression}}}"#), "attribute-type", "isBundle"),
        (
            format!(
                r#"{{"@type":"Intent","name":"n","relatedParty":[{{"@type":"R","role":"a"}},{{"@type":"R"}}],{expression}}}"#
            ),
            "attribute-missing",
            "relatedParty[1].role",
        ),
        (
            format!(r#"{{"@type":"Intent","name":"n","validFor":{{"endDateTime":"soon"}},{expression}}}"#),
            "attribute-value",
            "validFor.endDateTime",
        ),
        (
            format!(r#"{{"@type":"Intent","name":"n","intentSpecification":{{"@type":"R","id":"1"}},{expression}}}"#),
            "attribute-missing",
            "intentSpecification.name",
        ),
    ] {
        let error = made(Kind::Intent, &text).err().unwrap_or_else(|| panic!("{text} was accepted"));
        assert_eq!((error.code(), error.fact("field")), (code, Some(field)), "{text}");
    }
    assert_eq!(made(Kind::IntentReport, SMALL).unwrap_err().code(), "kind-not-creatable");
}

#[test]
fn a_subtype_names_its_base_or_its_schema() {
    for extra in [r#""@baseType":"Intent""#, r#""@schemaLocation":"https://x/RanIntent.schema.json""#] {
        let text = SMALL.replace(r#""@type":"Intent""#, &format!(r#""@type":"RanIntent",{extra}"#));
        assert!(made(Kind::Intent, &text).is_ok(), "{text}");
    }
}

#[test]
fn columns_hold_only_known_words_and_the_subject_is_the_customer() {
    let tenant = tenant();
    let party = r#"{"@type":"R","role":"Customer","partyOrPartyRole":{"@type":"PartyRef","id":"c7","name":"C"}}"#;
    let text = format!(
        r#"{{"@type":"ProbeIntent","name":"n","lifecycleStatus":"ACTIVE","priority":"for Mary","isBundle":true,"creationDate":"2026-01-01T00:00:00Z","expression":{{"@type":"T","iri":"i"}},"relatedParty":[{party}]}}"#
    );
    let document = json::parse(text.as_bytes()).unwrap();
    let new = prepared(Kind::Intent, &document, &tenant).unwrap();
    assert_eq!(new.subject, crate::Subject::of_customer(&tenant, "c7").unwrap());
    assert_eq!(new.columns.lifecycle_status.as_deref(), Some("ACTIVE"));
    assert_eq!(new.columns.priority, None);
    assert_eq!(new.columns.at_type.as_deref(), Some("ProbeIntent"));
    assert_eq!(new.columns.creation_date, Some(1_767_225_600_000_000));
    assert_eq!(new.class, crate::Class::Confidential);
    let other = prepared(Kind::Intent, &json::parse(SMALL.as_bytes()).unwrap(), &tenant).unwrap();
    assert_eq!(other.subject, crate::Subject::of_tenant(&tenant));
}

fn change(text: &str) -> Result<Json> {
    let tenant = tenant();
    let current = made(Kind::Intent, SMALL).unwrap();
    let mut next = current.clone();
    for (name, value) in json::parse(text.as_bytes()).unwrap().as_object().unwrap() {
        next.set(name, value.clone());
    }
    let setting = Setting { base_href: BASE, tenant: &tenant, now: at("2026-11-26T00:00:00Z") };
    changed(Kind::Intent, &current, next, &setting).map(|new| json::parse(&new.document).unwrap())
}

#[test]
fn a_change_moves_the_times_it_must_and_refuses_what_is_fixed() {
    let new = change(r#"{"@type":"Intent","description":"d"}"#).unwrap();
    assert_eq!(new.get("lastUpdate").unwrap().as_str(), Some("2026-11-26T00:00:00.000Z"));
    assert_eq!(new.get("statusChangeDate").unwrap().as_str(), Some("2026-11-25T10:00:00.123Z"));
    let new = change(r#"{"lifecycleStatus":"Active"}"#).unwrap();
    assert_eq!(new.get("statusChangeDate").unwrap().as_str(), Some("2026-11-26T00:00:00.000Z"));
    for (text, field) in [
        (r#"{"id":"x"}"#, "id"),
        (r#"{"href":"x"}"#, "href"),
        (r#"{"@type":"ProbeIntent"}"#, "@type"),
        (r#"{"creationDate":"2020-01-01T00:00:00Z"}"#, "creationDate"),
    ] {
        let error = change(text).unwrap_err();
        assert_eq!((error.code(), error.fact("field")), ("attribute-fixed", Some(field)));
    }
    assert_eq!(change(r#"{"name":1}"#).unwrap_err().code(), "attribute-type");
}

#[test]
fn a_report_mirrors_its_intent() {
    let intent = made(Kind::Intent, SMALL).unwrap();
    let report = report::derived(&intent);
    assert_eq!(report.get("expression"), intent.get("expression"));
    assert_eq!(report.get("creationDate"), intent.get("creationDate"));
    assert_eq!(report.get("id").unwrap().as_str(), Some("86231b7d-0a9b-57ee-809f-624e4091081a"));
    check::new_document(Kind::IntentReport, &report).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_change_tells_exactly_what_happened() {
    let intent = made(Kind::Intent, SMALL).unwrap();
    let names = |kind, old: Option<&Json>, new: Option<&Json>, with| -> Vec<&str> {
        notifications(kind, old, new, with).iter().map(|n| n.event.name()).collect()
    };
    let old = Some(&intent);
    assert_eq!(names(Kind::Intent, None, old, true), ["IntentCreateEvent", "IntentReportCreateEvent"]);
    assert_eq!(names(Kind::Intent, old, None, false), ["IntentDeleteEvent"]);
    assert!(names(Kind::Intent, old, old, true).is_empty());
    let status = change(r#"{"lifecycleStatus":"Active"}"#).unwrap();
    assert_eq!(names(Kind::Intent, old, Some(&status), true), ["IntentStatusChangeEvent"]);
    let both = change(r#"{"lifecycleStatus":"Active","name":"m"}"#).unwrap();
    assert_eq!(
        names(Kind::Intent, old, Some(&both), true),
        ["IntentAttributeValueChangeEvent", "IntentStatusChangeEvent", "IntentReportAttributeValueChange"]
    );
    assert!(names(Kind::IntentReport, None, old, false).is_empty());
    assert_eq!(names(Kind::IntentReport, old, Some(&status), false), ["IntentReportAttributeValueChange"]);
    assert_eq!(names(Kind::IntentSpecification, None, old, false), ["IntentSpecificationCreateEvent"]);
    assert!(names(Kind::Configuration, None, old, false).is_empty());
}

#[test]
fn a_notification_has_the_documents_shape() {
    let intent = made(Kind::Intent, SMALL).unwrap();
    let sent = body(EventType::IntentDelete, "e1", at("2026-11-25T10:00:00Z"), &intent);
    let event = sent.get("event").unwrap().get("intent").unwrap();
    let names: Vec<_> = event.as_object().unwrap().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["@type", "id", "href"]);
    assert_eq!(sent.get("eventType").unwrap().as_str(), Some("IntentDeleteEvent"));
    assert_eq!(sent.get("timeOccurred"), sent.get("eventTime"));
    let listener = EventType::ReportAttributeValueChange.listener();
    assert_eq!(listener, "/listener/intentReportAttributeValueChangeEvent");
    assert_eq!(EventType::from_name("IntentReportAttributeValueChange"), Some(EventType::ReportAttributeValueChange));
    assert_eq!(EventType::from_name("IntentReportAttributeValueChangeEvent"), None);
}
