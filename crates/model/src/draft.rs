//! A TMF921 intent in the making: what every mapping fills in the same way (docs/guide/mapping.md).

use crate::Json;
use crate::json::Member;

/// Which vocabulary an expression is written in. Stored in documents: never changes.
pub(crate) const NATURAL_LANGUAGE: &str = "urn:nephkeep:expression:natural-language:1";
pub(crate) const NETWORK_INTENT: &str = "urn:nephkeep:expression:network-intent:1";
pub(crate) const SCALING: &str = "urn:nephkeep:expression:scaling:1";
pub(crate) const EXPECTATION: &str = "urn:nephkeep:expression:expectation:1";

/// Longest name taken from a sentence, in characters.
const NAME_MAX_CHARS: usize = 80;

#[derive(Debug)]
pub(crate) struct Draft {
    body: Vec<Member>,
    characteristics: Vec<Json>,
}

impl Draft {
    /// `value` is kept whole as the expression, so that a mapping loses nothing.
    pub(crate) fn new(name: &str, iri: &str, value: Json) -> Self {
        let expression =
            Json::object().with("@type", "IntentExpression").with("iri", iri).with("expressionValue", value);
        let body = vec![
            ("@type".into(), "Intent".into()),
            ("name".into(), short(name).into()),
            ("version".into(), "1.0".into()),
            ("expression".into(), expression),
        ];
        Self { body, characteristics: Vec::new() }
    }

    /// A body that is a TMF921 intent already, without the identity it had elsewhere.
    pub(crate) fn of(intent: &Json) -> Self {
        let mut intent = intent.clone();
        intent.remove("id");
        intent.remove("href");
        let characteristics = match intent.remove("characteristic") {
            Some(Json::Array(items)) => items,
            _ => Vec::new(),
        };
        let body = if let Json::Object(members) = intent { members } else { Vec::new() };
        Self { body, characteristics }
    }

    /// An attribute, where the source has one.
    #[must_use]
    pub(crate) fn text(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.body.push((name.into(), value.into()));
        }
        self
    }

    /// A word or a number of the source, as `priority` has to be a string.
    #[must_use]
    pub(crate) fn priority(self, value: Option<&Json>) -> Self {
        let text = value.and_then(|value| value.as_str().or_else(|| value.as_number())).map(str::to_lowercase);
        self.text("priority", text.as_deref())
    }

    #[must_use]
    pub(crate) fn period(mut self, start: Option<&str>, end: Option<&str>) -> Self {
        let mut period = Json::object();
        for (name, value) in [("startDateTime", start), ("endDateTime", end)] {
            if let Some(value) = value {
                period.set(name, value);
            }
        }
        if period != Json::object() {
            self.body.push(("validFor".into(), period));
        }
        self
    }

    #[must_use]
    pub(crate) fn customer(mut self, id: Option<&str>) -> Self {
        if let Some(id) = id {
            let party = Json::object()
                .with("@type", "PartyRef")
                .with("@referredType", "Organization")
                .with("id", id)
                .with("name", id);
            let related = Json::object()
                .with("@type", "RelatedPartyRefOrPartyRoleRef")
                .with("role", "customer")
                .with("partyOrPartyRole", party);
            self.body.push(("relatedParty".into(), vec![related].into()));
        }
        self
    }

    #[must_use]
    pub(crate) fn characteristic(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.characteristics.push(
                Json::object()
                    .with("@type", "StringCharacteristic")
                    .with("name", name)
                    .with("valueType", "string")
                    .with("value", value),
            );
        }
        self
    }

    #[must_use]
    pub(crate) fn finish(mut self) -> Json {
        if !self.characteristics.is_empty() {
            self.body.push(("characteristic".into(), self.characteristics.into()));
        }
        Json::Object(self.body)
    }
}

/// The beginning of a text, cut at a word, on one line.
fn short(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = line.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= NAME_MAX_CHARS {
        return line;
    }
    let cut: String = line.chars().take(NAME_MAX_CHARS).collect();
    cut.rsplit_once(' ').map_or(cut.clone(), |(whole, _)| whole.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_on_one_line() {
        assert_eq!(short(" a\u{0}b\n c "), "a b c");
        assert_eq!(short(&"word ".repeat(40)), "word ".repeat(16).trim_end());
        assert_eq!(short(&"x".repeat(100)), "x".repeat(80));
    }
}
