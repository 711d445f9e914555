//! Pages under the headings of the outline: at the line that says the heading, else at the top of its page.

use super::lines::{self, Page};
use crate::part::Parts;
use lopdf::Document;
use model::Result;
use std::collections::BTreeMap;

/// What a line may have before a heading's words: its number.
const NUMBER: usize = 8;

struct Entry {
    level: u8,
    title: String,
}

pub(super) fn under_headings(document: &Document, pages: Vec<Page>, numbers: &[u32], parts: &mut Parts) -> Result<()> {
    // Without an outline, or with a broken one, everything stands under no heading.
    let entries = document.get_toc().map(|found| found.toc).unwrap_or_default();
    let mut of_page: BTreeMap<usize, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        let level = u8::try_from(entry.level).unwrap_or(u8::MAX);
        of_page.entry(entry.page).or_default().push(Entry { level, title: entry.title });
    }
    for (page, number) in pages.iter().zip(numbers) {
        one(page, of_page.get(&(*number as usize)).map(Vec::as_slice).unwrap_or_default(), parts)?;
    }
    Ok(())
}

fn one(page: &Page, entries: &[Entry], parts: &mut Parts) -> Result<()> {
    let mut at = 0;
    for entry in entries {
        let wanted = folded(&entry.title);
        let found = page.lines[at..].iter().position(|line| is(&folded(&line.text), &wanted));
        let line = found.map(|found| at + found);
        paragraphs(page, at, line.unwrap_or(at), parts);
        match line {
            Some(line) => {
                parts.heading(entry.level, &page.lines[line].text)?;
                at = line + 1;
            }
            None => parts.heading(entry.level, &entry.title)?,
        }
    }
    paragraphs(page, at, page.lines.len(), parts);
    Ok(())
}

fn paragraphs(page: &Page, from: usize, to: usize, parts: &mut Parts) {
    let begins = page.paragraphs();
    let inner = begins.into_iter().filter(|at| *at > from && *at < to);
    let mut start = from;
    for end in inner.chain([to]) {
        parts.paragraph(&lines::joined(page.lines[start..end].iter().map(|line| line.text.as_str())));
        start = end;
    }
}

/// Only what is told apart by reading.
fn folded(text: &str) -> String {
    text.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn is(line: &str, title: &str) -> bool {
    !title.is_empty() && line.strip_suffix(title).is_some_and(|number| number.len() <= NUMBER)
}
