//! Where in a document something is wrong, spelled as people and `fields` spell it: `relatedParty[0].role`.

use crate::Error;
use std::fmt::Write;

pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// Steps are given innermost first, as they are collected on the way up.
pub(crate) fn spell(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path.iter().rev() {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.extend(key.chars().take(80));
            }
            Step::Index(index) => {
                let _ = write!(text, "[{index}]");
            }
        }
    }
    text
}

/// A refusal on its way up: each level adds the name it stands under; the path is spelled only at the top.
pub(crate) struct Wrong(Box<(&'static str, String, Vec<Step>)>);

impl Wrong {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new((code, message.into(), Vec::new())))
    }

    pub(crate) fn under(mut self, name: &str) -> Self {
        self.0.2.push(Step::Key(name.to_owned()));
        self
    }

    pub(crate) fn at(mut self, index: usize) -> Self {
        self.0.2.push(Step::Index(index));
        self
    }
}

impl From<Wrong> for Error {
    fn from(wrong: Wrong) -> Self {
        let (code, message, path) = *wrong.0;
        Self::invalid(code, message).with("field", spell(&path))
    }
}
