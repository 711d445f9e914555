//! The file of a generation: everything applied, in order, each frame with its checksum.
//!
//! ```text
//! header   "NKVEC001"  u32 dimensions  u64 rotation seed  u16 length + model id      then its checksum (8 bytes)
//! frame    u32 length of the payload   8 bytes checksum of the payload   payload
//! payload  u8 1 (a key's objects; none: removed) | u8 2 (position reached)
//!   1: texts position, tenant, kind, id, subject, source (each u16 length + UTF-8)  u64 version  u8 class
//!      u32 objects, then for each u32 ordinal and `dimensions` f32
//!   2: text position
//! ```
//! Numbers are little-endian; a checksum is the first eight bytes of SHA-256. A frame that the file ends in the middle
//! of was never acknowledged and is cut off; one that does not fit its checksum is damage: its key is missing until
//! it is applied again, and `verify` names it.

use model::{Class, Error, Kind, Position, ResourceKey, Result, Subject, Tenant, Version};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

const MAGIC: &[u8; 8] = b"NKVEC001";
const FRAME_HEAD: usize = 12;
/// No frame is longer: a length beyond it is damage.
const FRAME_MAX: u32 = 256 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub dimensions: usize,
    pub seed: u64,
    pub model: Arc<str>,
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

#[derive(Debug)]
pub enum Frame {
    /// With the offset of its first ordinal, and the vectors one after the other.
    Key {
        stored: Stored,
        objects_at: u64,
        vectors: Vec<f32>,
    },
    Reached(Position),
    Damaged,
}

pub fn unusable(path: &Path, error: io::Error) -> Error {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let (code, what) = match full {
        true => ("disk-full", "there is no space left for the vector index"),
        false => ("vectors-unusable", "a file of the vector index cannot be used"),
    };
    Error::retry(code, what).with("path", path.display()).caused_by(error)
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    first
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(u32::try_from(self.dimensions).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(self.seed.to_le_bytes());
        put(&mut out, &self.model);
        let check = checksum(&out);
        out.extend(check);
        out
    }

    pub fn create(&self, path: &Path) -> Result<File> {
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let mut file = made.map_err(|error| unusable(path, error))?;
        let written = file.write_all(&self.encode()).and_then(|()| file.sync_all());
        written.map_err(|error| unusable(path, error))?;
        Ok(file)
    }

    fn read(reader: &mut impl Read, path: &Path) -> Result<(Self, u64)> {
        let broken = || {
            let what = "the head of the vector index is damaged; rebuild it: nephkeep rebuild vectors";
            Error::corrupt("vectors-damaged", what).with("path", path.display())
        };
        let mut head = [0; 22];
        reader.read_exact(&mut head).map_err(|_| broken())?;
        let (magic, rest) = head.split_at(8);
        let mut fields = Fields(rest);
        let (dimensions, seed, length) = match (fields.u32(), fields.u64(), fields.u16()) {
            (Some(dimensions), Some(seed), Some(length)) if magic == MAGIC => (dimensions, seed, usize::from(length)),
            _ => return Err(broken()),
        };
        let mut tail = vec![0; length + 8];
        reader.read_exact(&mut tail).map_err(|_| broken())?;
        let model = std::str::from_utf8(&tail[..length]).map_err(|_| broken())?;
        let header = Self { dimensions: dimensions as usize, seed, model: model.into() };
        let encoded = header.encode();
        if encoded[..22] != head || encoded[22..] != tail {
            return Err(broken());
        }
        Ok((header, encoded.len() as u64))
    }
}

/// Reads a file from its beginning, frame by frame; gives the header and where the last whole frame ends.
pub fn read(path: &Path, mut each: impl FnMut(&Header, Frame) -> Result<()>) -> Result<(File, Header, u64)> {
    let opened = OpenOptions::new().read(true).write(true).open(path);
    let file = opened.map_err(|error| unusable(path, error))?;
    let again = file.try_clone().map_err(|error| unusable(path, error))?;
    let mut reader = BufReader::with_capacity(1 << 20, again);
    let (header, mut at) = Header::read(&mut reader, path)?;
    let size = file.metadata().map_err(|error| unusable(path, error))?.len();
    loop {
        let mut head = [0; FRAME_HEAD];
        if size - at < FRAME_HEAD as u64 || reader.read_exact(&mut head).is_err() {
            break;
        }
        let mut length = [0; 4];
        length.copy_from_slice(&head[..4]);
        let length = u32::from_le_bytes(length);
        let end = at + FRAME_HEAD as u64 + u64::from(length);
        // A length that leads out of the file: torn at the end, or damaged; nothing behind it can be told apart.
        if length > FRAME_MAX || end > size {
            break;
        }
        let mut payload = vec![0; length as usize];
        reader.read_exact(&mut payload).map_err(|error| unusable(path, error))?;
        let whole = checksum(&payload) == head[4..];
        let frame = if whole { decode(&payload, &header, at + FRAME_HEAD as u64) } else { None };
        each(&header, frame.unwrap_or(Frame::Damaged))?;
        at = end;
    }
    file.set_len(at).map_err(|error| unusable(path, error))?;
    Ok((file, header, at))
}

/// Little-endian fields of a payload.
struct Fields<'b>(&'b [u8]);

impl<'b> Fields<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }
    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes(self.take(2)?.try_into().ok()?))
    }
    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }
    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }
    fn text(&mut self) -> Option<&'b str> {
        let length = usize::from(self.u16()?);
        std::str::from_utf8(self.take(length)?).ok()
    }
}

fn put(out: &mut Vec<u8>, text: &str) {
    // Names are at most 256 bytes and positions shorter.
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend(length.to_le_bytes());
    out.extend(&text.as_bytes()[..usize::from(length)]);
}

fn decode(payload: &[u8], header: &Header, at: u64) -> Option<Frame> {
    let mut fields = Fields(payload);
    let sort = fields.u8()?;
    let position = fields.text()?.parse().ok()?;
    if sort == 2 {
        return Some(Frame::Reached(position));
    }
    let (tenant, kind, id) = (Tenant::new(fields.text()?).ok()?, fields.text()?.parse::<Kind>().ok()?, fields.text()?);
    let key = ResourceKey::new(&tenant, kind, id).ok()?;
    let (subject, source) = (Subject::from_stored(fields.text()?), fields.text()?.into());
    let (version, class) = (fields.u64()?, Class::from_code(i16::from(fields.u8()?)).ok()?);
    let count = fields.u32()? as usize;
    let objects_at = at + (payload.len() - fields.0.len()) as u64;
    let (mut ordinals, mut vectors) = (Vec::with_capacity(count.min(4_096)), Vec::new());
    for _ in 0..count {
        ordinals.push(fields.u32()?);
        let bytes = fields.take(header.dimensions * 4)?;
        vectors.extend(bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])));
    }
    let stored = Stored { key, position, version, class, subject, source, ordinals };
    (sort == 1 && fields.0.is_empty()).then_some(Frame::Key { stored, objects_at, vectors })
}

fn framed(payload: &[u8], out: &mut Vec<u8>) {
    out.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(checksum(payload));
    out.extend(payload);
}

/// Appends the frame of a key; gives where its objects begin, counted from the beginning of `out`.
pub fn put_key(out: &mut Vec<u8>, stored: &Stored, vectors: &[&[f32]]) -> u64 {
    let mut payload = vec![1];
    put(&mut payload, &stored.position.to_string());
    for text in [stored.key.tenant.as_str(), stored.key.kind.as_str(), &stored.key.id, stored.subject.as_str()] {
        put(&mut payload, text);
    }
    put(&mut payload, &stored.source);
    payload.extend(stored.version.to_le_bytes());
    payload.push(u8::try_from(stored.class.code()).unwrap_or(u8::MAX));
    payload.extend(u32::try_from(stored.ordinals.len()).unwrap_or(u32::MAX).to_le_bytes());
    let objects_at = (out.len() + FRAME_HEAD + payload.len()) as u64;
    for (ordinal, vector) in stored.ordinals.iter().zip(vectors) {
        payload.extend(ordinal.to_le_bytes());
        payload.extend(vector.iter().flat_map(|value| value.to_le_bytes()));
    }
    framed(&payload, out);
    objects_at
}

pub fn put_reached(out: &mut Vec<u8>, position: Position) {
    let mut payload = vec![2];
    put(&mut payload, &position.to_string());
    framed(&payload, out);
}

/// One vector from its place.
pub fn vector_at(file: &File, at: u64, dimensions: usize) -> io::Result<Vec<f32>> {
    let mut bytes = vec![0; dimensions * 4];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect())
}

/// A directory's entries are durable once it is synced itself.
pub fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|error| unusable(path, error))
}
