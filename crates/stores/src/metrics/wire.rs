//! The wire format of protocol buffers, read in place: a remote write holds thousands of short strings, and most of
//! its bytes go on as they came.

use model::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// One field: its number, its value, and its bytes with the tag, to be copied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field<'a> {
    pub number: u32,
    pub value: Value<'a>,
    pub raw: &'a [u8],
}

/// The fields of a message, in order.
#[derive(Debug, Clone)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let read = field(self.0);
        self.0 = read.as_ref().map_or(&[], |(_, rest)| rest);
        Some(read.map(|(field, _)| field).ok_or_else(malformed))
    }
}

impl<'a> Value<'a> {
    pub fn bytes(self) -> Result<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(malformed()) }
    }

    pub fn text(self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| malformed())
    }

    pub fn number(self) -> Result<u64> {
        if let Self::Varint(number) = self { Ok(number) } else { Err(malformed()) }
    }
}

pub fn malformed() -> Error {
    Error::invalid("remote-write-malformed", "the body is not a remote write message of the version it declares")
}

fn field(bytes: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (tag, rest) = varint(bytes)?;
    let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0)?;
    let (value, rest) = match tag & 7 {
        0 => varint(rest).map(|(number, rest)| (Value::Varint(number), rest))?,
        1 => rest.split_first_chunk().map(|(bytes, rest)| (Value::Fixed64(u64::from_le_bytes(*bytes)), rest))?,
        2 => {
            let (length, rest) = varint(rest)?;
            let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Value::Bytes(bytes), rest)
        }
        5 => rest.split_first_chunk().map(|(bytes, rest)| (Value::Fixed32(u32::from_le_bytes(*bytes)), rest))?,
        _ => return None,
    };
    let raw = &bytes[..bytes.len() - rest.len()];
    Some((Field { number, value, raw }, rest))
}

/// At most ten bytes, as the format says.
pub fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        if index == 9 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[must_use]
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// A length-delimited field.
pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_head(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

/// Tag and length of such a field.
pub fn put_head(out: &mut Vec<u8>, number: u32, length: usize) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, length as u64);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_reads_back_with_its_length(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            prop_assert_eq!(varint(&out), Some((value, &[][..])));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let read: Vec<_> = Fields(&bytes).collect();
            let whole: usize = read.iter().flatten().map(|field| field.raw.len()).sum();
            prop_assert!(read.iter().any(Result::is_err) || whole == bytes.len());
        }
    }

    #[test]
    fn cut_and_overlong_fields_are_refused() {
        let mut good = Vec::new();
        put_bytes(&mut good, 1, b"abc");
        assert_eq!(Fields(&good).next().unwrap().unwrap().value, Value::Bytes(b"abc"));
        for bad in [&good[..4], &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0x00, 0x01], &[0x0b], &[0x08, 0x80]] {
            assert!(Fields(bad).next().unwrap().is_err(), "{bad:?}");
        }
        assert_eq!(varint(&[0xff; 11]), None);
    }
}
