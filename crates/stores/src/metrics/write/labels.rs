//! The labels of one series: checked as Prometheus checks them, sorted, with the tenant forced in.

use super::Engine;
use crate::metrics::{scope::TENANT, wire};

const NAME: &str = "__name__";
/// As in Prometheus's own limits for targets, where they are set.
const LABELS_MOST: usize = 128;
const SHOWN_CHARS: usize = 120;

/// A label, and its reference pair in version 2.
type Label<'a> = (&'a str, &'a str, (u32, u32));

#[derive(Debug, Default)]
pub struct Labels<'a> {
    list: Vec<Label<'a>>,
}

impl<'a> Labels<'a> {
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// One more than can be stored is enough to refuse the series by.
    pub fn push(&mut self, name: &'a str, value: &'a str, references: (u32, u32)) {
        if self.list.len() <= LABELS_MOST {
            self.list.push((name, value, references));
        }
    }

    /// What they take written out.
    pub fn bytes(&self) -> usize {
        self.list.iter().map(|(name, value, _)| name.len() + value.len()).sum()
    }

    pub fn name(&self) -> Option<&'a str> {
        self.list.iter().find(|(name, _, _)| *name == NAME).map(|(_, value, _)| *value)
    }

    /// Sorts, puts the tenant in place of any other, and says what Prometheus would not store.
    pub fn settle(&mut self, tenant: &'a str, references: (u32, u32), engine: Engine) -> Result<(), &'static str> {
        self.list.retain(|(name, _, _)| *name != TENANT);
        self.list.push((TENANT, tenant, references));
        self.list.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let name = self.name().ok_or("it has no __name__")?;
        let any = engine.any_names;
        match () {
            () if self.list.len() > LABELS_MOST => Err("it has too many labels"),
            () if self.list.windows(2).any(|pair| pair[0].0 == pair[1].0) => Err("a label stands in it twice"),
            () if !(if any { !name.is_empty() } else { is_word(name, true) }) => Err("its name is not a metric's name"),
            () if !self
                .list
                .iter()
                .all(|(label, _, _)| if any { !label.is_empty() } else { is_word(label, false) }) =>
            {
                Err("a label's name is not a name")
            }
            () => Ok(()),
        }
    }

    /// As version 1 has them: a message each.
    pub fn encode_v1(&self, out: &mut Vec<u8>) {
        out.clear();
        // An empty value is an absent label.
        for (name, value, _) in self.list.iter().filter(|(_, value, _)| !value.is_empty()) {
            put_label(out, name, value);
        }
    }

    /// As version 2 has them: one packed field of references.
    pub fn encode_v2(&self, out: &mut Vec<u8>) {
        out.clear();
        let kept = || self.list.iter().filter(|(_, value, _)| !value.is_empty()).map(|(_, _, refs)| *refs);
        let length = kept().map(|(a, b)| wire::varint_len(a.into()) + wire::varint_len(b.into())).sum();
        wire::put_head(out, 1, length);
        for (name, value) in kept() {
            wire::put_varint(out, name.into());
            wire::put_varint(out, value.into());
        }
    }

    /// For messages: the name, else the first label's.
    pub fn shown(&self) -> String {
        let text =
            self.name().or_else(|| self.list.first().map(|(name, _, _)| *name)).unwrap_or("a series without labels");
        text.chars().take(SHOWN_CHARS).collect()
    }
}

/// One label of version 1 in field 1 of its owner.
pub fn put_label(out: &mut Vec<u8>, name: &str, value: &str) {
    let size = |text: &str| 1 + wire::varint_len(text.len() as u64) + text.len();
    wire::put_head(out, 1, size(name) + size(value));
    wire::put_bytes(out, 1, name.as_bytes());
    wire::put_bytes(out, 2, value.as_bytes());
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, in a metric's name with colons.
fn is_word(text: &str, colons: bool) -> bool {
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_' || (colons && b == b':');
    text.bytes().next().is_some_and(letter) && text.bytes().all(|b| letter(b) || b.is_ascii_digit())
}
