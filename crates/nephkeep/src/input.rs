//! One document from a file or standard input, JSON or YAML.

use crate::{exit::Outcome, layout, yaml};
use model::{Error, Json};
use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::Path,
};

/// `-` or nothing reads standard input; a terminal there is a mistake, not a document.
pub fn document(path: Option<&Path>) -> Outcome<Json> {
    let path = path.filter(|path| *path != Path::new("-"));
    let bytes = match path {
        Some(path) => fs::read(path),
        None if io::stdin().is_terminal() => {
            let what = "name a file with the document, or send it to standard input";
            return Err(Error::invalid("document-missing", what).into());
        }
        None => {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        }
    };
    let shown = path.unwrap_or(Path::new("standard input"));
    let bytes =
        bytes.map_err(|error| layout::io_error("document-unreadable", "the document cannot be read", shown, error))?;
    if bytes.trim_ascii().is_empty() {
        return Err(Error::invalid("document-missing", "the document is empty").with("file", shown.display()).into());
    }
    Ok(parse(&bytes, path).map_err(|error| error.with("file", shown.display()))?)
}

/// By extension; without one, what does not begin like JSON is YAML.
fn parse(bytes: &[u8], path: Option<&Path>) -> model::Result<Json> {
    let extension = path.and_then(Path::extension).and_then(|extension| extension.to_str());
    let is_yaml = match extension {
        Some("yaml" | "yml") => true,
        Some(_) => false,
        None => !matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')),
    };
    if !is_yaml {
        return model::json::parse(bytes);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => yaml::parse(text),
        Err(error) => Err(Error::invalid("import-not-utf8", "the document is not UTF-8").caused_by(error)),
    }
}

/// `name=value` pairs as one object: an object, list, boolean, null or quoted text is JSON, everything else is text. A
/// number too: no attribute of an intent is a number, and priority=1 means the text.
pub fn assignments(pairs: &[String]) -> Outcome<Json> {
    let mut object = Json::object();
    for pair in pairs {
        let (name, value) = pair.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            Error::invalid("assignment-malformed", "an assignment reads name=value").with("given", pair)
        })?;
        if name.contains('.') {
            let what = "an attribute within another is not set like this: send a document with the outer one";
            return Err(Error::invalid("assignment-malformed", what).with("given", pair).into());
        }
        let parsed = model::json::parse(value.as_bytes()).ok().filter(|json| json.as_number().is_none());
        object.set(name, parsed.unwrap_or_else(|| Json::String(value.to_owned())));
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_document_is_read_by_its_look() {
        assert_eq!(parse(b"{\"a\":1}", None).unwrap(), parse(b"a: 1", None).unwrap());
        assert_eq!(
            parse(b"a: 1", Some(Path::new("x.yaml"))).unwrap(),
            parse(b"{\"a\":1}", Some(Path::new("x"))).unwrap()
        );
        assert!(parse(b"a: 1", Some(Path::new("x.json"))).is_err());
    }

    #[test]
    fn an_assignment_is_json_where_it_can_be() {
        let object =
            assignments(&["n=1".into(), "s=active".into(), "t=\"1\"".into(), "e=".into(), "b=true".into()]).unwrap();
        assert_eq!(object.to_bytes(), r#"{"n":"1","s":"active","t":"1","e":"","b":true}"#);
        assert!(assignments(&["=x".into()]).is_err());
        assert!(assignments(&["expression.iri=urn:y".into()]).is_err());
    }
}
