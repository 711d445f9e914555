//! The part of deterministic CBOR (RFC 8949 §4.2) that leaves use: integers, byte and text strings, arrays.
//!
//! The reader accepts only what the writer can have written: shortest heads, definite lengths, nothing after the end.

use model::{Error, Result};

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;

fn head(out: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    let bytes = value.to_be_bytes();
    match value {
        0..=23 => out.push(major | bytes[7]),
        24..=0xff => out.extend_from_slice(&[major | 24, bytes[7]]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

pub(crate) fn put_uint(out: &mut Vec<u8>, value: u64) {
    head(out, UNSIGNED, value);
}

pub(crate) fn put_int(out: &mut Vec<u8>, value: i16) {
    match u64::try_from(value) {
        Ok(value) => head(out, UNSIGNED, value),
        Err(_) => head(out, NEGATIVE, u64::from(value.unsigned_abs()) - 1),
    }
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    head(out, BYTES, value.len() as u64);
    out.extend_from_slice(value);
}

pub(crate) fn put_text(out: &mut Vec<u8>, value: &str) {
    head(out, TEXT, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

pub(crate) fn put_array(out: &mut Vec<u8>, items: u64) {
    head(out, ARRAY, items);
}

/// Reads one item after the other; every method refuses what is not canonical.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

pub(crate) fn malformed(what: &str) -> Error {
    Error::corrupt("audit-entry-malformed", format!("an audit entry is not in its canonical encoding: {what}"))
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or_else(|| malformed("it ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<(u8, u64)> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 0x1f);
        let (size, least) = match info {
            0..=23 => return Ok((major, u64::from(info))),
            24 => (1, 24),
            25 => (2, 0x100),
            26 => (4, 0x1_0000),
            27 => (8, 0x1_0000_0000),
            _ => return Err(malformed("an indefinite length or a reserved head")),
        };
        let value = self.take(size)?.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
        if value < least {
            return Err(malformed("a number is longer than it need be"));
        }
        Ok((major, value))
    }

    fn expect(&mut self, major: u8) -> Result<u64> {
        match self.head()? {
            (found, value) if found == major => Ok(value),
            _ => Err(malformed("an item has another type than its place demands")),
        }
    }

    pub(crate) fn uint(&mut self) -> Result<u64> {
        self.expect(UNSIGNED)
    }

    /// An unsigned number that fits a narrower type.
    pub(crate) fn narrow<T: TryFrom<u64>>(&mut self) -> Result<T> {
        T::try_from(self.uint()?).map_err(|_| malformed("a number is out of range"))
    }

    pub(crate) fn int(&mut self) -> Result<i16> {
        let range = |_| malformed("a number is out of range");
        match self.head()? {
            (UNSIGNED, value) => i16::try_from(value).map_err(range),
            (NEGATIVE, value) => i16::try_from(value).map(|value| -1 - value).map_err(range),
            _ => Err(malformed("an item has another type than its place demands")),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.expect(BYTES)?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        let length = self.expect(TEXT)?;
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        std::str::from_utf8(bytes).map_err(|_| malformed("a text is not UTF-8"))
    }

    pub(crate) fn array(&mut self) -> Result<u64> {
        self.expect(ARRAY)
    }

    pub(crate) fn array_of(&mut self, items: u64) -> Result<()> {
        if self.array()? == items { Ok(()) } else { Err(malformed("an array has another length")) }
    }

    pub(crate) fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(malformed("bytes follow its end")) }
    }
}
