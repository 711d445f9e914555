//! The query string, decoded strictly: every parameter at most once, every number a number.

use model::{Error, Result};

/// Decoded pairs in the order they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

const PARAMETERS_MAX: usize = 64;

impl Query {
    pub fn parse(raw: Option<&str>) -> Result<Self> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for part in raw.unwrap_or_default().split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(
                    Error::invalid("parameter-repeated", "send each parameter once").with("parameter", shown(&name))
                );
            }
            pairs.push((name, value));
            if pairs.len() > PARAMETERS_MAX {
                return Err(Error::invalid("parameters-too-many", "a query has at most 64 parameters"));
            }
        }
        Ok(Self(pairs))
    }

    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }

    pub fn take_number<T: std::str::FromStr>(&mut self, name: &'static str) -> Result<Option<T>> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = if digits { text.parse().ok() } else { None };
        number.map(Some).ok_or_else(|| {
            let rule = "this parameter is a whole number that is not negative";
            Error::invalid("parameter-malformed", rule).with("parameter", name)
        })
    }

    /// What has not been taken: attribute filters.
    #[must_use]
    pub fn rest(self) -> Vec<(String, String)> {
        self.0
    }

    /// For surfaces without free filters: anything not taken is a mistake worth telling.
    pub fn finish(self, known: &str) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid("parameter-unknown", format!("the parameters here are: {known}"))
                .with("parameter", shown(name))),
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Percent-decoding with `+` for a space.
fn decode(text: &str) -> Result<String> {
    let malformed = || {
        let rule = "percent-encode the query as UTF-8: %XX with two hexadecimal digits";
        Error::invalid("query-malformed", rule).with("parameter", shown(text))
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (digits, after) = rest.split_at_checked(2).ok_or_else(malformed)?;
                let mut byte = [0];
                hex::decode_to_slice(digits, &mut byte).map_err(|_| malformed())?;
                bytes.push(byte[0]);
                rest = after;
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

/// Percent-encodes everything but unreserved characters.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parameters_are_decoded_taken_and_the_rest_is_named() {
        let mut query = Query::parse(Some("fields=a%2Cb&limit=10&name=x+y&flag")).unwrap();
        assert_eq!(query.take("fields").as_deref(), Some("a,b"));
        assert_eq!(query.take_number::<u32>("limit").unwrap(), Some(10));
        assert_eq!(query.clone().finish("fields").unwrap_err().fact("parameter"), Some("name"));
        assert_eq!(query.rest(), [("name".into(), "x y".into()), ("flag".into(), String::new())]);
    }

    #[test]
    fn broken_queries_are_refused() {
        for (raw, code) in [("a=%", "query-malformed"), ("a=%ff", "query-malformed"), ("a=1&a=2", "parameter-repeated")]
        {
            assert_eq!(Query::parse(Some(raw)).unwrap_err().code(), code, "{raw}");
        }
        for bad in ["-1", "+1", "", "1.0", "99999999999999999999"] {
            let mut query = Query::parse(Some(&format!("limit={}", encode(bad)))).unwrap();
            assert_eq!(query.take_number::<u32>("limit").unwrap_err().code(), "parameter-malformed", "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(text in ".*") {
            prop_assert_eq!(decode(&encode(&text)).unwrap(), text);
        }
        #[test]
        fn no_query_panics(raw in ".*") {
            let _ = Query::parse(Some(&raw));
        }
    }
}
