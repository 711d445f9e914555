//! Which documents of a collection are meant, and which of their attributes are shown (TMF630).
//!
//! Filters: `name=v`, `name=v1,v2`, `name=v1;v2` and a repeated name mean *or*; different names mean *and*. Operators
//! are suffixes (`.eq .ne .gt .gte .lt .lte`) or their signs (`name>5`, `name>=5`). A path goes through arrays: any
//! element may match. `.regex` is refused. `fields` keeps `@type`, `id` and `href` of every object it goes through.

mod fields;
mod query;

pub use fields::Fields;
pub use query::{decode, encode, pairs};

use crate::json::Json;
use crate::{Error, Result};
use std::cmp::Ordering;

const CONDITIONS_MAX: usize = 32;
const VALUES_MAX: usize = 256;
const PARTS_MAX: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
}

/// A value to compare with, read once as everything it may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    pub text: String,
    number: Option<f64>,
    time: Option<jiff::Timestamp>,
}

/// One attribute against one or more values; any of them will do (none of them, for `Ne`).
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    pub path: String,
    pub operator: Operator,
    pub values: Vec<Wanted>,
}

/// All conditions must hold.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    pub conditions: Vec<Condition>,
}

impl Filter {
    /// Reads the query of a request; parameters in `reserved` (paging, `fields`) are not attributes.
    pub fn parse(raw_query: &str, reserved: &[&str]) -> Result<Self> {
        let mut filter = Self::default();
        for part in raw_query.split('&').filter(|part| !part.is_empty()) {
            let (name, values) = query::split(part)?;
            if !reserved.contains(&name.as_str()) {
                filter.add(name, values)?;
            }
        }
        Ok(filter)
    }

    fn add(&mut self, name: String, values: Vec<String>) -> Result<()> {
        let (path, operator) = operator_of(name)?;
        let values = values.into_iter().map(Wanted::new);
        let same = |known: &&mut Condition| known.path == path && known.operator == operator;
        match self.conditions.iter_mut().find(same) {
            Some(known) => known.values.extend(values),
            None => self.conditions.push(Condition { path, operator, values: values.collect() }),
        }
        let too_many = self.conditions.iter().any(|condition| condition.values.len() > VALUES_MAX);
        if too_many || self.conditions.len() > CONDITIONS_MAX {
            let message = format!("a query has at most {CONDITIONS_MAX} conditions of {VALUES_MAX} values each");
            return Err(Error::invalid("filter-malformed", message));
        }
        Ok(())
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Takes out the condition on an attribute with an operator, for a caller that answers it from a column.
    pub fn take(&mut self, path: &str, operator: Operator) -> Option<Condition> {
        let at = self.conditions.iter().position(|known| known.path == path && known.operator == operator)?;
        Some(self.conditions.remove(at))
    }

    #[must_use]
    pub fn matches(&self, document: &Json) -> bool {
        self.conditions.iter().all(|condition| condition.matches(document))
    }
}

impl Condition {
    #[must_use]
    pub fn matches(&self, document: &Json) -> bool {
        let holds = |value: &Json| self.values.iter().any(|wanted| self.operator.holds(value, wanted));
        match self.operator {
            Operator::Ne => {
                !any_at(document, &self.path, &|value| self.values.iter().any(|wanted| wanted.equals(value)))
            }
            _ => any_at(document, &self.path, &holds),
        }
    }
}

impl Operator {
    fn holds(self, value: &Json, wanted: &Wanted) -> bool {
        match self {
            Self::Eq => wanted.equals(value),
            Self::Ne => !wanted.equals(value),
            Self::Gt => wanted.order(value) == Some(Ordering::Greater),
            Self::Gte => matches!(wanted.order(value), Some(Ordering::Greater | Ordering::Equal)),
            Self::Lt => wanted.order(value) == Some(Ordering::Less),
            Self::Lte => matches!(wanted.order(value), Some(Ordering::Less | Ordering::Equal)),
        }
    }
}

impl Wanted {
    #[must_use]
    pub fn new(text: String) -> Self {
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        let time = text.parse().ok();
        Self { text, number, time }
    }

    #[must_use]
    pub fn equals(&self, value: &Json) -> bool {
        match value {
            Json::String(text) => *text == self.text,
            Json::Number(literal) => {
                **literal == *self.text
                    || (self.number.is_some() && value.same(&Json::Number(self.text.as_str().into())))
            }
            Json::Bool(flag) => self.text == if *flag { "true" } else { "false" },
            Json::Null => self.text == "null",
            Json::Array(_) | Json::Object(_) => false,
        }
    }

    /// How the document's value stands to this one: as numbers, as times, else as text.
    fn order(&self, value: &Json) -> Option<Ordering> {
        match value {
            Json::Number(_) => value.as_f64()?.partial_cmp(&self.number?),
            Json::String(text) => {
                if let (Some(wanted), Ok(found)) = (self.time, text.parse::<jiff::Timestamp>()) {
                    return Some(found.cmp(&wanted));
                }
                if let (Some(wanted), Ok(found)) = (self.number, text.parse::<f64>()) {
                    return found.partial_cmp(&wanted);
                }
                Some(text.as_str().cmp(&self.text))
            }
            _ => None,
        }
    }
}

/// Whether a value at a dotted path fulfils a test; arrays are gone through, a name that itself has dots is found.
pub(crate) fn any_at(value: &Json, path: &str, test: &dyn Fn(&Json) -> bool) -> bool {
    if let Json::Array(items) = value {
        return items.iter().any(|item| any_at(item, path, test));
    }
    if path.is_empty() {
        return test(value);
    }
    if let Some(member) = value.get(path)
        && any_at(member, "", test)
    {
        return true;
    }
    path.match_indices('.')
        .any(|(at, _)| value.get(&path[..at]).is_some_and(|member| any_at(member, &path[at + 1..], test)))
}

/// An attribute a condition may name. Few parts: a member's name may itself have dots, so each dot doubles the ways.
pub(crate) fn check_path(path: &str) -> Result<()> {
    if path.is_empty() || path.len() > 256 || path.split('.').count() > PARTS_MAX {
        let message = format!("a condition names an attribute of 1 to 256 bytes with at most {PARTS_MAX} parts");
        return Err(Error::invalid("filter-malformed", message));
    }
    Ok(())
}

fn operator_of(name: String) -> Result<(String, Operator)> {
    const SPELLINGS: [(&str, Operator); 8] = [
        (".gte", Operator::Gte),
        (".lte", Operator::Lte),
        (".gt", Operator::Gt),
        (".lt", Operator::Lt),
        (".eq", Operator::Eq),
        (".ne", Operator::Ne),
        (">", Operator::Gte),
        ("<", Operator::Lte),
    ];
    if name.ends_with(".regex") || name.ends_with('*') {
        let message = "regular expressions are not supported; use equality, a list of values or a range";
        return Err(Error::invalid("filter-unsupported", message).with("field", name));
    }
    let found = SPELLINGS.iter().find_map(|(suffix, operator)| Some((name.strip_suffix(suffix)?, *operator)));
    let (path, operator) = found.map_or((name.as_str(), Operator::Eq), |found| found);
    check_path(path)?;
    Ok((path.to_owned(), operator))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::json;
    use proptest::prelude::*;

    const DOCUMENT: &str = r#"{"@type":"Intent","id":"1","href":"h","name":"a, b","priority":"9","n":100.0,"when":"2026-03-01T12:00:00+02:00",
        "expression":{"@type":"E","iri":"urn:x","expressionValue":{"tio.latency":[{"v":1},{"v":2}]}},
        "relatedParty":[{"@type":"R","role":"user","p":{"id":"7"}},{"@type":"R","role":"customer"}],"on":true}"#;

    fn matches(query: &str) -> bool {
        Filter::parse(query, &["limit"]).unwrap().matches(&json::parse(DOCUMENT.as_bytes()).unwrap())
    }

    #[test]
    fn filters_match_what_they_say() {
        for query in [
            "",
            "limit=3",
            "name=a%2C+b",
            "name=x,a%2C%20b",
            "name=x&name=a%2C%20b",
            "expression.iri=urn:x",
            "relatedParty.role=customer",
            "relatedParty.p.id=7",
            "expression.expressionValue.tio.latency.v=2",
            "n=100",
            "n=1e2",
            "n.gt=99",
            "n.lte=100",
            "n%3E=100",
            "n%3E99",
            "n%3C101",
            "priority.lt=10",
            "when.gt=2026-03-01T09:59:59Z",
            "when.lte=2026-03-01T10:00:00Z",
            "on=true",
            "name.ne=x",
            "missing.ne=x",
            "@type=Intent&id=1",
            "id=2;1",
            "id=2;id=1",
        ] {
            assert!(matches(query), "{query}");
        }
        for query in [
            "name=a",
            "name=a, b",
            "missing=1",
            "n=101",
            "n.gt=100",
            "relatedParty.role.ne=user",
            "priority.gt=10",
            "on=false",
            "id=1&name=x",
            "when.gt=2026-03-01T10:00:00Z",
            "expression=urn:x",
            "relatedParty=user",
        ] {
            assert!(!matches(query), "{query}");
        }
    }

    #[test]
    fn what_is_not_supported_says_so() {
        for (query, code) in [
            ("name.regex=a", "filter-unsupported"),
            ("name*=a", "filter-unsupported"),
            ("=a", "filter-malformed"),
            ("name", "filter-malformed"),
            (&"a.".repeat(16), "filter-malformed"),
            (&format!("a={}", "b,".repeat(300)), "filter-malformed"),
            (&(0..40).map(|n| format!("a{n}=1&")).collect::<String>(), "filter-malformed"),
            ("name=%zz", "query-malformed"),
            ("name=%ff", "query-malformed"),
        ] {
            assert_eq!(Filter::parse(query, &[]).unwrap_err().code(), code, "{query}");
        }
    }

    #[test]
    fn a_condition_can_be_taken_out() {
        let mut filter = Filter::parse("lifecycleStatus=a,b&n.gt=1", &[]).unwrap();
        let taken = filter.take("lifecycleStatus", Operator::Eq).unwrap();
        assert_eq!(taken.values.iter().map(|wanted| wanted.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(filter.take("n", Operator::Eq).is_none());
        assert_eq!(filter.conditions.len(), 1);
    }

    #[test]
    fn fields_keep_the_identity() {
        let document = json::parse(DOCUMENT.as_bytes()).unwrap();
        let shown = |text: &str| Fields::parse(text).unwrap().project(&document).to_string();
        assert_eq!(shown("name"), r#"{"@type":"Intent","id":"1","href":"h","name":"a, b"}"#);
        assert_eq!(shown("none"), r#"{"@type":"Intent","id":"1","href":"h"}"#);
        assert_eq!(
            shown("expression.iri,relatedParty.p.id, on"),
            r#"{"@type":"Intent","id":"1","href":"h","expression":{"@type":"E","iri":"urn:x"},"relatedParty":[{"@type":"R","p":{"id":"7"}},{"@type":"R"}],"on":true}"#
        );
        assert_eq!(Fields::parse("").unwrap().project(&document), document);
        assert_eq!(Fields::parse("a,,b").unwrap_err().code(), "fields-malformed");
    }

    proptest! {
        #[test]
        fn any_query_is_answered_or_refused(query in "[a-z.=&,;%<>*0-9+]{0,40}", raw in any::<String>()) {
            let document = json::parse(DOCUMENT.as_bytes()).unwrap();
            for text in [query, raw] {
                if let Ok(filter) = Filter::parse(&text, &[]) {
                    let _ = filter.matches(&document);
                }
                if let Ok(fields) = Fields::parse(&text) {
                    let _ = fields.project(&document);
                }
            }
        }
    }
}
