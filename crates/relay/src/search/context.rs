//! Passages for a prompt: as many of the best as fit a budget of tokens, numbered, each with what it is cited by.

use super::Passage;

/// Of English text; a rough measure is enough to stay within a prompt.
const CHARACTERS_PER_TOKEN: usize = 4;

#[derive(Debug, Clone, PartialEq)]
pub struct Cited {
    /// From 1, as it stands before the passage.
    pub number: u64,
    pub citation: String,
    pub tokens: u64,
    pub passage: Passage,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Context {
    pub cited: Vec<Cited>,
    /// Of the whole text, estimated.
    pub tokens: u64,
    /// Passages that did not fit.
    pub left_out: u64,
}

impl Context {
    /// The best first; one that does not fit leaves its room to the next.
    #[must_use]
    pub fn within(passages: Vec<Passage>, budget: u64) -> Self {
        let mut context = Self::default();
        for passage in passages {
            let number = context.cited.len() as u64 + 1;
            let heading = if passage.heading.is_empty() { &passage.title } else { &passage.heading };
            let citation = format!("{}: {}, {heading}", passage.source, passage.path);
            let characters = block(number, &citation, &passage.text).chars().count();
            let tokens = characters.div_ceil(CHARACTERS_PER_TOKEN) as u64;
            if context.tokens + tokens > budget {
                context.left_out += 1;
                continue;
            }
            context.tokens += tokens;
            context.cited.push(Cited { number, citation, tokens, passage });
        }
        context
    }

    /// Ready for a prompt: each passage under its number and citation, an empty line between two.
    #[must_use]
    pub fn text(&self) -> String {
        let blocks = self.cited.iter().map(|cited| block(cited.number, &cited.citation, &cited.passage.text));
        blocks.collect::<Vec<_>>().join("\n\n")
    }
}

fn block(number: u64, citation: &str, text: &str) -> String {
    format!("[{number}] {citation}\n{text}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use model::{Class, Incarnation, Position, Shard};

    fn passage(text: &str) -> Passage {
        Passage {
            id: "i".into(),
            source: "s".into(),
            path: "p.md".into(),
            title: "T".into(),
            heading: String::new(),
            text: text.into(),
            chunk: 0,
            score: 1.0,
            parts: super::super::Parts::default(),
            class: Class::Internal,
            version: 1,
            position: Position { shard: Shard(0), incarnation: Incarnation { ordinal: 1, random: 1 }, n: 1 },
        }
    }

    #[test]
    fn what_does_not_fit_leaves_its_room_to_the_next_and_the_numbers_have_no_gap() {
        let passages = vec![passage("first"), passage(&"long ".repeat(100)), passage("third")];
        let context = Context::within(passages, 20);
        assert_eq!(context.text(), "[1] s: p.md, T\nfirst\n\n[2] s: p.md, T\nthird");
        assert_eq!((context.left_out, context.tokens, context.cited[1].number), (1, 10, 2));
        assert_eq!(Context::within(vec![passage("first")], 4).cited.len(), 0);
    }
}
