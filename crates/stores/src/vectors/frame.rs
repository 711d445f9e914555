//! Frames: what a file of the index is made of after its head. The guide (`docs/guide/vectors.md`) has the layout.
//!
//! A frame's head has a checksum of its own and names the place of its key, so that damage behind it has a name, and
//! damage in it does not hide what follows.

use super::seal::{Bound, OVERHEAD, SOURCE, Seal};
use model::{Class, Error, Kind, Position, ResourceKey, Result, Subject, Tenant, Version};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

pub const HEAD: usize = 32;
pub const MARK: &[u8; 3] = b"NKV";
/// No frame is longer.
const PAYLOAD_MAX: u32 = 256 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// A key's state; without objects: it was removed.
    Key,
    /// The position that is reached with everything before.
    Reached,
    /// Kept of a removed key by a compaction: nothing older may bring it back.
    Removed,
    /// Kept of a damaged key by a compaction: it is missing until it is applied again.
    Missing,
    /// Kept by a compaction: damage of which no key is known, counted.
    Lost,
    /// Overwritten by an erasure. The key of this place had its state here.
    Blank,
}

const SORTS: [(Sort, u8); 6] = [
    (Sort::Key, b'K'),
    (Sort::Reached, b'R'),
    (Sort::Removed, b'D'),
    (Sort::Missing, b'M'),
    (Sort::Lost, b'L'),
    (Sort::Blank, b'B'),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub sort: Sort,
    /// Of the payload.
    pub length: u32,
    /// Of the key among all keys; 0 where no key is meant.
    pub place: u64,
    pub check: [u8; 8],
}

/// Where a frame lies, its head included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub at: u64,
    pub length: u32,
}

/// A key's state as a frame holds it; vectors stay in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub key: ResourceKey,
    pub position: Position,
    pub version: Version,
    pub class: Class,
    pub subject: Subject,
    pub source: Arc<str>,
    pub ordinals: Vec<u32>,
}

pub fn checksum(bytes: &[u8]) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    first
}

impl Head {
    fn encode(self) -> [u8; HEAD] {
        let mut out = [0; HEAD];
        out[..3].copy_from_slice(MARK);
        out[3] = SORTS.iter().find(|(sort, _)| *sort == self.sort).map_or(0, |(_, letter)| *letter);
        out[4..8].copy_from_slice(&self.length.to_le_bytes());
        out[8..16].copy_from_slice(&self.place.to_le_bytes());
        out[16..24].copy_from_slice(&self.check);
        let check = checksum(&out[..24]);
        out[24..].copy_from_slice(&check);
        out
    }

    /// `None`: these bytes are no head.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEAD>()?;
        let head = Self::unchecked(bytes)?;
        (bytes[..3] == *MARK && bytes[24..] == checksum(&bytes[..24]) && head.length <= PAYLOAD_MAX).then_some(head)
    }

    /// What stands where a head should be, right or wrong: damage is guessed at with it.
    pub fn unchecked(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes.first_chunk::<HEAD>()?);
        fields.take(3)?;
        let letter = fields.u8()?;
        let (sort, _) = SORTS.into_iter().find(|(_, known)| *known == letter)?;
        let (length, place) = (fields.u32()?, fields.u64()?);
        Some(Self { sort, length, place, check: *fields.0.first_chunk()? })
    }

    pub fn whole(self) -> u32 {
        HEAD as u32 + self.length
    }
}

/// Little-endian fields.
pub struct Fields<'b>(pub &'b [u8]);

impl<'b> Fields<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }
    pub fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }
    pub fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
    fn counted(&mut self) -> Option<&'b [u8]> {
        let length = usize::from(self.u16()?);
        self.take(length)
    }
    fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.counted()?).ok()
    }
}

pub fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    // Names are at most 256 bytes and positions shorter.
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend(length.to_le_bytes());
    out.extend(&bytes[..usize::from(length)]);
}

fn framed(sort: Sort, place: u64, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend(Head { sort, length, place, check: checksum(payload) }.encode());
    out.extend(payload);
}

/// Where in a frame a key's objects begin, and how long the frame is.
#[derive(Debug, Clone, Copy)]
pub struct Put {
    pub objects: u64,
    pub length: u32,
}

/// How far the objects of a key lie from one another.
pub fn stride(dimensions: usize) -> u64 {
    (4 + OVERHEAD + dimensions * 4) as u64
}

/// Appends the frame of a key.
pub fn put_key(out: &mut Vec<u8>, seal: &Seal, place: u64, stored: &Stored, vectors: &[&[f32]]) -> Result<Put> {
    let bound = |ordinal| Bound { place, version: stored.version, ordinal };
    let mut payload = Vec::new();
    put(&mut payload, stored.position.to_string().as_bytes());
    for text in [stored.key.tenant.as_str(), stored.key.kind.as_str(), &stored.key.id, stored.subject.as_str()] {
        put(&mut payload, text.as_bytes());
    }
    payload.extend(stored.version.to_le_bytes());
    payload.push(u8::try_from(stored.class.code()).unwrap_or(u8::MAX));
    let mut source = Vec::new();
    seal.seal(bound(SOURCE), stored.source.as_bytes(), &mut source)?;
    put(&mut payload, &source);
    payload.extend(u32::try_from(stored.ordinals.len()).unwrap_or(u32::MAX).to_le_bytes());
    let objects = (HEAD + payload.len()) as u64;
    let mut clear = Vec::new();
    for (ordinal, vector) in stored.ordinals.iter().zip(vectors) {
        payload.extend(ordinal.to_le_bytes());
        clear.clear();
        clear.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
        seal.seal(bound(*ordinal), &clear, &mut payload)?;
    }
    if payload.len() > PAYLOAD_MAX as usize {
        let what = "a document has more vectors than the index takes of one";
        return Err(Error::invalid("document-too-large", what).with("id", &stored.key.id));
    }
    framed(Sort::Key, place, &payload, out);
    Ok(Put { objects, length: u32::try_from(HEAD + payload.len()).unwrap_or(u32::MAX) })
}

pub fn put_reached(out: &mut Vec<u8>, position: Position) {
    framed(Sort::Reached, 0, position.to_string().as_bytes(), out);
}

pub fn put_removed(out: &mut Vec<u8>, place: u64, position: Position) {
    framed(Sort::Removed, place, position.to_string().as_bytes(), out);
}

pub fn put_missing(out: &mut Vec<u8>, place: u64) {
    framed(Sort::Missing, place, &[], out);
}

pub fn put_lost(out: &mut Vec<u8>, count: u64) {
    framed(Sort::Lost, 0, &count.to_le_bytes(), out);
}

/// Nothing but a head and zeros, as long as what it is written over.
pub fn blank(place: u64, length: u32) -> Vec<u8> {
    let mut payload = vec![0; (length as usize).saturating_sub(HEAD)];
    let check = checksum(&payload);
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    payload.splice(0..0, Head { sort: Sort::Blank, length, place, check }.encode());
    payload
}

pub fn position(payload: &[u8]) -> Option<Position> {
    std::str::from_utf8(payload).ok()?.parse().ok()
}

pub fn count(payload: &[u8]) -> Option<u64> {
    Fields(payload).u64()
}

/// A key as its frame says it.
#[derive(Debug, PartialEq)]
pub struct Key {
    pub stored: Stored,
    /// From the beginning of the frame.
    pub objects: u64,
    /// One after the other.
    pub vectors: Vec<f32>,
}

/// The payload of a key's frame. `None`: it was not written here, or not under this key.
pub fn key(payload: &[u8], place: u64, dimensions: usize, seal: &Seal) -> Option<Key> {
    let mut fields = Fields(payload);
    let position = fields.text()?.parse().ok()?;
    let key = named(&mut fields)?;
    let subject = Subject::from_stored(fields.text()?);
    let (version, class) = (fields.u64()?, Class::from_code(i16::from(fields.u8()?)).ok()?);
    let bound = |ordinal| Bound { place, version, ordinal };
    let source = String::from_utf8(seal.open(bound(SOURCE), fields.counted()?)?).ok()?.into();
    let count = fields.u32()? as usize;
    let objects = (HEAD + payload.len() - fields.0.len()) as u64;
    let (mut ordinals, mut vectors) = (Vec::with_capacity(count.min(4_096)), Vec::new());
    for _ in 0..count {
        let ordinal = fields.u32()?;
        let clear = seal.open(bound(ordinal), fields.take(OVERHEAD + dimensions * 4)?)?;
        ordinals.push(ordinal);
        vectors.extend(floats(&clear));
    }
    let stored = Stored { key, position, version, class, subject, source, ordinals };
    fields.0.is_empty().then_some(Key { stored, objects, vectors })
}

fn named(fields: &mut Fields<'_>) -> Option<ResourceKey> {
    let tenant = Tenant::new(fields.text()?).ok()?;
    let kind = fields.text()?.parse::<Kind>().ok()?;
    ResourceKey::new(&tenant, kind, fields.text()?).ok()
}

/// Whose frame this might have been: read without any check.
pub fn guess(payload: &[u8]) -> Option<ResourceKey> {
    let mut fields = Fields(payload);
    fields.counted()?;
    named(&mut fields)
}

pub fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}
