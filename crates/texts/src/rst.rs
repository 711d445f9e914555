//! reStructuredText as sections: titles by their adornments, paragraphs, lists, tables and literal blocks, and what
//! directives say.
//!
//! A reader of our own: the crates there are either refuse a document for one construct they do not know, or render
//! it. Inline marks stay as they stand, as in Markdown. Left out are comments, link targets, and directives that hold no
//! text of their own (`toctree`, `include`, `raw`): no other file is opened.

mod block;
mod directive;

use crate::part::Parts;
use model::Result;

/// Quotations in quotations beyond this stay in one block: each level looks at its lines again.
const DEPTH: usize = 8;

pub(crate) fn walk(text: &str, parts: &mut Parts) -> Result<()> {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    Reader { parts, styles: Vec::new() }.body(&lines, 0)
}

/// An adornment's character, and whether it stands above the title too: the order in which they come is their level.
type Style = (char, bool);

struct Reader<'p> {
    parts: &'p mut Parts,
    styles: Vec<Style>,
}

impl Reader<'_> {
    /// Blocks one after another. Sections only begin at the outermost level.
    fn body(&mut self, lines: &[&str], depth: usize) -> Result<()> {
        let mut at = 0;
        while at < lines.len() {
            let rest = &lines[at..];
            at += if rest[0].is_empty() {
                1
            } else if depth == 0
                && let Some(taken) = self.title(rest)?
            {
                taken
            } else {
                self.block(rest, depth)?
            };
        }
        Ok(())
    }

    /// How many lines a title takes, if one stands here.
    fn title(&mut self, lines: &[&str]) -> Result<Option<usize>> {
        let line = |at: usize| lines.get(at).copied().unwrap_or_default();
        if let Some(character) = adornment(line(0)) {
            let is = !line(1).is_empty() && line(0) == line(2) && long_enough(line(0), line(1).trim());
            if is && adornment(line(1)).is_none() {
                self.heading((character, true), line(1))?;
                return Ok(Some(3));
            }
            // A transition; shorter ones are text.
            return Ok((line(0).len() >= 4 && line(1).is_empty()).then_some(1));
        }
        let under = adornment(line(1)).filter(|_| long_enough(line(1), line(0)) && indented(line(0)) == 0);
        let Some(character) = under else { return Ok(None) };
        self.heading((character, false), line(0))?;
        Ok(Some(2))
    }

    fn heading(&mut self, style: Style, words: &str) -> Result<()> {
        let known = self.styles.iter().position(|known| *known == style).unwrap_or_else(|| {
            self.styles.push(style);
            self.styles.len() - 1
        });
        self.parts.heading(u8::try_from(known + 1).unwrap_or(u8::MAX), words)
    }

    /// How many lines the block takes that begins here.
    fn block(&mut self, lines: &[&str], depth: usize) -> Result<usize> {
        let line = lines[0];
        if indented(line) > 0 {
            return self.quotation(lines, depth);
        }
        if line == ".." || line.starts_with(".. ") || line == "__" || line.starts_with("__ ") {
            return self.explicit(lines, depth);
        }
        if let Some(taken) = block::table(lines).or_else(|| block::list(lines)) {
            self.parts.whole(&lines[..taken].join("\n"));
            return Ok(taken);
        }
        Ok(self.paragraph(lines))
    }

    fn quotation(&mut self, lines: &[&str], depth: usize) -> Result<usize> {
        let taken = block::indented_lines(lines);
        let inner = block::dedented(&lines[..taken]);
        if depth < DEPTH {
            self.body(&inner, depth + 1)?;
        } else {
            self.parts.whole(&inner.join("\n"));
        }
        Ok(taken.max(1))
    }

    /// And the literal block that it announces.
    fn paragraph(&mut self, lines: &[&str]) -> usize {
        let taken = lines.iter().position(|line| line.is_empty()).unwrap_or(lines.len()).max(1);
        let text = if lines[..taken].iter().any(|line| indented(line) > 0) {
            // A term and what it means.
            lines[..taken].join("\n")
        } else {
            lines[..taken].join(" ")
        };
        let Some(said) = text.strip_suffix("::") else {
            if text.starts_with(">>> ") {
                self.parts.whole(&lines[..taken].join("\n"))
            } else {
                self.parts.paragraph(&text)
            }
            return taken;
        };
        match said {
            "" => {}
            _ if said.ends_with(char::is_whitespace) => self.parts.paragraph(said),
            _ => self.parts.paragraph(&format!("{said}:")),
        }
        let (skipped, literal) = block::literal(&lines[taken..]);
        if literal > 0 {
            let from = taken + skipped;
            self.parts.whole(&crate::fenced("", &block::dedented(&lines[from..from + literal]).join("\n")));
        }
        taken + skipped + literal
    }
}

/// The character of a line that is one character again and again.
fn adornment(line: &str) -> Option<char> {
    let first = line.chars().next().filter(char::is_ascii_punctuation)?;
    (line.len() >= 2 && line.chars().all(|character| character == first)).then_some(first)
}

/// As long as the title, or so long that it is meant.
fn long_enough(adornment: &str, title: &str) -> bool {
    adornment.len() >= 4 || (adornment.len() >= title.chars().count() && !title.is_empty())
}

/// Characters of white space before the text.
fn indented(line: &str) -> usize {
    line.chars().take_while(|character| character.is_whitespace()).count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::{Format, sections};

    fn shown(text: &str) -> Vec<(String, Vec<String>)> {
        let found = sections(Format::Rst, text).unwrap().1;
        let blocks = |blocks: Vec<crate::Block>| blocks.into_iter().map(|block| block.text).collect();
        found.into_iter().map(|section| (section.heading, blocks(section.blocks))).collect()
    }

    fn one(text: &str) -> Vec<String> {
        shown(text).into_iter().flat_map(|(_, blocks)| blocks).collect()
    }

    #[test]
    fn titles_follow_the_order_of_their_adornments() {
        let text = "====\nRAN\n====\n\nOne\nline.\n\nCells\n=====\nTwo.\n\nBeams\n-----\n\nThree.\n\nCore\n====\n\n----\n\nFour.\n";
        let (title, _) = sections(Format::Rst, text).unwrap();
        assert_eq!(title.as_deref(), Some("RAN"));
        let found = shown(text);
        let found: Vec<(&str, &str)> = found.iter().map(|(heading, blocks)| (&**heading, &*blocks[0])).collect();
        let expected =
            [("RAN", "One line."), ("RAN > Cells", "Two."), ("RAN > Cells > Beams", "Three."), ("RAN > Core", "Four.")];
        assert_eq!(found, expected);
    }

    #[test]
    fn tables_lists_and_literal_blocks_are_whole() {
        let grid = "+---+---+\n| a | b |\n+---+---+\n| c |   |\n+---+---+";
        let simple = "===  ===\nx    y\n===  ===\n1    2\n\n3    4\n===  ===";
        let list = "- one\n\n  more of one\n\n- two";
        assert_eq!(one(&format!("{grid}\n\n{simple}\n\nText.\n\n{list}\n")), [grid, simple, "Text.", list]);
        let literal = "Run this::\n\n    make\n\n      all\n\nThen::\n\n> quoted\n> too\n\nEnd ::\n\n  x\n";
        let expected =
            ["Run this:", "```\nmake\n\n  all\n```", "Then:", "```\n> quoted\n> too\n```", "End", "```\nx\n```"];
        assert_eq!(one(literal), expected);
        assert_eq!(one("#. one\n#. two\n"), ["#. one\n#. two"]);
        assert_eq!(one("term\n    What it means.\n\n    > and more\n")[0], "term\n    What it means.");
    }

    #[test]
    fn directives_say_their_text_and_comments_nothing() {
        let text = ".. note:: Mind\n   the gap.\n\n   And the step.\n\n.. _target: https://x.example\n.. a comment\n   \
            of two lines\n\n.. code-block:: yaml\n   :linenos:\n\n   a: 1\n\n.. toctree::\n   :maxdepth: 2\n\n   intro\n\n\
            .. figure:: x.png\n   :alt: A cell\n\n   The caption.\n\n.. |name| replace:: nephkeep\n\n.. [1] A footnote\n   \
            of two lines.\n\n.. list-table:: Ports\n   :header-rows: 1\n\n   * - Name\n     - Port\n   * - a\n     - 1\n";
        let expected = [
            "Mind the gap.",
            "And the step.",
            "```yaml\na: 1\n```",
            "A cell",
            "The caption.",
            "nephkeep",
            "[1] A footnote of two lines.",
            "Ports\n* - Name\n  - Port\n* - a\n  - 1",
        ];
        assert_eq!(one(text), expected);
    }

    #[test]
    fn deep_quotations_end_somewhere() {
        let text: String = (0..2_000).map(|depth| format!("{}x{depth}\n\n", " ".repeat(depth.min(400)))).collect();
        let found = one(&text).join(" ");
        let words: std::collections::HashSet<&str> = found.split_whitespace().collect();
        assert!((0..2_000).all(|depth| words.contains(&*format!("x{depth}"))));
    }
}
