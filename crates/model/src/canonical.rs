//! The canonical form `canon=1` (RECORD 5): RFC 8785 member order and string escaping, numbers as received.
//!
//! Members are ordered by their names as UTF-16 code units. `1.0` stays `1.0`: a document comes back as it went in.

use crate::{Result, json, json::Json, json::Member};
use bytes::Bytes;
use std::cmp::Ordering;

/// The number of this form; stored beside everything that depends on it.
pub const CANON: u8 = 1;

#[must_use]
pub fn canonicalise(value: &Json) -> Bytes {
    canonicalise_sized(value, 2048)
}

/// Like [`canonicalise`] for a caller who knows roughly how long the text will be.
#[must_use]
pub fn canonicalise_sized(value: &Json, bytes: usize) -> Bytes {
    let mut out = Vec::with_capacity(bytes);
    write_value(value, &mut out, true);
    out.into()
}

/// Whether the bytes are a document in canonical form.
#[must_use]
pub fn is_canonical(bytes: &[u8]) -> bool {
    canonical_value(bytes).is_ok_and(|value| canonicalise_sized(&value, bytes.len()) == bytes)
}

fn canonical_value(bytes: &[u8]) -> Result<Json> {
    let limits = json::Limits { bytes: usize::MAX, ..json::Limits::default() };
    json::parse_with(bytes, &limits)
}

pub(crate) fn write_value(value: &Json, out: &mut Vec<u8>, ordered: bool) {
    match value {
        Json::Null => out.extend_from_slice(b"null"),
        Json::Bool(true) => out.extend_from_slice(b"true"),
        Json::Bool(false) => out.extend_from_slice(b"false"),
        Json::Number(literal) => out.extend_from_slice(literal.as_bytes()),
        Json::String(text) => write_string(text, out),
        Json::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_value(item, out, ordered);
            }
            out.push(b']');
        }
        Json::Object(members) => write_object(members, out, ordered),
    }
}

fn write_object(members: &[Member], out: &mut Vec<u8>, ordered: bool) {
    out.push(b'{');
    if !ordered || members.is_sorted_by(|a, b| utf16_order(&a.0, &b.0).is_le()) {
        write_members(members.iter(), out, ordered);
    } else {
        let mut sorted: Vec<&Member> = members.iter().collect();
        sorted.sort_unstable_by(|a, b| utf16_order(&a.0, &b.0));
        write_members(sorted.into_iter(), out, ordered);
    }
    out.push(b'}');
}

fn write_members<'a>(members: impl Iterator<Item = &'a Member>, out: &mut Vec<u8>, ordered: bool) {
    for (at, (key, value)) in members.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_string(key, out);
        out.push(b':');
        write_value(value, out, ordered);
    }
}

/// Byte order of UTF-8 is the order of code points; UTF-16 differs only where a surrogate (lead byte F0 and up) meets
/// U+E000..U+FFFF (lead byte EE or EF).
fn utf16_order(a: &str, b: &str) -> Ordering {
    let differing = a.bytes().zip(b.bytes()).find(|(a, b)| a != b);
    match differing {
        Some((a, b)) if a >= 0xf0 && matches!(b, 0xee | 0xef) => Ordering::Less,
        Some((a, b)) if b >= 0xf0 && matches!(a, 0xee | 0xef) => Ordering::Greater,
        Some((a, b)) => a.cmp(&b),
        None => a.len().cmp(&b.len()),
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let plain = json::plain_len(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some(special) = rest.get(plain) else { break };
        write_escape(*special, out);
        rest = &rest[plain + 1..];
    }
    out.push(b'"');
}

fn write_escape(b: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match b {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
        0x08 => out.extend_from_slice(b"\\b"),
        0x09 => out.extend_from_slice(b"\\t"),
        0x0a => out.extend_from_slice(b"\\n"),
        0x0c => out.extend_from_slice(b"\\f"),
        0x0d => out.extend_from_slice(b"\\r"),
        _ => out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[usize::from(b >> 4)], HEX[usize::from(b & 15)]]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn canon(text: &str) -> String {
        String::from_utf8(canonicalise(&json::parse(text.as_bytes()).unwrap()).to_vec()).unwrap()
    }

    #[test]
    fn golden_vectors() {
        // RFC 8785 3.2.3: the order of its own sample.
        let sample = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh",
            "1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
        let order = ["\\r", "1", "\u{80}", "\u{f6}", "\u{20ac}", "\u{1f600}", "\u{fb33}"];
        let text = canon(sample);
        let places: Vec<_> = order.iter().map(|key| text.find(&format!("\"{key}\":")).unwrap()).collect();
        assert!(places.is_sorted(), "{text}");

        for (given, wanted) in [
            (r#" { "b" : 1 , "a" : [ true , null ] } "#, r#"{"a":[true,null],"b":1}"#),
            (r#"{"iccid":8944500102198304826}"#, r#"{"iccid":8944500102198304826}"#),
            (r"[1.0,1E5,1e+5,-0,-0.0,0.10,1e400]", r"[1.0,1E5,1e+5,-0,-0.0,0.10,1e400]"),
            (r#""\u0061\/\u001f\u007f\u0000\"\\\b\f\n\r\t""#, "\"a/\\u001f\u{7f}\\u0000\\\"\\\\\\b\\f\\n\\r\\t\""),
            ("{\"\u{e000}\":1,\"\u{10000}\":2}", "{\"\u{10000}\":2,\"\u{e000}\":1}"),
            (r#"{"aa":1,"a":2,"":3}"#, r#"{"":3,"a":2,"aa":1}"#),
        ] {
            assert_eq!(canon(given), wanted);
            assert!(is_canonical(wanted.as_bytes()));
        }
        for other in [r#"{"b":1,"a":2}"#, r"[1, 2]", r#""\u0061""#, "[", ""] {
            assert!(!is_canonical(other.as_bytes()), "{other}");
        }
    }

    proptest! {
        #[test]
        fn member_order_is_that_of_utf16(a in "\\PC{0,6}", b in "\\PC{0,6}") {
            let by_units = a.encode_utf16().cmp(b.encode_utf16());
            prop_assert_eq!(utf16_order(&a, &b), by_units);
        }

        #[test]
        fn canonical_text_is_canonical(value in json::tests::any_json()) {
            let once = canonicalise(&value);
            let read = json::parse(&once).unwrap();
            prop_assert!(read.same(&value));
            prop_assert_eq!(&canonicalise(&read), &once);
            prop_assert!(is_canonical(&once));
        }
    }
}
