//! PDF as sections: the words of each page in the order in which they are drawn, under the headings of the outline.
//!
//! A page of PDF is ink: words, lines and paragraphs are told from where glyphs stand. Tables are lines of their cells;
//! pictures of text hold none. A library reads the objects, and what it cannot bear ends the caller's process or thread:
//! call it where that is no harm.

mod font;
mod lines;
mod outline;
mod page;

use crate::part::{Parts, Section};
use lines::Page;
use lopdf::{Document, Object, decode_text_string};
use model::{Error, Result, json::Limits, knowledge::too_large};

/// Of any stream once it is unpacked: a page, a font.
const UNPACKED_MAX_BYTES: usize = 64 << 20;

/// The title and the sections of a file.
pub fn sections(bytes: &[u8]) -> Result<(Option<String>, Vec<Section>)> {
    let document = Document::load_mem(bytes).map_err(|error| {
        let what = "the file is not a PDF that can be read; open and save it anew, or import its text";
        Error::invalid("pdf-unreadable", what).caused_by(error)
    })?;
    if document.is_encrypted() {
        let what = "the PDF is protected by a password; save it without one";
        return Err(Error::invalid("pdf-encrypted", what));
    }
    let (pages, numbers) = pages(&document)?;
    let mut parts = Parts::default();
    outline::under_headings(&document, pages, &numbers, &mut parts)?;
    let (heading, sections) = parts.end()?;
    Ok((title(&document).or(heading), sections))
}

/// The lines of each page, and the number of each.
fn pages(document: &Document) -> Result<(Vec<Page>, Vec<u32>)> {
    let (mut fonts, mut pages, mut numbers) = (font::Fonts::default(), Vec::new(), Vec::new());
    let (mut bytes, mut unread) = (0, 0);
    for (number, id) in document.get_pages() {
        let page = page::read(document, id, &mut fonts).map_err(|error| {
            let what = "a page of the PDF cannot be read; open and save the file anew, or import its text";
            Error::invalid("pdf-unreadable", what).with("page", number).caused_by(error)
        })?;
        bytes += page.bytes();
        unread += page.unread;
        if bytes > Limits::default().bytes {
            return Err(too_large(bytes));
        }
        pages.push(page);
        numbers.push(number);
    }
    if bytes == 0 && unread == 0 {
        let what = "there is no text in the PDF, only pictures, perhaps of text; recognise their text first (OCR)";
        return Err(Error::invalid("pdf-without-text", what).with("pages", pages.len()));
    }
    // A sign here and there is a sign; what is mostly unknown would be stored as noise.
    if unread * 10 > bytes {
        let what = "the PDF does not say which characters its glyphs are; export it anew, or recognise its text (OCR)";
        return Err(Error::invalid("pdf-without-text", what).with("unknown-glyphs", unread));
    }
    Ok((pages, numbers))
}

fn title(document: &Document) -> Option<String> {
    let about = document.trailer.get_deref(b"Info", document).and_then(Object::as_dict).ok()?;
    let title = decode_text_string(about.get_deref(b"Title", document).ok()?).ok()?;
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    (!title.is_empty()).then(|| crate::part::shortened(&title, model::knowledge::HEADING_MAX_BYTES))
}

#[cfg(test)]
mod tests;
