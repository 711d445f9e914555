//! Which JSON types a schema lets through, as a set.

use super::Node;
use model::Json;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u8);

const NAMES: [(&str, u8); 7] =
    [("null", 1), ("boolean", 2), ("object", 4), ("array", 8), ("string", 16), ("integer", 32), ("number", 96)];

impl Types {
    pub(super) const ALL: Self = Self(127);
    pub(super) const OBJECT: Self = Self(4);
    pub(super) const ARRAY: Self = Self(8);
    pub(super) const STRING: Self = Self(16);
    pub(super) const NUMBER: Self = Self(96);

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// What `type` says.
    pub(super) fn declared(value: &Json) -> Self {
        let one = |name: &str| NAMES.iter().find(|(known, _)| *known == name).map_or(0, |(_, bits)| *bits);
        match value {
            Json::String(name) => Self(one(name)),
            Json::Array(names) => Self(names.iter().filter_map(Json::as_str).fold(0, |all, name| all | one(name))),
            _ => Self::ALL,
        }
    }

    /// What a schema lets through by its own `type`, `enum` and `const`.
    pub(super) fn of(node: Node<'_>) -> Self {
        if node.json.as_bool() == Some(false) {
            return Self(0);
        }
        let declared = node.json.get("type").map_or(Self::ALL, Self::declared);
        match listed(node) {
            Some(values) => declared.and(Self(values.iter().fold(0, |all, value| all | Self::of_value(value).0))),
            None => declared,
        }
    }

    fn of_value(value: &Json) -> Self {
        let name = match value {
            Json::Null => "null",
            Json::Bool(_) => "boolean",
            Json::Object(_) => "object",
            Json::Array(_) => "array",
            Json::String(_) => "string",
            Json::Number(_) if value.as_f64().is_some_and(|number| number.fract() == 0.0) => "integer",
            Json::Number(_) => return Self(64),
        };
        Self::declared(&Json::from(name))
    }

    pub(super) fn words(self) -> String {
        let both = self.within(Self(127)) && self.meets(Self(64));
        let shown = |name: &str| if both { name != "integer" } else { name != "number" };
        let words = NAMES.iter().filter(|(name, bits)| shown(name) && self.meets(Self(*bits)));
        let words: Vec<&str> = words.map(|(name, _)| *name).collect();
        if words.is_empty() { "nothing".into() } else { words.join(", ") }
    }
}

/// The values of `enum` or `const`.
pub(super) fn listed(node: Node<'_>) -> Option<&[Json]> {
    match (node.json.get("const"), node.json.get("enum")) {
        (Some(one), _) => Some(std::slice::from_ref(one)),
        (None, Some(Json::Array(all))) => Some(all),
        _ => None,
    }
}
