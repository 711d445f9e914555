//! Bytes to [`Json`]: RFC 8259, strictly, within limits. No recursion beyond the depth limit.

use super::place::{Step, spell};
use super::{Json, Member};
use crate::{Error, Result};

/// What a document may cost. The defaults fit every document we know of a hundred times over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub bytes: usize,
    pub depth: usize,
    /// Members and items in the whole document.
    pub members: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 20, depth: 64, members: 100_000 }
    }
}

/// Objects up to this size find a duplicate key by looking; larger ones sort once at the end.
const LOOK_MEMBERS: usize = 16;

pub fn parse(bytes: &[u8]) -> Result<Json> {
    parse_with(bytes, &Limits::default())
}

/// More than any document that was accepted: what stands in the record is read, even if it were not accepted today.
const STORED: Limits = Limits { bytes: 64 << 20, depth: 128, members: 10_000_000 };

/// A document of the record. Whatever is wrong with it is damage, not the reader's mistake.
pub fn stored(bytes: &[u8]) -> Result<Json> {
    parse_with(bytes, &STORED).map_err(|error| {
        let what = "a stored document is no JSON that this version would write";
        Error::corrupt("stored-malformed", what).with("found", error.code()).caused_by(error)
    })
}

pub fn parse_with(bytes: &[u8], limits: &Limits) -> Result<Json> {
    if bytes.len() > limits.bytes {
        let rule = format!("the document is larger than {} bytes; send less, or split it", limits.bytes);
        return Err(Error::invalid("json-size", rule).with("bytes", bytes.len()));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    let mut parser = Parser { text, bytes: text.as_bytes(), at: 0, depth: 0, limits, members: 0 };
    parser.document().map_err(|fault| fault.into_error(bytes))
}

/// A failure on its way up: each level adds the name it stands under.
struct Fault(Box<FaultBody>);

struct FaultBody {
    code: &'static str,
    message: String,
    at: usize,
    /// Innermost first.
    path: Vec<Step>,
}

type Parsed<T> = std::result::Result<T, Fault>;

impl Fault {
    fn new(code: &'static str, message: impl Into<String>, at: usize) -> Self {
        Self(Box::new(FaultBody { code, message: message.into(), at, path: Vec::new() }))
    }

    fn under(mut self, step: Step) -> Self {
        self.0.path.push(step);
        self
    }

    fn into_error(self, bytes: &[u8]) -> Error {
        let body = *self.0;
        let error = located(Error::invalid(body.code, body.message), bytes, body.at);
        if body.path.is_empty() { error } else { error.with("field", spell(&body.path)) }
    }
}

fn located(error: Error, bytes: &[u8], at: usize) -> Error {
    let before = bytes.get(..at).unwrap_or(bytes);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    error.with("offset", at).with("line", line).with("column", column)
}

fn not_utf8(bytes: &[u8], at: usize) -> Error {
    located(Error::invalid("json-utf8", "the document is not UTF-8; encode it as UTF-8 without a mark"), bytes, at)
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    limits: &'a Limits,
    members: usize,
}

impl Parser<'_> {
    fn document(&mut self) -> Parsed<Json> {
        self.space();
        let value = self.value()?;
        self.space();
        if self.at < self.bytes.len() {
            return Err(self.malformed("something follows the document; send one JSON value"));
        }
        Ok(value)
    }

    fn malformed(&self, message: impl Into<String>) -> Fault {
        Fault::new("json-malformed", message, self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Parsed<Json> {
        match self.peek() {
            Some(b'"') => Ok(Json::String(self.string()?)),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(_) => Err(self.malformed("a JSON value was expected here")),
            None => Err(self.malformed("the document ends too early")),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Parsed<Json> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.malformed(format!("a JSON value was expected here; did you mean {word}?")));
        }
        self.at += word.len();
        Ok(value)
    }

    fn nested(&mut self, inner: fn(&mut Self) -> Parsed<Json>) -> Parsed<Json> {
        if self.depth >= self.limits.depth {
            let rule = format!("the document is nested deeper than {} levels; flatten it", self.limits.depth);
            return Err(Fault::new("json-depth", rule, self.at));
        }
        self.depth += 1;
        self.at += 1;
        self.space();
        let value = inner(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn count(&mut self) -> Parsed<()> {
        self.members += 1;
        if self.members > self.limits.members {
            let rule = format!("the document has more than {} members and items; split it", self.limits.members);
            return Err(Fault::new("json-members", rule, self.at));
        }
        Ok(())
    }

    fn array(&mut self) -> Parsed<Json> {
        let mut items = Vec::new();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            self.count()?;
            items.push(self.value().map_err(|fault| fault.under(Step::Index(items.len())))?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Json::Array(items));
                }
                _ => return Err(self.malformed("a comma or ] was expected here")),
            }
            self.space();
        }
    }

    fn object(&mut self) -> Parsed<Json> {
        let start = self.at;
        let mut members: Vec<Member> = Vec::new();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.count()?;
            members.push(self.member(&members)?);
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return distinct(members, start);
                }
                _ => return Err(self.malformed("a comma or } was expected here")),
            }
            self.space();
        }
    }

    fn member(&mut self, earlier: &[Member]) -> Parsed<Member> {
        let start = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.malformed("a member name in double quotes was expected here"));
        }
        let key = self.string()?;
        if earlier.len() < LOOK_MEMBERS && earlier.iter().any(|(name, _)| *name == key) {
            return Err(duplicate(key, start));
        }
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.malformed("a colon was expected here").under(Step::Key(key)));
        }
        self.at += 1;
        self.space();
        match self.value() {
            Ok(value) => Ok((key, value)),
            Err(fault) => Err(fault.under(Step::Key(key))),
        }
    }

    fn number(&mut self) -> Parsed<Json> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(self.malformed("a number has no leading zero"));
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Json::Number(self.text[start..self.at].into()))
    }

    fn digits(&mut self) -> Parsed<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.malformed("a digit was expected here")) } else { Ok(()) }
    }

    /// Stands on the opening quote; ends after the closing one.
    fn string(&mut self) -> Parsed<String> {
        self.at += 1;
        let start = self.at;
        self.plain();
        if self.peek() == Some(b'"') {
            let text = self.text[start..self.at].to_owned();
            self.at += 1;
            return Ok(text);
        }
        let mut text = self.text[start..self.at].to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return Err(self.malformed("a control character stands in a string; write it as \\u00XX")),
                None => return Err(self.malformed("a string has no closing quote")),
            }
            let start = self.at;
            self.plain();
            text.push_str(&self.text[start..self.at]);
        }
    }

    fn plain(&mut self) {
        self.at += plain_len(&self.bytes[self.at..]);
    }

    fn escape(&mut self) -> Parsed<char> {
        let start = self.at;
        self.at += 2;
        let plain = match self.bytes.get(start + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(start),
            _ => return Err(Fault::new("json-malformed", "an unknown escape stands in a string", start)),
        };
        Ok(plain)
    }

    fn unicode(&mut self, start: usize) -> Parsed<char> {
        let lone = || {
            let rule = "half a surrogate pair stands in a string; send the whole character";
            Fault::new("json-surrogate", rule, start)
        };
        let first = self.hex()?;
        if (0xdc00..0xe000).contains(&first) {
            return Err(lone());
        }
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or_else(lone);
        }
        if !self.bytes[self.at..].starts_with(b"\\u") {
            return Err(lone());
        }
        self.at += 2;
        let second = self.hex()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(lone());
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or_else(lone)
    }

    fn hex(&mut self) -> Parsed<u32> {
        let digits = self.bytes.get(self.at..self.at + 4).unwrap_or_default();
        let value = digits.iter().try_fold(0, |value, b| Some(value << 4 | char::from(*b).to_digit(16)?));
        match value {
            Some(value) if digits.len() == 4 => {
                self.at += 4;
                Ok(value)
            }
            _ => Err(self.malformed("four hex digits were expected after \\u")),
        }
    }
}

/// How many bytes from the start need no thought in a string, looking at eight at a time where it can.
pub(crate) fn plain_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let stop = stops(u64::from_le_bytes(*word));
        if stop != 0 {
            return at + stop.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| *b == b'"' || *b == b'\\' || *b < 0x20).unwrap_or(rest.len())
}

/// The high bit of every byte that is a quote, a backslash or below 0x20. Bits above the first stop may be wrong, the
/// first never is.
fn stops(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |x: u64| x.wrapping_sub(ONES) & !x & HIGH;
    let quote = zero(word ^ (ONES * 0x22));
    let backslash = zero(word ^ (ONES * 0x5c));
    let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    quote | backslash | control
}

fn duplicate(key: String, at: usize) -> Fault {
    let rule = "a member name stands twice in one object; keep one of them";
    Fault::new("json-duplicate-key", rule, at).under(Step::Key(key))
}

fn distinct(members: Vec<Member>, start: usize) -> Parsed<Json> {
    if members.len() > LOOK_MEMBERS {
        let mut keys: Vec<&str> = members.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(duplicate(pair[0].to_owned(), start));
        }
    }
    Ok(Json::Object(members))
}
