//! The file of a generation: its head, and its frames read from the first to the last.
//!
//! What no whole frame follows was never acknowledged, or is applied again because the position goes back with it: it
//! is cut off. What a whole frame follows is damage. A passing error of the file system is neither.

use super::{
    frame::{self, Fields, HEAD, Head, Key, MARK, Sort, Span, checksum, put},
    seal::{Bound, Seal},
};
use crate::{digest, generations::Naming};
use model::{Error, Position, Result};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

const MAGIC: &[u8; 8] = b"NKVEC002";
/// Magic, dimensions, seed, key and the length of the model's id.
const FIXED: usize = 30;
const CHUNK: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub dimensions: usize,
    pub seed: u64,
    /// Which key of the keystore the file's own key is made of.
    pub key: u64,
    pub model: Arc<str>,
}

pub static NAMING: Naming = Naming {
    index: "vector index",
    ending: ".vectors",
    unusable: "vectors-unusable",
    damaged: "vectors-damaged",
    remedy: "nephkeep rebuild vectors",
};

pub fn unusable(path: &Path, error: io::Error) -> Error {
    NAMING.unusable(path, error)
}

impl Header {
    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend(u32::try_from(self.dimensions).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(self.seed.to_le_bytes());
        out.extend(self.key.to_le_bytes());
        put(&mut out, self.model.as_bytes());
        let check = checksum(&out);
        out.extend(check);
        out
    }

    pub fn length(&self) -> u64 {
        (FIXED + self.model.len() + 8) as u64
    }

    pub fn create(&self, path: &Path) -> Result<File> {
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let mut file = made.map_err(|error| unusable(path, error))?;
        let written = file.write_all(&self.encode()).and_then(|()| file.sync_all());
        if let Err(error) = written {
            let _gone = std::fs::remove_file(path);
            return Err(unusable(path, error));
        }
        Ok(file)
    }

    pub fn read(file: &File, path: &Path) -> Result<Self> {
        let bytes = at_most(file, 0, FIXED + usize::from(u16::MAX) + 8).map_err(|error| unusable(path, error))?;
        Self::decode(&bytes).ok_or_else(|| {
            let what = "the head of the vector index is damaged, or of another version; nephkeep rebuild vectors";
            Error::corrupt("vectors-damaged", what).with("path", path.display())
        })
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes.strip_prefix(MAGIC)?);
        let (dimensions, seed, key) = (fields.u32()? as usize, fields.u64()?, fields.u64()?);
        let model = std::str::from_utf8(fields.0.get(2..2 + usize::from(fields.u16()?))?).ok()?.into();
        let header = Self { dimensions, seed, key, model };
        bytes.starts_with(&header.encode()).then_some(header)
    }
}

/// Bytes from a place on; fewer where the file ends.
fn at_most(file: &File, at: u64, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    let mut filled = 0;
    while filled < count {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// What a file has, in its order.
#[derive(Debug)]
pub enum Found {
    Key(u64, Key),
    Reached(Position),
    Removed(u64, Position),
    Missing(u64),
    Lost(u64),
    /// False: bytes of what it was written over are still behind its head.
    Blank(u64, bool),
    /// Damage, and the places of the keys it may have been; none is known of some.
    Ruin(Vec<u64>),
}

#[derive(Debug)]
pub struct Reader<'r> {
    pub file: &'r File,
    pub path: &'r Path,
    pub header: &'r Header,
    pub seal: &'r Seal,
}

impl Reader<'_> {
    /// Hands over everything up to the last whole frame, and gives where that ends.
    pub fn read(&self, mut each: impl FnMut(Span, Found)) -> Result<u64> {
        let unusable = |error| unusable(self.path, error);
        let size = self.file.metadata().map_err(unusable)?.len();
        let (mut at, mut whole) = (self.header.length(), self.header.length());
        let (mut ruins, mut window) = (Vec::new(), Window::default());
        while at < size {
            let head = Head::read(window.bytes(self.file, at, HEAD).map_err(unusable)?);
            let Some(head) = head.filter(|head| at + u64::from(head.whole()) <= size) else {
                let next = self.next_head(at + 1, size).map_err(unusable)?;
                let Some(next) = next else { break };
                ruins.push(self.ruin(at, next).map_err(unusable)?);
                at = next;
                continue;
            };
            let span = Span { at, length: head.whole() };
            let bytes = window.bytes(self.file, at, head.whole() as usize).map_err(unusable)?;
            let payload = bytes.get(HEAD..).unwrap_or_default();
            match self.frame(head, payload) {
                Some(found) => {
                    ruins.drain(..).for_each(|(span, places)| each(span, Found::Ruin(places)));
                    each(span, found);
                    whole = at + u64::from(span.length);
                }
                // A position that cannot be read loses nothing: a later one says more.
                None if head.sort == Sort::Reached => {}
                None => ruins.push((span, Vec::from_iter((head.place != 0).then_some(head.place)))),
            }
            at += u64::from(span.length);
        }
        Ok(whole)
    }

    fn frame(&self, head: Head, payload: &[u8]) -> Option<Found> {
        if head.sort == Sort::Blank {
            // Also with half of what it was written over: an erasure that a power cut came between is ended.
            return Some(Found::Blank(head.place, payload.iter().all(|byte| *byte == 0)));
        }
        if checksum(payload) != head.check {
            return None;
        }
        Some(match head.sort {
            Sort::Key => Found::Key(head.place, frame::key(payload, head.place, self.header.dimensions, self.seal)?),
            Sort::Reached => Found::Reached(frame::position(payload)?),
            Sort::Removed => Found::Removed(head.place, frame::position(payload)?),
            Sort::Missing => Found::Missing(head.place),
            Sort::Lost => Found::Lost(frame::count(payload)?),
            Sort::Blank => return None,
        })
    }

    /// The next place at which a head stands that is whole.
    fn next_head(&self, from: u64, size: u64) -> io::Result<Option<u64>> {
        let mut at = from;
        while at < size {
            let bytes = at_most(self.file, at, CHUNK + HEAD)?;
            let starts = bytes.windows(MARK.len()).enumerate().filter(|(_, window)| window == MARK);
            let head = |start: usize| Head::read(bytes.get(start..)?).map(|head| (at + start as u64, head));
            let mut heads = starts.filter_map(|(start, _)| head(start));
            if let Some((found, _)) = heads.find(|(found, head)| found + u64::from(head.whole()) <= size) {
                return Ok(Some(found));
            }
            at += CHUNK as u64;
        }
        Ok(None)
    }

    /// Whose frame lay between these places, as far as what is left of it tells.
    fn ruin(&self, from: u64, to: u64) -> io::Result<(Span, Vec<u64>)> {
        let bytes = at_most(self.file, from, usize::try_from(to - from).unwrap_or(usize::MAX).min(CHUNK))?;
        let payload = bytes.get(HEAD..).unwrap_or_default();
        let told = Head::unchecked(&bytes).filter(|head| head.sort == Sort::Key).map(|head| head.place);
        let guessed = frame::guess(payload).map(|key| digest::place(&key));
        // A payload that opens was not hit: then its key is the one.
        let opens = |place: &u64| frame::key(payload, *place, self.header.dimensions, self.seal).is_some();
        let places: Vec<u64> = match guessed.filter(opens) {
            Some(place) => vec![place],
            None => told.into_iter().chain(guessed.filter(|guessed| told != Some(*guessed))).collect(),
        };
        Ok((Span { at: from, length: u32::try_from(to - from).unwrap_or(u32::MAX) }, places))
    }
}

/// A file read on and on, in large pieces.
#[derive(Debug, Default)]
struct Window {
    from: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Fewer where the file ends.
    fn bytes(&mut self, file: &File, at: u64, count: usize) -> io::Result<&[u8]> {
        let within = at >= self.from && at + count as u64 <= self.from + self.bytes.len() as u64;
        if !within {
            self.bytes = at_most(file, at, count.max(CHUNK))?;
            self.from = at;
        }
        let start = usize::try_from(at - self.from).unwrap_or(usize::MAX);
        Ok(&self.bytes[start..self.bytes.len().min(start + count)])
    }
}

/// One vector from its place. `None`: what lies there was not sealed here.
pub fn vector_at(file: &File, at: u64, dimensions: usize, seal: &Seal, bound: Bound) -> io::Result<Option<Vec<f32>>> {
    let mut bytes = vec![0; dimensions * 4 + super::seal::OVERHEAD];
    file.read_exact_at(&mut bytes, at)?;
    Ok(seal.open(bound, &bytes).map(|clear| frame::floats(&clear).collect()))
}
