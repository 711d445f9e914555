//! Our own JSON value: what came in is what goes out (RECORD 5).
//!
//! Numbers keep the literal they were received with, objects keep their members in the order received. Reading
//! refuses duplicate keys, lone surrogates and everything RFC 8259 does not allow, and names the place.

mod lookup;
mod parse;
pub(crate) mod place;
mod pointer;
mod serde;

pub(crate) use lookup::Lookup;
pub(crate) use parse::plain_len;
pub use parse::{Limits, parse, parse_with, stored};
pub use pointer::Pointer;
pub(crate) use pointer::index;

use bytes::Bytes;

/// A member of an object.
pub type Member = (String, Json);

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Json {
    #[default]
    Null,
    Bool(bool),
    /// The received literal.
    Number(Box<str>),
    String(String),
    Array(Vec<Self>),
    /// In the order received; keys are distinct.
    Object(Vec<Member>),
}

impl Json {
    #[must_use]
    pub fn object() -> Self {
        Self::Object(Vec::new())
    }

    /// A member of an object; `None` on anything else.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_object()?.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    #[must_use]
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        let Self::Object(members) = self else { return None };
        members.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Sets a member of an object; anything else becomes an object first.
    pub fn set(&mut self, key: &str, value: impl Into<Self>) {
        if !matches!(self, Self::Object(_)) {
            *self = Self::object();
        }
        if let Self::Object(members) = self {
            match members.iter_mut().find(|(name, _)| name == key) {
                Some((_, old)) => *old = value.into(),
                None => members.push((key.to_owned(), value.into())),
            }
        }
    }

    /// Builder form of [`Json::set`].
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Self>) -> Self {
        self.set(key, value);
        self
    }

    pub fn remove(&mut self, key: &str) -> Option<Self> {
        let Self::Object(members) = self else { return None };
        let at = members.iter().position(|(name, _)| name == key)?;
        Some(members.remove(at).1)
    }

    #[must_use]
    pub fn as_object(&self) -> Option<&[Member]> {
        if let Self::Object(members) = self { Some(members) } else { None }
    }

    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The literal of a number.
    #[must_use]
    pub fn as_number(&self) -> Option<&str> {
        if let Self::Number(literal) = self { Some(literal) } else { None }
    }

    /// Only when the literal is a plain integer in range: `3`, not `3.0`.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.parse().ok()
    }

    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.as_number()?.parse().ok()
    }

    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The word for a value's type, as used in messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    /// The same value in the sense of RFC 6902: members in any order, numbers by value.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a == b || numbers_same(a, b),
            (Self::Array(a), Self::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b)),
            (Self::Object(a), Self::Object(b)) => {
                let b_of = Lookup::new(b);
                a.len() == b.len() && a.iter().all(|(key, a)| b_of.get(key).is_some_and(|b| a.same(b)))
            }
            _ => self == other,
        }
    }

    /// Compact text, members in their own order.
    pub fn write(&self, out: &mut Vec<u8>) {
        crate::canonical::write_value(self, out, false);
    }

    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(256);
        self.write(&mut out);
        out.into()
    }
}

/// Compact text, for messages and logs of clear values only.
impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

/// Equal by value without rounding: sign, digits and exponent are compared, never a float.
fn numbers_same(a: &str, b: &str) -> bool {
    decimal_parts(a) == decimal_parts(b)
}

/// (negative, significant digits, exponent of the last digit); zero has no digits.
fn decimal_parts(literal: &str) -> Option<(bool, String, i64)> {
    let (negative, rest) = literal.strip_prefix('-').map_or((false, literal), |rest| (true, rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut exponent = exponent.parse::<i64>().ok()?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    let trimmed = significant.trim_end_matches('0');
    exponent = exponent.checked_add(i64::try_from(significant.len() - trimmed.len()).ok()?)?;
    if trimmed.is_empty() { Some((false, String::new(), 0)) } else { Some((negative, trimmed.to_owned(), exponent)) }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}
impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}
impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
impl From<i64> for Json {
    fn from(value: i64) -> Self {
        Self::Number(value.to_string().into())
    }
}
impl From<u64> for Json {
    fn from(value: u64) -> Self {
        Self::Number(value.to_string().into())
    }
}
impl From<Vec<Self>> for Json {
    fn from(items: Vec<Self>) -> Self {
        Self::Array(items)
    }
}
impl From<Vec<Member>> for Json {
    fn from(members: Vec<Member>) -> Self {
        Self::Object(members)
    }
}

#[cfg(test)]
pub(crate) mod tests;
