//! CloudEvents 1.0, written straight into bytes: no tree of values for any event.
//!
//! `id` is the position of the change, `source` names tenant and topic; together they name an event for ever. The data
//! is JSON; a sealed document travels as base64 of its envelope.

use super::topics::{Data, Topic};
use base64::{Engine, engine::general_purpose::STANDARD};
use ledger::Change;
use model::{Class, Hlc};
use std::io::Write;

pub const BATCH: &str = "application/cloudevents-batch+json";
pub const STRUCTURED: &str = "application/cloudevents+json";
pub const DATA: &str = "application/json";

/// Remembers the second it wrote last: most events of a page share it.
#[derive(Debug, Default)]
pub struct Encoder {
    second: Option<i64>,
    text: String,
}

/// The attributes of one event, for the headers of the binary form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    pub id: String,
    pub source: String,
    pub kind: String,
    pub subject: String,
    pub time: String,
    pub partition_key: String,
}

impl Attributes {
    /// As CloudEvents over HTTP writes them: what is not a visible character, and `"` and `%`, percent-encoded.
    #[must_use]
    pub fn headers(&self) -> [(&'static str, String); 7] {
        let plain = |text: &str| {
            text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
                match byte {
                    b'"' | b'%' => put_hex(&mut out, byte),
                    b'!'..=b'~' => out.push(char::from(byte)),
                    _ => put_hex(&mut out, byte),
                }
                out
            })
        };
        [
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", plain(&self.id)),
            ("ce-source", plain(&self.source)),
            ("ce-type", plain(&self.kind)),
            ("ce-subject", plain(&self.subject)),
            ("ce-time", plain(&self.time)),
            ("ce-partitionkey", plain(&self.partition_key)),
        ]
    }
}

fn put_hex(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend(['%', char::from(DIGITS[usize::from(byte >> 4)]), char::from(DIGITS[usize::from(byte & 15)])]);
}

impl Encoder {
    /// Appends the event in JSON, data included.
    pub fn event(&mut self, out: &mut Vec<u8>, topic: &Topic, change: &Change) {
        put(out, format_args!("{{\"specversion\":\"1.0\",\"id\":\"{}\",", change.position));
        put(out, format_args!("\"source\":\"/tenants/{}/topics/{}\",", change.key.tenant, topic.name));
        put(out, format_args!("\"type\":\"nephkeep.{}.{}\",\"subject\":", topic.name, change.action.as_str()));
        string(out, &change.key.id);
        out.extend_from_slice(b",\"time\":\"");
        self.time(out, change.hlc);
        put(out, format_args!("\",\"partitionkey\":\"{}/", change.key.kind));
        escaped(out, &change.key.id);
        out.extend_from_slice(b"\",\"datacontenttype\":\"application/json\",\"data\":");
        data(out, topic, change);
        out.push(b'}');
    }

    /// A JSON array of events.
    pub fn batch<'e>(&mut self, events: impl Iterator<Item = (&'e Topic, &'e Change)>) -> Vec<u8> {
        let mut out = vec![b'['];
        for (topic, change) in events {
            if out.len() > 1 {
                out.push(b',');
            }
            self.event(&mut out, topic, change);
        }
        out.push(b']');
        out
    }

    #[must_use]
    pub fn attributes(&mut self, topic: &Topic, change: &Change) -> Attributes {
        let mut time = Vec::new();
        self.time(&mut time, change.hlc);
        Attributes {
            id: change.position.to_string(),
            source: format!("/tenants/{}/topics/{}", change.key.tenant, topic.name),
            kind: format!("nephkeep.{}.{}", topic.name, change.action.as_str()),
            subject: change.key.id.to_string(),
            time: String::from_utf8_lossy(&time).into_owned(),
            partition_key: format!("{}/{}", change.key.kind, change.key.id),
        }
    }

    /// RFC 3339 in UTC, microseconds.
    fn time(&mut self, out: &mut Vec<u8>, hlc: u64) {
        let micros = i64::try_from(Hlc(hlc).micros()).unwrap_or(i64::MAX);
        let second = micros.div_euclid(1_000_000);
        if self.second != Some(second) {
            let at = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX);
            self.text = at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
            self.second = Some(second);
        }
        put(out, format_args!("{}.{:06}Z", self.text, micros.rem_euclid(1_000_000)));
    }
}

/// The data of an event. A restricted document is not given out, not even sealed.
pub fn data(out: &mut Vec<u8>, topic: &Topic, change: &Change) {
    put(out, format_args!("{{\"kind\":\"{}\",\"id\":", change.key.kind));
    string(out, &change.key.id);
    put(out, format_args!(",\"version\":{},\"action\":\"{}\"", change.version, change.action.as_str()));
    put(out, format_args!(",\"class\":\"{}\"", change.class));
    match topic.data {
        Data::Clear => {}
        Data::Audit => {
            out.extend_from_slice(b",\"principal\":");
            string(out, &change.principal);
        }
        Data::Sealed if change.stored.is_empty() || change.class == Class::Restricted => {
            out.extend_from_slice(b",\"sealed\":null");
        }
        Data::Sealed => {
            out.extend_from_slice(b",\"sealed\":\"");
            let from = out.len();
            out.resize(from + change.stored.len().div_ceil(3) * 4, b'=');
            // The room is exact, so nothing is left out.
            let written = STANDARD.encode_slice(&change.stored, &mut out[from..]).unwrap_or(0);
            out.truncate(from + written);
            out.push(b'"');
        }
    }
    out.push(b'}');
}

/// Writing to memory does not fail.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

fn escaped(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for c in text.chars() {
        match c {
            '"' | '\\' => put(out, format_args!("\\{c}")),
            c if c < ' ' => put(out, format_args!("\\u{:04x}", c as u32)),
            c => put(out, format_args!("{c}")),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::events::topics::{BUILT_IN, Topics};
    use bytes::Bytes;
    use ledger::ChangeAction;
    use model::{Incarnation, Json, Kind, Position, ResourceKey, Shard, Tenant, json::parse};
    use proptest::prelude::*;

    fn change(id: &str, principal: &str, stored: &[u8]) -> Change {
        let incarnation = Incarnation { ordinal: 1, random: 0x9f86_d081_884c_7d65 };
        Change {
            position: Position { shard: Shard(0), incarnation, n: 42 },
            hlc: Hlc::from_micros(1_795_600_000_000_123).0,
            key: ResourceKey { tenant: Tenant::new("acme").unwrap(), kind: Kind::Intent, id: id.into() },
            version: 3,
            class: Class::Confidential,
            action: ChangeAction::Updated,
            principal: principal.into(),
            content_tag: [0; 32],
            stored: Bytes::copy_from_slice(stored),
        }
    }

    fn written(topic: &str, change: &Change) -> String {
        let topics = Topics::read(BUILT_IN).unwrap();
        let mut out = Vec::new();
        Encoder::default().event(&mut out, topics.get(topic).unwrap(), change);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_member_of_an_event_is_a_field_of_its_registered_schema() {
        let schema = parse(crate::events::topics::SCHEMA.as_bytes()).unwrap();
        let fields = |record: &Json| -> Vec<String> {
            let fields = record.get("fields").and_then(Json::as_array).unwrap();
            fields.iter().map(|field| field.get("name").and_then(Json::as_str).unwrap().to_owned()).collect()
        };
        let attributes = schema.get("fields").and_then(Json::as_array).unwrap();
        let data = attributes.iter().find(|field| field.get("name") == Some(&Json::from("data"))).unwrap();
        let (outer, inner) = (fields(&schema), fields(data.get("type").unwrap()));
        let mut told = std::collections::BTreeSet::new();
        for topic in ["intent.lifecycle", "intent.document", "audit.recorded"] {
            let event = parse(written(topic, &change("i-1", "ann", &[1])).as_bytes()).unwrap();
            assert!(event.as_object().unwrap().iter().all(|(name, _)| outer.contains(name)), "{event}");
            told.extend(event.get("data").and_then(Json::as_object).unwrap().iter().map(|(name, _)| name.clone()));
        }
        assert_eq!(told.into_iter().collect::<Vec<_>>(), {
            let mut inner = inner;
            inner.sort();
            inner
        });
    }

    #[test]
    fn an_event_reads_as_it_always_did() {
        let common = "{\"specversion\":\"1.0\",\"id\":\"0.1-9f86d081884c7d65.42\",\"source\":\"/tenants/acme/topics/TOPIC\",\
            \"type\":\"nephkeep.TOPIC.updated\",\"subject\":\"i-1\",\"time\":\"2026-11-25T09:46:40.000123Z\",\
            \"partitionkey\":\"intent/i-1\",\"datacontenttype\":\"application/json\",\
            \"data\":{\"kind\":\"intent\",\"id\":\"i-1\",\"version\":3,\"action\":\"updated\",\"class\":\"confidential\"MORE}}";
        let more = [
            ("intent.lifecycle", ""),
            ("intent.document", ",\"sealed\":\"AQIDBA==\""),
            ("audit.recorded", ",\"principal\":\"ann\""),
        ];
        for (topic, more) in more {
            let expected = common.replace("TOPIC", topic).replace("MORE", more);
            assert_eq!(written(topic, &change("i-1", "ann", &[1, 2, 3, 4])), expected);
        }
    }

    #[test]
    fn a_restricted_document_and_a_deletion_have_nothing_sealed() {
        let restricted = Change { class: Class::Restricted, ..change("i", "p", b"secret") };
        assert!(written("intent.document", &restricted).contains("\"sealed\":null"));
        let deleted = Change { action: ChangeAction::Deleted, ..change("i", "p", b"") };
        assert!(
            written("intent.document", &deleted)
                .contains("\"action\":\"deleted\",\"class\":\"confidential\",\"sealed\":null")
        );
    }

    #[test]
    fn the_headers_say_what_the_structured_form_says() {
        let topics = Topics::read(BUILT_IN).unwrap();
        let (topic, change) = (topics.get("intent.lifecycle").unwrap(), change("i-1", "ann", b""));
        let attributes = Encoder::default().attributes(topic, &change);
        let event = parse(written("intent.lifecycle", &change).as_bytes()).unwrap();
        let said = |name: &str| event.get(name).and_then(Json::as_str).unwrap().to_owned();
        assert_eq!(attributes.id, said("id"));
        assert_eq!(attributes.source, said("source"));
        assert_eq!(attributes.kind, said("type"));
        assert_eq!((&attributes.subject, &attributes.time), (&said("subject"), &said("time")));
        assert_eq!(attributes.partition_key, said("partitionkey"));
        let odd = Attributes { subject: "a b\"%\u{e9}".into(), ..attributes };
        assert_eq!(odd.headers()[4], ("ce-subject", "a%20b%22%25%C3%A9".to_owned()));
    }

    proptest! {
        #[test]
        fn whatever_the_names_are_it_is_json_that_says_them(
            id in "\\PC{1,20}|[\"\\\\\u{1}\u{1f}a]{1,9}", principal in ".*", stored in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let change = change(&id, &principal, &stored);
            let audit = parse(written("audit.recorded", &change).as_bytes()).unwrap();
            prop_assert_eq!(audit.get("subject").and_then(Json::as_str), Some(id.as_str()));
            prop_assert_eq!(audit.pointer("/data/principal").and_then(Json::as_str), Some(principal.as_str()));
            let sealed = parse(written("intent.document", &change).as_bytes()).unwrap();
            let opened = sealed.pointer("/data/sealed").and_then(Json::as_str).map(|text| STANDARD.decode(text).unwrap());
            prop_assert_eq!(opened.unwrap_or_default(), stored);
        }
    }
}
