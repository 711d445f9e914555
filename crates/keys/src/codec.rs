//! Compression before sealing: zstd level 1 with contexts kept per thread, and a bound on what comes out.

use model::{Error, Result};
use std::{cell::RefCell, io};
use zstd::bulk::{Compressor, Decompressor};

/// Nothing larger is sealed, and nothing larger is unpacked.
pub const CLEAR_MAX_BYTES: usize = 64 << 20;
const LEVEL: i32 = 1;

/// How the clear text was packed; the number stands in the envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    None = 0,
    Zstd = 1,
}

impl Codec {
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::None, Self::Zstd].into_iter().find(|codec| *codec as u8 == code)
    }
}

thread_local! {
    static PACK: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static UNPACK: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Appends the packed text to `out`, or the text itself when packing does not make it smaller.
pub fn pack(clear: &[u8], out: &mut Vec<u8>) -> Result<Codec> {
    let before = out.len();
    let bound = zstd::zstd_safe::compress_bound(clear.len());
    out.resize(before + bound, 0);
    let packed = PACK.with_borrow_mut(|slot| {
        with_context(slot, || Compressor::new(LEVEL), |context| context.compress_to_buffer(clear, &mut out[before..]))
    });
    let packed = packed.map_err(|cause| Error::bug("zstd could not compress a document").caused_by(cause))?;
    if packed < clear.len() {
        out.truncate(before + packed);
        return Ok(Codec::Zstd);
    }
    out.truncate(before);
    out.extend_from_slice(clear);
    Ok(Codec::None)
}

pub fn unpack(codec: Codec, packed: Vec<u8>) -> Result<Vec<u8>> {
    if codec == Codec::None {
        return Ok(packed);
    }
    let unpacked = UNPACK.with_borrow_mut(|slot| {
        with_context(slot, Decompressor::new, |context| context.decompress(&packed, CLEAR_MAX_BYTES))
    });
    unpacked.map_err(|cause| {
        let words = "the content of an envelope is authentic but cannot be unpacked within its bound";
        Error::corrupt("envelope-unpackable", words).with("limit-bytes", CLEAR_MAX_BYTES).caused_by(cause)
    })
}

fn with_context<C, T>(
    slot: &mut Option<C>,
    make: impl FnOnce() -> io::Result<C>,
    work: impl FnOnce(&mut C) -> io::Result<T>,
) -> io::Result<T> {
    let context = match slot {
        Some(context) => context,
        None => slot.insert(make()?),
    };
    work(context)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn round(clear: &[u8]) -> (Codec, usize) {
        let mut out = b"before".to_vec();
        let codec = pack(clear, &mut out).unwrap();
        assert_eq!(&out[..6], b"before");
        let packed = out.split_off(6);
        let length = packed.len();
        assert_eq!(unpack(codec, packed).unwrap(), clear);
        (codec, length)
    }

    #[test]
    fn text_is_packed_and_what_does_not_shrink_is_left() {
        let (codec, length) = round(&b"intent ".repeat(300));
        assert_eq!(codec, Codec::Zstd);
        assert!(length < 100);
        assert_eq!(round(b"{}"), (Codec::None, 2));
        assert_eq!(round(b""), (Codec::None, 0));
    }

    #[test]
    fn a_bomb_is_refused_and_so_is_rubbish() {
        let bomb = zstd::bulk::compress(&vec![0; CLEAR_MAX_BYTES + 1], 1).unwrap();
        assert!(bomb.len() < 16_384);
        for bytes in [bomb, b"rubbish".to_vec()] {
            assert_eq!(unpack(Codec::Zstd, bytes).unwrap_err().code(), "envelope-unpackable");
        }
    }
}
