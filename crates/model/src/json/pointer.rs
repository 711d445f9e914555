//! JSON pointers (RFC 6901) into a [`Json`].

use super::Json;
use crate::{Error, Result};

/// The unescaped reference tokens of a pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    pub tokens: Vec<String>,
}

impl Pointer {
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self { tokens: Vec::new() });
        }
        let Some(rest) = text.strip_prefix('/') else { return Err(malformed(text)) };
        let tokens = rest.split('/').map(|token| unescape(token).ok_or_else(|| malformed(text)));
        Ok(Self { tokens: tokens.collect::<Result<_>>()? })
    }

    /// The container of the last token, and that token; `None` for the whole document.
    #[must_use]
    pub fn split_last(&self) -> Option<(&[String], &str)> {
        self.tokens.split_last().map(|(last, rest)| (rest, last.as_str()))
    }
}

fn malformed(text: &str) -> Error {
    let shown: String = text.chars().take(80).collect();
    let rule = "a JSON pointer is empty or begins with /, and ~ stands only in ~0 and ~1";
    Error::invalid("pointer-malformed", rule).with("path", shown)
}

fn unescape(token: &str) -> Option<String> {
    let mut out = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '~' { chars.next() } else { None }) {
            ('~', Some('0')) => out.push('~'),
            ('~', Some('1')) => out.push('/'),
            ('~', _) => return None,
            (c, _) => out.push(c),
        }
    }
    Some(out)
}

/// An array index as RFC 6901 spells it: no sign, no leading zero.
#[must_use]
pub(crate) fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
    if plain { token.parse().ok() } else { None }
}

impl Json {
    /// The value a list of unescaped tokens points at.
    #[must_use]
    pub fn at(&self, tokens: &[String]) -> Option<&Self> {
        tokens.iter().try_fold(self, |value, token| match value {
            Self::Object(_) => value.get(token),
            Self::Array(items) => items.get(index(token)?),
            _ => None,
        })
    }

    #[must_use]
    pub fn at_mut(&mut self, tokens: &[String]) -> Option<&mut Self> {
        tokens.iter().try_fold(self, |value, token| match value {
            Self::Object(_) => value.get_mut(token),
            Self::Array(items) => items.get_mut(index(token)?),
            _ => None,
        })
    }

    /// The value at a JSON pointer; `None` when the pointer is malformed or points at nothing.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&Self> {
        self.at(&Pointer::parse(pointer).ok()?.tokens)
    }

    /// The value under member names, one per level: `dig(&["expression", "iri"])`.
    #[must_use]
    pub fn dig(&self, names: &[&str]) -> Option<&Self> {
        names.iter().try_fold(self, |value, name| value.get(name))
    }
}
