//! How a message names its schema: a zero byte, the schema's id (four bytes, big endian), then the data.
//!
//! Confluent's format (<https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format>).
//! Protobuf puts the path of the message's type in between: a zig-zag varint of its length, then one per index; the
//! first message of a file alone is the single byte 0.

use model::{Error, Result};

const MAGIC: u8 = 0;
const HEADER_BYTES: usize = 5;
/// Deeper nesting of message types is refused.
const INDEXES_MAX: usize = 64;

/// The id a message names, and what follows.
pub fn read(message: &[u8]) -> Result<(u32, &[u8])> {
    match message.split_at_checked(HEADER_BYTES) {
        Some(([MAGIC, id @ ..], body)) => {
            let id = <[u8; 4]>::try_from(id).map_err(|_| Error::bug("five bytes less one are four"))?;
            Ok((u32::from_be_bytes(id), body))
        }
        _ => {
            let rule = "a message begins with a zero byte and the four bytes of its schema's id";
            Err(Error::invalid("schema-message-malformed", rule).with("bytes", message.len()))
        }
    }
}

/// Protobuf only: the path of the message's type, and the data.
pub fn message_type(body: &[u8]) -> Result<(Vec<usize>, &[u8])> {
    let malformed =
        || Error::invalid("schema-message-malformed", "a Protobuf message names its type after the schema's id");
    let (count, mut rest) = varint(body).ok_or_else(malformed)?;
    if count == 0 {
        return Ok((vec![0], rest));
    }
    let count = usize::try_from(count).ok().filter(|count| *count <= INDEXES_MAX).ok_or_else(malformed)?;
    let mut path = Vec::with_capacity(count);
    for _ in 0..count {
        let (index, after) = varint(rest).ok_or_else(malformed)?;
        path.push(usize::try_from(index).map_err(|_| malformed())?);
        rest = after;
    }
    Ok((path, rest))
}

fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(u32::try_from(at).ok()? * 7)?;
        if byte & 0x80 == 0 {
            let zigzag = i64::try_from(value >> 1).ok()? ^ -i64::from(u8::try_from(value & 1).ok()?);
            return Some((zigzag, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_messages_are_read() {
        assert_eq!(read(&[0, 0, 0, 1, 2, b'x']).unwrap(), (258, &b"x"[..]));
        assert_eq!(read(&[0, 0, 0, 0, 1]).unwrap(), (1, &b""[..]));
        for bad in [&b""[..], &[0, 0, 0, 1], &[1, 0, 0, 0, 1, 2]] {
            assert_eq!(read(bad).unwrap_err().code(), "schema-message-malformed");
        }
        assert_eq!(message_type(&[0, 7]).unwrap(), (vec![0], &[7][..]));
        assert_eq!(message_type(&[2, 0, 7]).unwrap(), (vec![0], &[7][..]));
        assert_eq!(message_type(&[4, 2, 0, 7]).unwrap(), (vec![1, 0], &[7][..]));
        assert!(message_type(&[4, 2]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = read(&bytes).and_then(|(_, body)| message_type(body));
        }
    }
}
