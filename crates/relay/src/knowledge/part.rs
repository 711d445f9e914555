//! A text in sections under headings, and sections in chunks that are worth finding.
//!
//! Rules `headings-1`: a chunk stays below one heading path; paragraphs are put together up to 1,200 characters (about
//! 200 to 250 tokens of English); a table, a list or a block of code stays whole up to 4,000 characters; a longer
//! paragraph is parted at the ends of sentences, else of words. The rules are deterministic: the same text gives the
//! same chunks.

use model::{Error, Result, knowledge::Chunk};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use std::str::FromStr;

/// Stored with each document: other rules, another name.
pub const CHUNKER: &str = "headings-1";
const CHUNK_CHARACTERS: usize = 1_200;
const WHOLE_CHARACTERS: usize = 4_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Markdown,
    /// Paragraphs divided by empty lines; no headings.
    Text,
}

impl FromStr for Format {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "markdown" => Ok(Self::Markdown),
            "text" => Ok(Self::Text),
            _ => Err(Error::invalid("attribute-value", "format is markdown or text").with("field", "format")),
        }
    }
}

/// What stands under one path of headings: blocks in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    pub heading: String,
    pub blocks: Vec<String>,
}

/// The title (the first heading of the first level) and the sections of a text.
#[must_use]
pub fn sections(format: Format, text: &str) -> (Option<String>, Vec<Section>) {
    match format {
        Format::Text => {
            let blocks = text.replace("\r\n", "\n").split("\n\n").map(|block| block.trim().to_owned()).collect();
            (None, vec![Section { heading: String::new(), blocks }])
        }
        Format::Markdown => markdown(text),
    }
}

fn markdown(text: &str) -> (Option<String>, Vec<Section>) {
    let options = Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut path: Vec<(HeadingLevel, String)> = Vec::new();
    let mut found = vec![Section { heading: String::new(), blocks: Vec::new() }];
    let (mut title, mut depth, mut heading): (Option<String>, usize, Option<String>) = (None, 0, None);
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { .. }) if depth == 0 => heading = Some(String::new()),
            Event::End(TagEnd::Heading(level)) if heading.is_some() => {
                let words = heading.take().unwrap_or_default().trim().to_owned();
                path.retain(|(above, _)| *above < level);
                if level == HeadingLevel::H1 && title.is_none() {
                    title = Some(words.clone());
                }
                path.push((level, words));
                let names: Vec<&str> = path.iter().map(|(_, words)| words.as_str()).collect();
                found.push(Section { heading: names.join(" > "), blocks: Vec::new() });
            }
            Event::Text(words) | Event::Code(words) if heading.is_some() => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&words);
                }
            }
            // A block of the outermost level, as it stands in the text: tables, lists and code whole.
            Event::Start(tag) => {
                if depth == 0 && !matches!(tag, Tag::MetadataBlock(_)) {
                    push_block(&mut found, &text[range]);
                }
                depth += 1;
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    (title, found)
}

fn push_block(found: &mut [Section], block: &str) {
    if let Some(section) = found.last_mut() {
        section.blocks.push(block.trim().to_owned());
    }
}

/// The chunks of sections, in order.
#[must_use]
pub fn chunks_of(sections: &[Section]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for section in sections {
        let mut text = String::new();
        let mut end = |text: &mut String| {
            if !text.trim().is_empty() {
                chunks.push(Chunk { heading: section.heading.clone(), text: std::mem::take(text) });
            }
            text.clear();
        };
        for block in section.blocks.iter().flat_map(|block| parted(block)) {
            if !text.is_empty() && text.chars().count() + block.chars().count() > CHUNK_CHARACTERS {
                end(&mut text);
            }
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(block);
        }
        end(&mut text);
    }
    chunks
}

/// A block in pieces that are not too long; most are one piece.
fn parted(block: &str) -> Vec<&str> {
    let whole = block.starts_with(['|', '-', '*', '`', '>']) || block.contains("\n|");
    let limit = if whole { WHOLE_CHARACTERS } else { CHUNK_CHARACTERS };
    let mut pieces = Vec::new();
    let mut rest = block;
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn markdown_chunks(text: &str) -> Vec<(String, String)> {
        chunks_of(&sections(Format::Markdown, text).1).into_iter().map(|chunk| (chunk.heading, chunk.text)).collect()
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
        assert_eq!(sections(Format::Markdown, text).0.as_deref(), Some("Radio"));
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_text_is_parted_the_same_way_twice(text in "\\PC{0,400}(\n#{1,3} [a-z]{1,8}\n\\PC{0,2000}){0,3}") {
            for format in [Format::Markdown, Format::Text] {
                let chunks = chunks_of(&sections(format, &text).1);
                prop_assert_eq!(&chunks, &chunks_of(&sections(format, &text).1));
                prop_assert!(chunks.iter().all(|chunk| !chunk.text.trim().is_empty()));
                prop_assert!(chunks.iter().all(|chunk| chunk.text.chars().count() <= WHOLE_CHARACTERS + CHUNK_CHARACTERS));
            }
        }
    }
}
