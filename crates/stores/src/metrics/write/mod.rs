//! Remote write: a body of either version becomes batches for the engines, one for each retention class, with the
//! tenant forced into every series.
//!
//! Nothing is guessed about what was stored: an engine that refuses a batch is asked for its halves until the single
//! offender stands alone, and the numbers told to the sender are those of the batches that were taken.

mod batch;
mod labels;
pub mod send;
mod v1;
mod v2;

pub use batch::{Batch, Batches, Counts, Described, Refusal};

use super::wire;
use model::{Error, Result, Tenant};

/// A decoded body is this many times larger than we take compressed.
pub const DECODED_BYTES: usize = 64 << 20;

/// The two messages of remote write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    V1,
    V2,
}

impl Protocol {
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::V1 => "application/x-protobuf",
            Self::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::V1 => "0.1.0",
            Self::V2 => "2.0.0",
        }
    }

    /// What a Content-Type declares; none means version 1, as it did before there were two.
    #[must_use]
    pub fn declared(content_type: Option<&str>) -> Option<Self> {
        let Some(declared) = content_type else { return Some(Self::V1) };
        let mut parts = declared.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case("application/x-protobuf") {
            return None;
        }
        let mut protocol = Self::V1;
        for (name, value) in
            parts.filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")))
        {
            if !name.trim().eq_ignore_ascii_case("proto") {
                continue;
            }
            protocol = match value.trim().trim_matches('"') {
                "prometheus.WriteRequest" => Self::V1,
                "io.prometheus.write.v2.Request" => Self::V2,
                _ => return None,
            };
        }
        Some(protocol)
    }
}

/// What the engine that takes a batch understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engine {
    /// The newest message it takes.
    pub protocol: Protocol,
    /// Names of any letters; older ones drop such series in silence.
    pub any_names: bool,
}

/// Takes a body apart. `engine` decides in which version the batches are.
pub fn decode(protocol: Protocol, body: &[u8], tenant: &Tenant, engine: Engine) -> Result<Batches> {
    let message = unpack(body)?;
    let mut batches = Batches::new(protocol.min(engine.protocol));
    match protocol {
        Protocol::V1 => v1::read(&message, tenant, engine, &mut batches)?,
        Protocol::V2 => v2::read(&message, tenant, engine, &mut batches)?,
    }
    Ok(batches)
}

/// The size stands at the head of a snappy block: a bomb is refused before it is unpacked.
fn unpack(body: &[u8]) -> Result<Vec<u8>> {
    let broken = |_| Error::invalid("remote-write-malformed", "the body is not a snappy block");
    let size = snap::raw::decompress_len(body).map_err(broken)?;
    if size > DECODED_BYTES {
        let what = "the unpacked body is too large; send smaller batches";
        return Err(Error::invalid("body-too-large", what).with("bytes", size).with("limit", DECODED_BYTES));
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(broken)
}

/// A snappy block of one literal: valid everywhere and as cheap as copying, for an engine on the same machine.
#[must_use]
pub fn pack_stored(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 16);
    wire::put_varint(&mut out, message.len() as u64);
    // A literal of up to 2^32 bytes: its length less one in four bytes.
    for piece in message.chunks(u32::MAX as usize) {
        out.push(63 << 2);
        out.extend_from_slice(&u32::try_from(piece.len() - 1).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(piece);
    }
    out
}

/// The same compressed, for an engine elsewhere.
pub fn pack_small(message: &[u8]) -> Result<Vec<u8>> {
    let packed = snap::raw::Encoder::new().compress_vec(message);
    packed.map_err(|error| Error::bug("a message cannot be compressed").caused_by(error))
}

#[cfg(test)]
mod tests;
