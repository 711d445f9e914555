//! What the bytes of a string are in a font: characters, and how far they reach.

use lopdf::{Dictionary, Document, Encoding, Object};
use std::{collections::HashMap, rc::Rc};

/// Thousandths of the font's size.
type Width = f32;

pub(super) struct Font<'d> {
    encoding: Option<Encoding<'d>>,
    widths: HashMap<u32, Width>,
    otherwise: Width,
    /// Bytes of a code.
    pub(super) code: usize,
}

/// Many pages use one font: it is read once.
#[derive(Default)]
pub(super) struct Fonts<'d>(HashMap<*const Dictionary, Rc<Font<'d>>>);

impl<'d> Fonts<'d> {
    pub(super) fn get(&mut self, document: &'d Document, font: &'d Dictionary) -> Rc<Font<'d>> {
        let read = || Rc::new(Font::read(document, font));
        Rc::clone(self.0.entry(std::ptr::from_ref(font)).or_insert_with(read))
    }
}

impl<'d> Font<'d> {
    fn read(document: &'d Document, font: &'d Dictionary) -> Self {
        let encoding = font.get_font_encoding_with_limit(document, super::UNPACKED_MAX_BYTES).ok();
        let composed = font.get(b"Subtype").and_then(Object::as_name).is_ok_and(|name| name == b"Type0");
        let (widths, otherwise) = if composed { composed_widths(document, font) } else { widths(document, font) };
        Self { encoding, widths, otherwise, code: if composed { 2 } else { 1 } }
    }

    /// None where the font does not say.
    pub(super) fn text(&self, bytes: &[u8]) -> Option<String> {
        self.encoding.as_ref()?.bytes_to_string(bytes).ok()
    }

    /// Widths of the codes of a string, and whether each is the space that word spacing widens.
    pub(super) fn reach<'b>(&'b self, bytes: &'b [u8]) -> impl Iterator<Item = (Width, bool)> + 'b {
        bytes.chunks(self.code).map(|code| {
            let code = code.iter().fold(0, |code, byte| code << 8 | u32::from(*byte));
            (self.widths.get(&code).copied().unwrap_or(self.otherwise), self.code == 1 && code == 32)
        })
    }
}

fn number(object: &Object) -> Option<f32> {
    object.as_float().ok().filter(|number| number.is_finite())
}

fn widths(document: &Document, font: &Dictionary) -> (HashMap<u32, Width>, Width) {
    let first = font.get_deref(b"FirstChar", document).and_then(Object::as_i64).unwrap_or(0);
    let first = u32::try_from(first).unwrap_or(0);
    let all = font.get_deref(b"Widths", document).and_then(Object::as_array);
    let all = all.map(Vec::as_slice).unwrap_or_default();
    let width = |object| document.dereference(object).ok().and_then(|(_, object)| number(object));
    let widths = (first..first.saturating_add(256)).zip(all);
    let widths = widths.filter_map(|(code, object)| width(object).map(|width| (code, width)));
    // The standard fonts have no table in the file; half of the size is near to what their letters have.
    (widths.collect(), 500.0)
}

/// `[code [width width …] first last width …]`
fn composed_widths(document: &Document, font: &Dictionary) -> (HashMap<u32, Width>, Width) {
    let below = font.get_deref(b"DescendantFonts", document).and_then(Object::as_array).ok();
    let below = below.and_then(|list| list.first()).and_then(|first| document.dereference(first).ok());
    let Some(below) = below.and_then(|(_, object)| object.as_dict().ok()) else { return (HashMap::new(), 1_000.0) };
    let otherwise = below.get_deref(b"DW", document).ok().and_then(number).unwrap_or(1_000.0);
    let all = below.get_deref(b"W", document).and_then(Object::as_array);
    let all = all.map(Vec::as_slice).unwrap_or_default();
    let (mut widths, mut rest) = (HashMap::new(), all.iter().map(|object| Ok(document.dereference(object)?.1)));
    let mut next = || rest.next().and_then(|object: lopdf::Result<&Object>| object.ok());
    let code = |object: &Object| object.as_i64().ok().and_then(|code| u32::try_from(code).ok());
    while let (Some(first), Some(second)) = (next().and_then(code), next()) {
        if let Ok(list) = second.as_array() {
            let list = list.iter().map(|width| number(width).unwrap_or(otherwise));
            widths.extend((first..=0xffff).zip(list));
        } else {
            let (Some(last), Some(width)) = (code(second), next().and_then(number)) else { break };
            widths.extend((first..=last.min(0xffff)).map(|code| (code, width)));
        }
    }
    (widths, otherwise)
}
