//! On small files that are made here.

#![allow(clippy::unwrap_used)]
use super::sections;
use lopdf::{Document, Object, Stream, dictionary};
use proptest::prelude::*;

/// A file of pages with their content, and an outline of `(title, page)`.
fn pdf(pages: &[&str], outline: &[(&str, usize)]) -> Vec<u8> {
    let mut document = Document::with_version("1.5");
    let tree = document.new_object_id();
    let font = document.add_object(dictionary! {
        "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica", "Encoding" => "WinAnsiEncoding",
    });
    let resources = document.add_object(dictionary! { "Font" => dictionary! { "F1" => font } });
    let mut kids = Vec::new();
    for content in pages {
        let content = document.add_object(Stream::new(dictionary! {}, content.as_bytes().to_vec()));
        let page = dictionary! { "Type" => "Page", "Parent" => tree, "Contents" => content, "Resources" => resources };
        kids.push(document.add_object(page));
    }
    let count = i64::try_from(kids.len()).unwrap();
    let entries: Vec<_> = outline.iter().map(|_| document.new_object_id()).collect();
    let above = document.new_object_id();
    for (at, (title, page)) in outline.iter().enumerate() {
        let mut entry = dictionary! {
            "Title" => Object::string_literal(*title), "Parent" => above,
            "Dest" => vec![kids[*page].into(), "Fit".into()],
        };
        if let Some(next) = entries.get(at + 1) {
            entry.set("Next", *next);
        }
        document.set_object(entries[at], entry);
    }
    let kids: Vec<Object> = kids.into_iter().map(Object::from).collect();
    document.set_object(tree, dictionary! { "Type" => "Pages", "Kids" => kids, "Count" => count });
    let mut catalog = dictionary! { "Type" => "Catalog", "Pages" => tree };
    if let (Some(first), Some(last)) = (entries.first(), entries.last()) {
        let outlines = dictionary! { "Type" => "Outlines", "First" => *first, "Last" => *last };
        document.set_object(above, outlines);
        catalog.set("Outlines", above);
    }
    let catalog = document.add_object(catalog);
    document.trailer.set("Root", catalog);
    let about = document.add_object(dictionary! { "Title" => Object::string_literal("RAN guide") });
    document.trailer.set("Info", about);
    let mut bytes = Vec::new();
    document.save_to(&mut bytes).unwrap();
    bytes
}

const FIRST: &str = "BT /F1 16 Tf 72 700 Td (1 Mobility) Tj /F1 10 Tf 0 -24 Td (A handover is) Tj 0 -12 Td \
    [(trig) 20 (gered by the neigh-)] TJ 0 -12 Td [(bour) -400 (cell.)] TJ 0 -30 Td (Another paragraph.) Tj ET";
const SECOND: &str = "q 1 0 0 -1 0 800 cm BT /F1 10 Tf 1 0 0 -1 72 100 Tm (Still mobility.) Tj 1 0 0 -1 72 140 Tm \
    (Alarms) Tj 1 0 0 -1 72 180 Tm (A lost) Tj 1 0 0 -1 120 180 Tm (link.) Tj ET Q";

fn shown(bytes: &[u8]) -> Vec<(String, Vec<String>)> {
    let blocks = |blocks: Vec<crate::Block>| blocks.into_iter().map(|block| block.text).collect();
    sections(bytes).unwrap().1.into_iter().map(|section| (section.heading, blocks(section.blocks))).collect()
}

#[test]
fn pages_are_read_under_the_headings_of_the_outline() {
    let bytes = pdf(&[FIRST, SECOND], &[("Mobility", 0), ("Alarms", 1)]);
    assert_eq!(sections(&bytes).unwrap().0.as_deref(), Some("RAN guide"));
    let text = ["A handover is triggered by the neighbour cell.", "Another paragraph.", "Still mobility."];
    assert_eq!(
        shown(&bytes),
        [
            ("1 Mobility".to_owned(), text.map(str::to_owned).to_vec()),
            ("Alarms".to_owned(), vec!["A lost link.".to_owned()]),
        ]
    );
    let all: Vec<String> = shown(&pdf(&[SECOND], &[])).into_iter().flat_map(|(_, blocks)| blocks).collect();
    assert_eq!(all, ["Still mobility.", "Alarms", "A lost link."]);
}

#[test]
fn what_holds_no_text_or_is_no_pdf_is_refused_by_name() {
    let refused = |bytes: &[u8]| sections(bytes).unwrap_err();
    assert_eq!(refused(b"no pdf").code(), "pdf-unreadable");
    assert_eq!(refused(&pdf(&[FIRST], &[])[..200]).code(), "pdf-unreadable");
    let picture = refused(&pdf(&["0 0 m 10 10 l S", ""], &[]));
    assert_eq!((picture.code(), picture.fact("pages")), ("pdf-without-text", Some("2")));
    assert_eq!(refused(&pdf(&["BT /F9 9 Tf (no such font) Tj ET"], &[])).code(), "pdf-without-text");
    let large = format!("BT /F1 9 Tf {} ET", "0 -9 Td (word word word word) Tj ".repeat(60_000));
    assert_eq!(refused(&pdf(&[&large], &[])).code(), "document-too-large");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A library is asked here that may not bear all of it: what it does not is caught by the process that asks it.
    #[test]
    fn words_that_are_drawn_are_told(words in proptest::collection::vec("[a-zA-Z]{1,12}", 1..80), wide in 1..9_usize) {
        let lines = words.chunks(wide).map(|line| format!("({}) Tj 0 -12 Td ", line.join(" ")));
        let bytes = pdf(&[&format!("BT /F1 10 Tf 72 700 Td {} ET", lines.collect::<String>())], &[]);
        let told: Vec<String> = shown(&bytes).into_iter().flat_map(|(_, blocks)| blocks).collect();
        let told: Vec<&str> = told.iter().flat_map(|block| block.split_whitespace()).collect();
        prop_assert_eq!(told, words);
    }

    #[test]
    fn damage_is_an_error_or_other_text(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = pdf(&[FIRST, SECOND], &[("Mobility", 0), ("Alarms", 1)]);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _read_or_not = sections(&bytes);
    }
}
