//! Configuration: the network's data under namespaced keys (`namespace/key`), each a versioned JSON document.
//!
//! The class comes from the document's own `class`, else it is internal; the namespace `credentials` is always
//! restricted, that is write-only (RECORD 10: the effective class is the maximum).

use crate::canonical::canonicalise;
use crate::json::Lookup;
use crate::{Class, Columns, Error, Json, Kind, Prepared, Result, Subject, Tenant};

/// Documents here hold secrets: they are used by reference and never read back.
pub const CREDENTIALS: &str = "credentials";

/// `namespace/key`: lower-case namespace, then one or more segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigurationKey<'a> {
    pub namespace: &'a str,
    pub key: &'a str,
}

impl<'a> ConfigurationKey<'a> {
    pub fn parse(text: &'a str) -> Result<Self> {
        let shown = || text.chars().take(80).collect::<String>();
        let rule = "a configuration key reads namespace/key: the namespace of a-z, 0-9 and -, the key of letters, digits, \
                    '.', '_' and '-' in segments divided by /, together at most 256 bytes";
        let malformed = || Error::invalid("configuration-key-malformed", rule).with("key", shown());
        let (namespace, key) = text.split_once('/').ok_or_else(malformed)?;
        let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let begins = namespace.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let segment = |part: &str| {
            let spelled = part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
            !part.is_empty() && spelled && part != "." && part != ".."
        };
        if !begins || !namespace.bytes().all(lower) || !key.split('/').all(segment) || text.len() > 256 {
            return Err(malformed());
        }
        Ok(Self { namespace, key })
    }

    fn policy(&self) -> Option<Class> {
        (self.namespace == CREDENTIALS).then_some(Class::Restricted)
    }
}

/// A document to be stored under a key (which is the resource's id).
pub fn prepared(key: &str, document: &Json, tenant: &Tenant) -> Result<Prepared> {
    let key = ConfigurationKey::parse(key)?;
    if document.as_object().is_none() {
        let message = format!("a configuration document is a JSON object, not {}", document.type_name());
        return Err(Error::invalid("attribute-type", message).with("field", "$"));
    }
    let own = match document.get("class") {
        None => Kind::Configuration.default_class(),
        Some(Json::String(text)) => text.parse::<Class>().map_err(|error| error.with("field", "class"))?,
        Some(other) => {
            let message = format!("class is a string, not {}", other.type_name());
            return Err(Error::invalid("attribute-type", message).with("field", "class"));
        }
    };
    Ok(Prepared {
        document: canonicalise(document),
        class: key.policy().map_or(own, |policy| policy.max(own)),
        subject: Subject::of_tenant(tenant),
        columns: Columns::default(),
    })
}

/// One place where two documents differ; `None` = is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// A JSON pointer.
    pub path: String,
    pub old: Option<Json>,
    pub new: Option<Json>,
}

impl Difference {
    #[must_use]
    pub fn document(&self) -> Json {
        let mut shown = Json::object().with("path", self.path.as_str());
        for (name, value) in [("old", &self.old), ("new", &self.new)] {
            if let Some(value) = value {
                shown.set(name, value.clone());
            }
        }
        shown
    }
}

/// Where two documents differ, by value: in the order of the old one, then what is new. Arrays are compared by place.
#[must_use]
pub fn diff(old: &Json, new: &Json) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(Some(old), Some(new), &mut String::new(), &mut found);
    found
}

fn compare(old: Option<&Json>, new: Option<&Json>, path: &mut String, found: &mut Vec<Difference>) {
    match (old, new) {
        (Some(Json::Object(a)), Some(Json::Object(b))) => {
            let (in_a, in_b) = (Lookup::new(a), Lookup::new(b));
            for (name, value) in a {
                below(path, name, |path| compare(Some(value), in_b.get(name), path, found));
            }
            for (name, value) in b.iter().filter(|(name, _)| in_a.get(name).is_none()) {
                below(path, name, |path| compare(None, Some(value), path, found));
            }
        }
        (Some(Json::Array(a)), Some(Json::Array(b))) => {
            for at in 0..a.len().max(b.len()) {
                below(path, &at.to_string(), |path| compare(a.get(at), b.get(at), path, found));
            }
        }
        (Some(a), Some(b)) if a.same(b) => {}
        _ => found.push(Difference { path: path.clone(), old: old.cloned(), new: new.cloned() }),
    }
}

fn below(path: &mut String, token: &str, inner: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push('/');
    path.push_str(&token.replace('~', "~0").replace('/', "~1"));
    inner(path);
    path.truncate(length);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::json;
    use proptest::prelude::*;

    fn read(text: &str) -> Json {
        json::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_key_has_a_namespace() {
        assert_eq!(
            ConfigurationKey::parse("ran/cells/du-1.v2").ok(),
            Some(ConfigurationKey { namespace: "ran", key: "cells/du-1.v2" })
        );
        for text in ["", "ran", "/a", "ran/", "Ran/a", "ran//a", "ran/a b", "ran/../a", "ran/a\0", "-a/b", "ran/\u{e9}"]
        {
            assert_eq!(ConfigurationKey::parse(text).unwrap_err().code(), "configuration-key-malformed", "{text}");
        }
        assert!(ConfigurationKey::parse(&format!("ran/{}", "a".repeat(253))).is_err());
    }

    #[test]
    fn the_class_is_the_highest_that_applies() {
        let tenant = Tenant::new("t").unwrap();
        let class = |key: &str, text: &str| {
            prepared(key, &read(text), &tenant).map(|new| new.class).map_err(|error| error.code())
        };
        assert_eq!(class("ran/a", "{}"), Ok(Class::Internal));
        assert_eq!(class("ran/a", r#"{"class":"public"}"#), Ok(Class::Public));
        assert_eq!(class("ran/a", r#"{"class":"confidential"}"#), Ok(Class::Confidential));
        assert_eq!(class("credentials/db", r#"{"class":"public"}"#), Ok(Class::Restricted));
        assert_eq!(class("ran/a", r#"{"class":"secret"}"#), Err("class-unknown"));
        assert_eq!(class("ran/a", r#"{"class":1}"#), Err("attribute-type"));
        assert_eq!(class("ran/a", "[]"), Err("attribute-type"));
    }

    #[test]
    fn a_diff_names_every_place() {
        let differences = diff(
            &read(r#"{"a":1,"b":{"c":[1,2,3],"/":0},"d":1}"#),
            &read(r#"{"a":1.0,"b":{"c":[1,5],"/":1},"e":null}"#),
        );
        let shown: Vec<String> = differences.iter().map(|one| one.document().to_string()).collect();
        assert_eq!(
            shown,
            [
                r#"{"path":"/b/c/1","old":2,"new":5}"#,
                r#"{"path":"/b/c/2","old":3}"#,
                r#"{"path":"/b/~1","old":0,"new":1}"#,
                r#"{"path":"/d","old":1}"#,
                r#"{"path":"/e","new":null}"#,
            ]
        );
    }

    proptest! {
        #[test]
        fn a_diff_is_empty_exactly_when_the_documents_are_the_same(a in json::tests::any_json(), b in json::tests::any_json()) {
            prop_assert!(diff(&a, &a).is_empty());
            prop_assert_eq!(diff(&a, &b).is_empty(), a.same(&b));
        }
    }
}
