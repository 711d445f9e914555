//! The query part of an address: percent-decoding, names and their alternative values.

use crate::{Error, Result};

/// Percent-decodes; `+` is a space.
pub fn decode(text: &str) -> Result<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'+' => out.push(b' '),
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let (high, low) = (digit(bytes.next()), digit(bytes.next()));
                let value = high.zip(low).map(|(high, low)| high * 16 + low).and_then(|value| u8::try_from(value).ok());
                out.push(value.ok_or_else(|| malformed(text))?);
            }
            b => out.push(b),
        }
    }
    String::from_utf8(out).map_err(|_| malformed(text))
}

/// Percent-encodes everything but unreserved characters (RFC 3986).
#[must_use]
pub fn encode(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn malformed(text: &str) -> Error {
    let shown: String = text.chars().take(80).collect();
    let message = "the query is not percent-encoded UTF-8; write % as %25";
    Error::invalid("query-malformed", message).with("part", shown)
}

/// All parameters of a query, decoded, in order.
pub fn pairs(raw_query: &str) -> Result<Vec<(String, String)>> {
    let parts = raw_query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

/// One parameter as a name (with its operator) and its alternative values. An encoded comma or semicolon is part of a
/// value, a bare one separates values.
pub(super) fn split(part: &str) -> Result<(String, Vec<String>)> {
    let Some((name, values)) = part.split_once('=') else { return by_sign(part) };
    let repeated = format!("{name}=");
    let alternatives = values.split([',', ';']).map(|value| decode(value.strip_prefix(&repeated).unwrap_or(value)));
    Ok((decode(name)?, alternatives.collect::<Result<_>>()?))
}

/// `name>5` and `name<5`: no equals sign, so strictly greater or less.
fn by_sign(part: &str) -> Result<(String, Vec<String>)> {
    let text = decode(part)?;
    let Some(at) = text.find(['<', '>']) else {
        let message = "a filter reads attribute=value; for a range attribute.gt=value";
        return Err(Error::invalid("filter-malformed", message).with("part", text.chars().take(80).collect::<String>()));
    };
    let suffix = if text[at..].starts_with('>') { ".gt" } else { ".lt" };
    Ok((format!("{}{suffix}", &text[..at]), vec![text[at + 1..].to_owned()]))
}
