//! Request headers that carry meaning, read strictly; answer headers, written in one place.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use model::{Error, Position, Result, Version};

pub const LEDGER_POSITION: HeaderName = HeaderName::from_static("ledger-position");
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub const PURPOSE: HeaderName = HeaderName::from_static("purpose");
pub const TENANT: HeaderName = HeaderName::from_static("tenant");
pub const TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");
/// The code of an error whose body is another system's.
pub const ERROR_CODE: HeaderName = HeaderName::from_static("error-code");
pub const RESULT_COUNT: HeaderName = HeaderName::from_static("x-result-count");

/// Versions are stored in 63 bits and count up by one; no resource comes near.
pub const VERSION_MAX: Version = 1 << 62;

/// `If-Match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// `*`: whatever version, but there must be one.
    Any,
    Version(Version),
}

/// A header's text; refused when it is there twice or is not visible ASCII.
pub fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), rest) = (values.next(), values.next()) else { return Ok(None) };
    let plain = value.to_str().ok().filter(|_| rest.is_none());
    plain.map(Some).ok_or_else(|| {
        Error::invalid("header-malformed", "send this header once, in visible ASCII").with("header", name)
    })
}

pub fn if_match(headers: &HeaderMap) -> Result<Option<Match>> {
    let Some(text) = text(headers, &header::IF_MATCH)? else { return Ok(None) };
    if text.trim() == "*" {
        return Ok(Some(Match::Any));
    }
    let quoted = text.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let version =
        quoted.and_then(|digits| digits.parse().ok()).filter(|version: &Version| (1..=VERSION_MAX).contains(version));
    version.map(|version| Some(Match::Version(version))).ok_or_else(|| {
        let rule = "If-Match is * or the one quoted version from an ETag, for example \"3\"";
        Error::invalid("if-match-malformed", rule).with("header", "If-Match")
    })
}

/// `If-None-Match: *`: create only. Other values are for caches, which compare entity tags on reads.
pub fn if_none_match(headers: &HeaderMap) -> Result<Option<&str>> {
    text(headers, &header::IF_NONE_MATCH)
}

/// Whether a cache holds this version: `If-None-Match` is a star, or one of its tags, weak ones too, is the version's.
pub fn is_held(headers: &HeaderMap, version: Version) -> bool {
    let current = format!("\"{version}\"");
    let is_current = |tag: &str| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == current;
    let sent = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    sent.flat_map(|tags| tags.split(',')).any(|tag| is_current(tag.trim()))
}

pub fn position(headers: &HeaderMap) -> Result<Option<Position>> {
    text(headers, &LEDGER_POSITION)?.map(str::parse).transpose()
}

/// 1 to 255 visible characters.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>> {
    let Some(key) = text(headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    if key.is_empty() || key.len() > 255 {
        let rule = "an Idempotency-Key has 1 to 255 characters";
        return Err(Error::invalid("idempotency-key-malformed", rule).with("header", "Idempotency-Key"));
    }
    Ok(Some(key))
}

/// The media type without its parameters, in lower case. JSON is UTF-8: another `charset` is refused.
pub fn media_type(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(text) = text(headers, &header::CONTENT_TYPE)? else { return Ok(None) };
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let bare = parts.next().unwrap_or_default();
    for parameter in parts {
        let charset = parameter.strip_prefix("charset=").map(|value| value.trim_matches('"').to_owned());
        if charset.is_some_and(|charset| charset != "utf-8" && charset != "utf8") {
            return Err(unsupported(text, "application/json in UTF-8"));
        }
    }
    Ok(Some(bare))
}

/// JSON bodies are declared as such, or not declared at all.
pub fn require_json(headers: &HeaderMap) -> Result<()> {
    let declared = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if matches!(declared, None | Some(b"application/json")) {
        return Ok(());
    }
    match media_type(headers)?.as_deref() {
        Some("application/json") => Ok(()),
        other => Err(unsupported(other.unwrap_or_default(), "application/json")),
    }
}

pub fn unsupported(got: &str, known: &str) -> Error {
    let shown: String = got.chars().take(80).collect();
    Error::invalid("media-type-unsupported", format!("the body must be one of {known}"))
        .with("header", "Content-Type")
        .with("content-type", shown)
}

pub fn etag(version: Version) -> HeaderValue {
    // Digits and quotes are always a valid header value.
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// Any text as a header value; text that cannot be one is left out rather than sent broken.
pub fn put(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    match HeaderValue::from_str(text) {
        Ok(value) => drop(headers.insert(name, value)),
        Err(_) => tracing::debug!(%name, "a value does not fit a header"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn if_match_takes_a_star_or_one_version() {
        let read = |value| if_match(&with(header::IF_MATCH, value)).map_err(|error| error.code());
        assert_eq!(read("*"), Ok(Some(Match::Any)));
        assert_eq!(read("\"12\""), Ok(Some(Match::Version(12))));
        for bad in [
            "18446744073709551615",
            "\"9223372036854775807\"",
            "12",
            "\"0\"",
            "W/\"3\"",
            "\"1\", \"2\"",
            "\"x\"",
            "",
            "\"",
        ] {
            assert_eq!(read(bad), Err("if-match-malformed"), "{bad}");
        }
    }

    #[test]
    fn if_none_match_takes_a_star_and_lists_of_tags() {
        let held = |value| is_held(&with(header::IF_NONE_MATCH, value), 3);
        assert!(held("*") && held("\"3\"") && held("W/\"3\"") && held("\"1\", W/\"3\""));
        assert!(!held("\"4\"") && !held("3") && !held("\"33\"") && !held("") && !is_held(&HeaderMap::new(), 3));
    }

    #[test]
    fn json_is_recognised_with_parameters_and_others_are_named() {
        assert!(require_json(&HeaderMap::new()).is_ok());
        assert!(require_json(&with(header::CONTENT_TYPE, "Application/JSON; charset=utf-8")).is_ok());
        assert!(require_json(&with(header::CONTENT_TYPE, "application/json;charset=\"UTF-8\"")).is_ok());
        let latin = require_json(&with(header::CONTENT_TYPE, "application/json; charset=latin1")).unwrap_err();
        assert_eq!(latin.code(), "media-type-unsupported");
        let refused = require_json(&with(header::CONTENT_TYPE, "text/xml")).unwrap_err();
        assert_eq!(refused.fact("content-type"), Some("text/xml"));
    }

    #[test]
    fn a_header_sent_twice_is_refused() {
        let mut headers = with(IDEMPOTENCY_KEY, "a");
        headers.append(IDEMPOTENCY_KEY, HeaderValue::from_static("b"));
        assert_eq!(idempotency_key(&headers).unwrap_err().code(), "header-malformed");
    }
}
