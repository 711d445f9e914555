//! A text in sections under headings, and sections in chunks that are worth finding.
//!
//! Rules `headings-3`: a chunk stays below one path of headings; paragraphs are put together up to 1,200 characters
//! (about 200 to 250 tokens of English); a table, a list or a block of code stays whole up to 4,000 characters; a longer
//! paragraph is parted at the ends of sentences, else of words. A heading of more than 1,024 bytes is cut where it is a
//! heading and stands whole in the text; a heading with nothing below it is text. The rules are deterministic: the same
//! text gives the same chunks.
//!
//! Under `headings-2` a heading with nothing below it was lost, and lists that are numbered were parted like paragraphs;
//! under `headings-1` the marked words of a heading (emphasis, code, links) stood at the end of the section before.
//! Documents of them stay as they are stored until they are imported again, which makes a new version of them.

use super::{html, markdown, rst};
use model::{
    Error, Result,
    json::Limits,
    knowledge::{CHUNKS_MAX, Chunk, HEADING_MAX_BYTES, too_large, too_many},
};
use std::str::FromStr;

/// Stored with each document: other rules, another name.
pub const CHUNKER: &str = "headings-3";
const CHUNK_CHARACTERS: usize = 1_200;
const WHOLE_CHARACTERS: usize = 4_000;
/// Of each heading, where a path of them is too long; six of them are short enough.
const STEP_MAX_BYTES: usize = 160;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Markdown,
    Rst,
    Html,
    /// Paragraphs divided by empty lines; no headings.
    Text,
}

impl Format {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Markdown => "markdown",
            Self::Rst => "rst",
            Self::Html => "html",
            Self::Text => "text",
        }
    }
}

impl FromStr for Format {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::Markdown, Self::Rst, Self::Html, Self::Text];
        let rule = "format is markdown, rst, html or text";
        all.into_iter()
            .find(|format| format.as_str() == text)
            .ok_or_else(|| Error::invalid("attribute-value", rule).with("field", "format"))
    }
}

/// A paragraph, or what is worth more in one piece: a table, a list, code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub text: String,
    pub whole: bool,
}

impl Block {
    /// What it is, by how it begins: of a text that tells no more.
    #[must_use]
    pub fn judged(text: &str) -> Self {
        let whole = text.starts_with(['|', '-', '*', '`', '>']) || text.contains("\n|");
        Self { text: text.to_owned(), whole }
    }
}

/// What stands under one path of headings: blocks in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub heading: String,
    pub blocks: Vec<Block>,
}

/// The title (the first heading of the first level, else what HTML calls so) and the sections of a text.
pub fn sections(format: Format, text: &str) -> Result<(Option<String>, Vec<Section>)> {
    let mut parts = Parts::default();
    match format {
        Format::Text => text.replace("\r\n", "\n").split("\n\n").for_each(|block| parts.judged(block)),
        Format::Markdown => markdown::walk(text, &mut parts)?,
        Format::Rst => rst::walk(text, &mut parts)?,
        Format::Html => html::walk(text, &mut parts)?,
    }
    parts.end()
}

/// A heading that stands open.
#[derive(Debug)]
struct Step {
    level: u8,
    words: String,
    /// Its words stand with a section already.
    told: bool,
}

/// Sections as a text is walked through: as many as may become chunks, none without text.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    title: Option<String>,
    /// A title that is no heading, for a text without one.
    named: Option<String>,
    path: Vec<Step>,
    begun: bool,
    found: Vec<Section>,
}

impl Parts {
    pub(crate) fn heading(&mut self, level: u8, words: &str) -> Result<()> {
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        self.close(level);
        let cut = shortened(&words, HEADING_MAX_BYTES);
        if level == 1 && self.title.is_none() && !words.is_empty() {
            self.title = Some(cut.clone());
        }
        if !words.is_empty() {
            self.path.push(Step { level, words: cut, told: words.len() > HEADING_MAX_BYTES });
        }
        self.begun = false;
        if words.len() > HEADING_MAX_BYTES {
            self.paragraph(&words);
        }
        // Each section becomes one chunk at least.
        if self.found.len() > CHUNKS_MAX { Err(too_many()) } else { Ok(()) }
    }

    /// Headings from this level on end; one with nothing below it is text of the section above.
    fn close(&mut self, level: u8) {
        let first = self.path.iter().position(|step| step.level >= level).unwrap_or(self.path.len());
        let closed = self.path.split_off(first);
        let untold: Vec<Step> = closed.into_iter().filter(|step| !step.told).collect();
        if !untold.is_empty() {
            self.begun = false;
            untold.iter().for_each(|step| self.paragraph(&step.words));
        }
    }

    pub(crate) fn end(mut self) -> Result<(Option<String>, Vec<Section>)> {
        self.close(0);
        if self.found.len() > CHUNKS_MAX { Err(too_many()) } else { Ok((self.title.or(self.named), self.found)) }
    }

    pub(crate) fn named(&mut self, words: &str) {
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.named.is_none() && !words.is_empty() {
            self.named = Some(shortened(&words, HEADING_MAX_BYTES));
        }
    }

    pub(crate) fn paragraph(&mut self, text: &str) {
        self.block(Block { text: text.trim().to_owned(), whole: false });
    }

    pub(crate) fn whole(&mut self, text: &str) {
        self.block(Block { text: text.trim_matches(['\n', '\r']).trim_end().to_owned(), whole: true });
    }

    pub(crate) fn judged(&mut self, text: &str) {
        self.block(Block::judged(text.trim()));
    }

    fn block(&mut self, block: Block) {
        if block.text.trim().is_empty() {
            return;
        }
        if !self.begun {
            self.begun = true;
            let (heading, cut) = joined(&self.path);
            self.path
                .iter_mut()
                .filter(|step| !cut || step.words.len() <= STEP_MAX_BYTES)
                .for_each(|step| step.told = true);
            self.found.push(Section { heading, blocks: Vec::new() });
        }
        if let Some(section) = self.found.last_mut() {
            section.blocks.push(block);
        }
    }
}

/// And whether steps of it had to be cut.
fn joined(path: &[Step]) -> (String, bool) {
    let whole = path.iter().map(|step| step.words.as_str()).collect::<Vec<_>>().join(" > ");
    if whole.len() <= HEADING_MAX_BYTES {
        return (whole, false);
    }
    (path.iter().map(|step| shortened(&step.words, STEP_MAX_BYTES)).collect::<Vec<_>>().join(" > "), true)
}

/// Cut between characters, and marked as cut.
pub(crate) fn shortened(words: &str, most: usize) -> String {
    if words.len() <= most {
        return words.to_owned();
    }
    let end = (0..=most - '…'.len_utf8()).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", words[..end].trim_end())
}

/// The chunks of sections, in order; `document-too-large` as soon as they are more than a document may have.
pub fn chunks_of(sections: &[Section]) -> Result<Vec<Chunk>> {
    let mut chunks = Chunks::default();
    for section in sections {
        let (mut text, mut characters) = (String::new(), 0);
        for block in section.blocks.iter().flat_map(parted).filter(|block| !block.is_empty()) {
            let more = block.chars().count();
            if !text.is_empty() && characters + more > CHUNK_CHARACTERS {
                chunks.push(&section.heading, std::mem::take(&mut text))?;
                characters = 0;
            }
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(block);
            characters += more + 2;
        }
        chunks.push(&section.heading, text)?;
    }
    Ok(chunks.made)
}

#[derive(Debug, Default)]
struct Chunks {
    made: Vec<Chunk>,
    bytes: usize,
}

impl Chunks {
    fn push(&mut self, heading: &str, text: String) -> Result<()> {
        if text.trim().is_empty() {
            return Ok(());
        }
        self.bytes += heading.len() + text.len();
        if self.bytes > Limits::default().bytes {
            return Err(too_large(self.bytes));
        }
        if self.made.len() == CHUNKS_MAX {
            return Err(too_many());
        }
        self.made.push(Chunk { heading: heading.to_owned(), text });
        Ok(())
    }
}

/// A block in pieces that are not too long; most are one piece.
fn parted(block: &Block) -> Vec<&str> {
    let limit = if block.whole { WHOLE_CHARACTERS } else { CHUNK_CHARACTERS };
    let mut pieces = Vec::new();
    let mut rest = block.text.as_str();
    while let Some((end, _)) = rest.char_indices().nth(limit) {
        let head = &rest[..end];
        let sentence = head.rfind(['\n']).or_else(|| head.rfind(". ").map(|at| at + 1));
        let cut = sentence.or_else(|| head.rfind(' ')).filter(|at| *at > 0).unwrap_or(end);
        pieces.push(rest[..cut].trim_end());
        rest = rest[cut..].trim_start();
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn markdown_chunks(text: &str) -> Vec<(String, String)> {
        let chunks = chunks_of(&sections(Format::Markdown, text).unwrap().1).unwrap();
        chunks.into_iter().map(|chunk| (chunk.heading, chunk.text)).collect()
    }

    #[test]
    fn chunks_stand_under_their_headings_and_tables_stay_whole() {
        let text = "---\nlayout: x\n---\nBefore.\n\n# Radio\nOne.\n\nTwo.\n\n## Cells\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n# Core\n```\n# no heading\n```\n";
        let chunks = markdown_chunks(text);
        let shown: Vec<(&str, &str)> = chunks.iter().map(|(heading, text)| (heading.as_str(), text.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("", "Before."),
                ("Radio", "One.\n\nTwo."),
                ("Radio > Cells", "| a | b |\n|---|---|\n| 1 | 2 |"),
                ("Core", "```\n# no heading\n```"),
            ]
        );
        assert_eq!(sections(Format::Markdown, text).unwrap().0.as_deref(), Some("Radio"));
    }

    #[test]
    fn a_long_paragraph_is_parted_at_sentences_and_nothing_is_lost() {
        let text = "The cell reports its load to the controller. ".repeat(100);
        let chunks = markdown_chunks(&text);
        assert!(chunks.len() >= 3 && chunks.iter().all(|(_, text)| text.len() <= CHUNK_CHARACTERS));
        assert!(chunks.iter().all(|(_, text)| text.ends_with('.')), "{chunks:?}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let joined = chunks.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" ");
        assert_eq!(words(&joined), words(&text));
    }

    #[test]
    fn the_marked_words_of_a_heading_stand_in_the_heading_and_nowhere_else() {
        let text = "# The *A3* event\n\nOne.\n\nSetting `offset` of\n[neighbours](x)\n---\n\nTwo.\n";
        let shown = [("The A3 event", "One."), ("The A3 event > Setting offset of neighbours", "Two.")];
        assert_eq!(markdown_chunks(text), shown.map(|(heading, text)| (heading.to_owned(), text.to_owned())));
        assert_eq!(sections(Format::Markdown, text).unwrap().0.as_deref(), Some("The A3 event"));
    }

    #[test]
    fn headings_are_cut_where_they_are_headings_and_whole_in_the_text() {
        let long = "größe ".repeat(300);
        let text = format!("# {long}\n## {long}\nText.\n");
        let chunks = markdown_chunks(&text);
        assert!(chunks.iter().all(|(heading, _)| heading.len() <= HEADING_MAX_BYTES), "{chunks:?}");
        let words = chunks.iter().map(|(_, text)| text.split_whitespace().count()).sum::<usize>();
        assert_eq!(words, 601);
        assert!(sections(Format::Markdown, &text).unwrap().0.unwrap().ends_with('…'));
    }

    /// A long heading over many small sections once took gigabytes.
    #[test]
    fn more_than_a_document_may_have_is_refused_before_it_is_made() {
        let long = format!("# {}\n", "x".repeat(500_000));
        let many = "##\nx\n".repeat(80_000);
        let refused = sections(Format::Markdown, &format!("{long}{many}")).unwrap_err();
        assert_eq!((refused.code(), refused.fact("limit-pieces")), ("document-too-large", Some("10000")));
        let section = Section { heading: "x".repeat(1_000), blocks: vec![Block::judged(&"y".repeat(1_100)); 2_000] };
        assert_eq!(chunks_of(&[section]).unwrap_err().fact("limit-bytes"), Some("1048576"));
        let section = Section { heading: String::new(), blocks: vec![Block::judged("x")] };
        assert_eq!(chunks_of(&vec![section; CHUNKS_MAX + 1]).unwrap_err().code(), "document-too-large");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_text_is_parted_the_same_way_twice(text in "\\PC{0,400}(\n#{1,3} [a-z]{1,8}\n\\PC{0,2000}){0,3}") {
            for format in [Format::Markdown, Format::Rst, Format::Html, Format::Text] {
                let chunks = chunks_of(&sections(format, &text).unwrap().1).unwrap();
                prop_assert_eq!(&chunks, &chunks_of(&sections(format, &text).unwrap().1).unwrap());
                prop_assert!(chunks.iter().all(|chunk| !chunk.text.trim().is_empty()));
                prop_assert!(chunks.iter().all(|chunk| chunk.text.chars().count() <= WHOLE_CHARACTERS + CHUNK_CHARACTERS));
            }
        }
    }
}
