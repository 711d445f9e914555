//! A page's content: the operators that move and draw text, in the forms it uses too.

use super::{
    font::{Font, Fonts},
    lines::{Page, Run},
};
use lopdf::{Dictionary, Document, Object, ObjectId, content::Content};
use std::rc::Rc;

/// Forms in forms beyond this are not drawn, nor states kept.
const DEPTH: usize = 8;
const STATES: usize = 256;

/// `[a b c d e f]`, as PDF writes it.
type Matrix = [f32; 6];
const UNMOVED: Matrix = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0];

fn times(m: &Matrix, n: &Matrix) -> Matrix {
    [
        m[0] * n[0] + m[1] * n[2],
        m[0] * n[1] + m[1] * n[3],
        m[2] * n[0] + m[3] * n[2],
        m[2] * n[1] + m[3] * n[3],
        m[4] * n[0] + m[5] * n[2] + n[4],
        m[4] * n[1] + m[5] * n[3] + n[5],
    ]
}

#[derive(Clone)]
struct State<'d> {
    page: Matrix,
    font: Option<Rc<Font<'d>>>,
    size: f32,
    between: f32,
    between_words: f32,
    stretch: f32,
    leading: f32,
}

struct Walk<'d, 'f> {
    document: &'d Document,
    fonts: &'f mut Fonts<'d>,
    state: State<'d>,
    kept: Vec<State<'d>>,
    text: Matrix,
    line: Matrix,
    page: Page,
}

pub(super) fn read<'d>(document: &'d Document, id: ObjectId, fonts: &mut Fonts<'d>) -> lopdf::Result<Page> {
    let content = document.get_page_content_with_limit(id, super::UNPACKED_MAX_BYTES)?;
    let (own, others) = document.get_page_resources(id)?;
    let others = others.into_iter().filter_map(|id| document.get_dictionary(id).ok());
    let resources: Vec<&Dictionary> = own.into_iter().chain(others).collect();
    let state =
        State { page: UNMOVED, font: None, size: 1.0, between: 0.0, between_words: 0.0, stretch: 1.0, leading: 0.0 };
    let mut walk =
        Walk { document, fonts, state, kept: Vec::new(), text: UNMOVED, line: UNMOVED, page: Page::default() };
    walk.content(&content, &resources, 0)?;
    Ok(walk.page)
}

impl<'d> Walk<'d, '_> {
    fn content(&mut self, content: &[u8], resources: &[&'d Dictionary], depth: usize) -> lopdf::Result<()> {
        for operation in &Content::decode(content)?.operations {
            let operands = &operation.operands;
            let number = |at: usize| operands.get(at).and_then(|operand| operand.as_float().ok()).unwrap_or(0.0);
            let matrix = || std::array::from_fn(number);
            match operation.operator.as_str() {
                "q" if self.kept.len() < STATES => self.kept.push(self.state.clone()),
                "Q" => self.state = self.kept.pop().unwrap_or_else(|| self.state.clone()),
                "cm" => self.state.page = times(&matrix(), &self.state.page),
                "BT" => (self.text, self.line) = (UNMOVED, UNMOVED),
                "Tf" => {
                    self.state.size = number(1);
                    let name = operands.first().and_then(|name| name.as_name().ok()).unwrap_or_default();
                    let font = self.resource(resources, b"Font", name).and_then(|font| font.as_dict().ok());
                    self.state.font = font.map(|font| self.fonts.get(self.document, font));
                }
                "Tc" => self.state.between = number(0),
                "Tw" => self.state.between_words = number(0),
                "Tz" => self.state.stretch = number(0) / 100.0,
                "TL" => self.state.leading = number(0),
                "Td" => self.next_line(number(0), number(1)),
                "TD" => {
                    self.state.leading = -number(1);
                    self.next_line(number(0), number(1));
                }
                "Tm" => (self.text, self.line) = (matrix(), matrix()),
                "T*" => self.next_line(0.0, -self.state.leading),
                "Tj" => operands.iter().take(1).for_each(|text| self.shown(text)),
                "TJ" => operands.first().into_iter().for_each(|text| self.shown(text)),
                "'" => {
                    self.next_line(0.0, -self.state.leading);
                    operands.iter().take(1).for_each(|text| self.shown(text));
                }
                "\"" => {
                    (self.state.between_words, self.state.between) = (number(0), number(1));
                    self.next_line(0.0, -self.state.leading);
                    operands.iter().skip(2).take(1).for_each(|text| self.shown(text));
                }
                "Do" if depth < DEPTH => self.form(operands, resources, depth)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn resource(&self, resources: &[&'d Dictionary], kind: &[u8], name: &[u8]) -> Option<&'d Object> {
        resources.iter().find_map(|resources| {
            let all = resources.get_deref(kind, self.document).and_then(Object::as_dict).ok()?;
            all.get_deref(name, self.document).ok()
        })
    }

    /// A drawing that is used by name, in its own place.
    fn form(&mut self, operands: &[Object], resources: &[&'d Dictionary], depth: usize) -> lopdf::Result<()> {
        let name = operands.first().and_then(|name| name.as_name().ok()).unwrap_or_default();
        let form = self.resource(resources, b"XObject", name).and_then(|form| form.as_stream().ok());
        let Some(form) = form else { return Ok(()) };
        if !form.dict.get(b"Subtype").and_then(Object::as_name).is_ok_and(|kind| kind == b"Form") {
            return Ok(());
        }
        let content = form.get_plain_content_with_limit(super::UNPACKED_MAX_BYTES)?;
        let own = form.dict.get_deref(b"Resources", self.document).and_then(Object::as_dict).ok();
        let resources: Vec<&Dictionary> = own.into_iter().chain(resources.iter().copied()).collect();
        let place = form.dict.get_deref(b"Matrix", self.document).and_then(Object::as_array).ok();
        let place = place.map_or(UNMOVED, |place| {
            std::array::from_fn(|at| place.get(at).and_then(|number| number.as_float().ok()).unwrap_or(0.0))
        });
        let (before, kept) = (self.state.clone(), std::mem::take(&mut self.kept));
        self.state.page = times(&place, &self.state.page);
        let drawn = self.content(&content, &resources, depth + 1);
        (self.state, self.kept) = (before, kept);
        drawn
    }

    fn next_line(&mut self, x: f32, y: f32) {
        self.line = times(&[1.0, 0.0, 0.0, 1.0, x, y], &self.line);
        self.text = self.line;
    }

    /// A string, or strings with what moves the next one.
    fn shown(&mut self, text: &Object) {
        match text {
            Object::String(bytes, _) => self.string(bytes),
            Object::Array(pieces) => {
                for piece in pieces {
                    match piece {
                        Object::String(bytes, _) => self.string(bytes),
                        moved => {
                            let moved = moved.as_float().unwrap_or(0.0);
                            self.advance(-moved / 1_000.0 * self.state.size * self.state.stretch);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn advance(&mut self, by: f32) {
        self.text = times(&[1.0, 0.0, 0.0, 1.0, by, 0.0], &self.text);
    }

    fn string(&mut self, bytes: &[u8]) {
        let Some(font) = self.state.font.clone() else {
            self.page.unread += bytes.len();
            return;
        };
        let (from, state) = (times(&self.text, &self.state.page), &self.state);
        let reach = font.reach(bytes).map(|(width, space)| {
            let between = state.between + if space { state.between_words } else { 0.0 };
            (width / 1_000.0 * state.size + between) * state.stretch
        });
        let reach: f32 = reach.sum();
        let height = (state.size * from[2].hypot(from[3])).abs();
        self.advance(reach);
        let to = times(&self.text, &self.state.page);
        match font.text(bytes) {
            Some(text) => self.page.put(&text, &Run::new(&from, &to, height)),
            None => self.page.unread += bytes.len() / font.code,
        }
    }
}
