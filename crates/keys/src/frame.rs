//! The frame of every keystore file: `magic (8) | format (2) | payload | SHA-256 of all before (32)`, numbers
//! big-endian. The digest tells a damaged file from one that is whole but sealed under a destroyed key.

use crate::digest;
use model::{Error, Result};

const MAGIC_BYTES: usize = 8;
const DIGEST_BYTES: usize = 32;
pub const FRAME_BYTES: usize = MAGIC_BYTES + 2 + DIGEST_BYTES;

/// A kind of file: what it is called in errors, how it begins, which format this version writes.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    pub name: &'static str,
    pub magic: &'static [u8; MAGIC_BYTES],
    pub format: u16,
}

impl Form {
    pub fn begin(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.format.to_be_bytes());
        bytes
    }

    pub fn finish(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let digest = digest::sha256(&[&bytes]);
        bytes.extend(digest);
        bytes
    }

    /// Checks magic, format and digest; gives a reader over the payload.
    pub fn open<'a>(&self, bytes: &'a [u8]) -> Result<Reader<'a>> {
        let mut reader = Reader { form: *self, rest: bytes };
        if reader.take(MAGIC_BYTES)? != self.magic {
            return Err(self.damaged("it does not begin as it must"));
        }
        let format = reader.u16()?;
        if format != self.format {
            let words =
                format!("this {} has a format that this version does not read: use a newer nephkeep", self.name);
            return Err(Error::refused("keystore-format-unknown", words).with("format", format));
        }
        let Some((payload, digest)) = reader.rest.split_last_chunk::<DIGEST_BYTES>() else {
            return Err(self.damaged("it is cut short"));
        };
        if digest::sha256(&[&bytes[..bytes.len() - DIGEST_BYTES]]) != *digest {
            return Err(self.damaged("its checksum does not match"));
        }
        reader.rest = payload;
        Ok(reader)
    }

    pub fn damaged(&self, why: &str) -> Error {
        Error::corrupt("keystore-file-damaged", format!("this {} is damaged: {why}", self.name))
    }
}

/// Reads a checked payload; every method refuses to run past its end.
#[derive(Debug)]
pub struct Reader<'a> {
    form: Form,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    #[cfg(test)]
    pub fn over(form: Form, bytes: &'a [u8]) -> Self {
        Self { form, rest: bytes }
    }
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.form.damaged("it is cut short"));
        };
        self.rest = rest;
        Ok(taken)
    }
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }
    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }
    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }
    /// Everything that is left.
    pub fn remainder(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }
    pub fn end(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.form.damaged("it is longer than it says")) }
    }
    pub fn damaged(&self, why: &str) -> Error {
        self.form.damaged(why)
    }
}
