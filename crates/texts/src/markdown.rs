//! Markdown as sections: headings at any level, and the blocks of the outermost level as they stand in the text.

use crate::part::Parts;
use model::Result;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

pub(super) fn walk(text: &str, parts: &mut Parts) -> Result<()> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let (mut depth, mut heading): (usize, Option<String>) = (0, None);
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        match (&mut heading, event) {
            (None, Event::Start(Tag::Heading { .. })) if depth == 0 => heading = Some(String::new()),
            (Some(words), Event::End(TagEnd::Heading(level))) => {
                parts.heading(level as u8, words)?;
                heading = None;
            }
            (Some(words), Event::Text(more) | Event::Code(more) | Event::InlineMath(more)) => words.push_str(&more),
            (Some(words), Event::SoftBreak | Event::HardBreak) => words.push(' '),
            // Marks within a heading are no blocks.
            (Some(_), _) => {}
            // Tables, lists and code whole.
            (None, Event::Start(tag)) => {
                match tag {
                    Tag::MetadataBlock(_) => {}
                    Tag::Table(_) | Tag::List(_) | Tag::CodeBlock(_) | Tag::BlockQuote(_) if depth == 0 => {
                        parts.whole(&text[range]);
                    }
                    _ if depth == 0 => parts.judged(&text[range]),
                    _ => {}
                }
                depth += 1;
            }
            (None, Event::End(_)) => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    Ok(())
}
