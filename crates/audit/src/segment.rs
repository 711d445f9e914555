//! Entry segments [F]: the durable truth of the log, 65,536 entries each (one level-1 tile of the tree).
//!
//! `segments/<first index>.open`: eight bytes of magic, then records: length (u16, big-endian), check (the first four
//! bytes of the leaf hash: it is computed anyway, and is stronger than a CRC), the entry. `segments/<first>.sealed`: one
//! line of JSON (`Header`), then the same records in one zstd frame.

use crate::{
    merkle::{Hash, leaf_hash},
    tile::WIDTH,
};
use model::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

pub(crate) const ENTRIES: u64 = WIDTH * WIDTH;
const MAGIC: &[u8; 8] = b"NKAUDIT1";
/// More than any segment can hold: 65,536 records of the largest size.
const MAX_BODY: u64 = ENTRIES * (65_535 + 6);

/// What is known of a sealed segment without reading its entries. Checked by the verifier against them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Header {
    pub v: u8,
    pub first: u64,
    pub entries: u64,
    pub root: String,
    pub bytes: u64,
    /// The last write position of each shard at the end of the segment, and where a restore said it continues.
    pub writes: Vec<String>,
    pub restored: Vec<String>,
}

pub(crate) fn folder(directory: &Path) -> PathBuf {
    directory.join("segments")
}

pub(crate) fn open_path(directory: &Path, first: u64) -> PathBuf {
    folder(directory).join(format!("{first:020}.open"))
}

pub(crate) fn sealed_path(directory: &Path, first: u64) -> PathBuf {
    folder(directory).join(format!("{first:020}.sealed"))
}

/// Makes a rename or a new file in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(crate) fn put_record(out: &mut Vec<u8>, entry: &[u8], hash: &Hash) {
    // Entries are at most 65,535 bytes: `codec` refuses longer ones.
    out.extend_from_slice(&u16::try_from(entry.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(&hash[..4]);
    out.extend_from_slice(entry);
}

/// Walks records until the end or the first that is not whole; returns how many bytes were good.
pub(crate) fn scan<'a>(body: &'a [u8], mut each: impl FnMut(&'a [u8], Hash)) -> usize {
    let mut rest = body;
    while let Some((entry, hash, after)) = next_record(rest) {
        each(entry, hash);
        rest = after;
    }
    body.len() - rest.len()
}

/// An empty record is none: an entry has at least one byte, and a tail of zeros is torn.
fn next_record(bytes: &[u8]) -> Option<(&[u8], Hash, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (check, rest) = rest.split_first_chunk::<4>()?;
    let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let hash = leaf_hash(entry);
    (!entry.is_empty() && hash[..4] == *check).then_some((entry, hash, rest))
}

/// The segment being written. `good` bytes are those of whole records; `synced` of them are durable.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    file: File,
    good: u64,
    synced: u64,
    /// Records since the last sync: after a failed write or sync they are written anew, because the page cache can
    /// no longer be trusted.
    unsynced: Vec<u8>,
    suspect: bool,
}

impl OpenSegment {
    pub(crate) fn create(directory: &Path, first: u64) -> io::Result<Self> {
        let path = open_path(directory, first);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.write_all_at(MAGIC, 0)?;
        file.sync_all()?;
        sync_directory(&folder(directory))?;
        let good = MAGIC.len() as u64;
        Ok(Self { file, good, synced: good, unsynced: Vec::new(), suspect: false })
    }

    /// Takes over a file whose first `good` bytes of records are whole; cuts off what follows.
    pub(crate) fn adopt(directory: &Path, first: u64, good: usize) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(open_path(directory, first))?;
        let good = (MAGIC.len() + good) as u64;
        file.write_all_at(MAGIC, 0)?;
        file.set_len(good)?;
        file.sync_all()?;
        Ok(Self { file, good, synced: good, unsynced: Vec::new(), suspect: false })
    }

    pub(crate) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        self.repair()?;
        self.suspect = true;
        self.file.write_all_at(records, self.good)?;
        self.suspect = false;
        self.good += records.len() as u64;
        self.unsynced.extend_from_slice(records);
        Ok(())
    }

    /// Returns whether there was anything to sync.
    pub(crate) fn sync(&mut self) -> io::Result<bool> {
        self.repair()?;
        if self.synced == self.good {
            return Ok(false);
        }
        self.suspect = true;
        self.file.sync_data()?;
        self.suspect = false;
        self.synced = self.good;
        self.unsynced.clear();
        Ok(true)
    }

    fn repair(&mut self) -> io::Result<()> {
        if self.suspect {
            self.file.set_len(self.synced)?;
            self.file.write_all_at(&self.unsynced, self.synced)?;
            self.suspect = false;
        }
        Ok(())
    }
}

fn damaged(path: &Path, what: &str) -> Error {
    let message = format!("a segment of the audit log is damaged: {what}; restore the file from a copy");
    Error::corrupt("audit-segment-damaged", message).with("file", path.display())
}

/// The records of an open segment, possibly with a torn end.
pub(crate) fn read_open(directory: &Path, first: u64) -> Result<Vec<u8>> {
    let path = open_path(directory, first);
    let mut bytes = fs::read(&path).map_err(|error| damaged(&path, "it cannot be read").caused_by(error))?;
    if !bytes.starts_with(MAGIC) {
        // A crash while the file was created leaves less than the magic; any other start is damage.
        if bytes.len() >= MAGIC.len() && bytes.iter().any(|byte| *byte != 0) {
            return Err(damaged(&path, "it does not begin with its magic"));
        }
        return Ok(Vec::new());
    }
    bytes.drain(..MAGIC.len());
    Ok(bytes)
}

pub(crate) fn read_header(directory: &Path, first: u64) -> Result<Header> {
    use io::{BufRead, BufReader, Read};
    let path = sealed_path(directory, first);
    let cannot = |error: io::Error| damaged(&path, "it cannot be read").caused_by(error);
    let file = File::open(&path).map_err(cannot)?;
    let mut line = Vec::new();
    BufReader::new(file.take(1 << 20)).read_until(b'\n', &mut line).map_err(cannot)?;
    parse_header(&path, first, &line)
}

fn parse_header(path: &Path, first: u64, line: &[u8]) -> Result<Header> {
    let header: Header = serde_json::from_slice(line)
        .map_err(|error| damaged(path, "its first line is not a header").caused_by(error))?;
    let known = header.v == 1 && header.first == first && header.entries == ENTRIES && header.bytes <= MAX_BODY;
    if known { Ok(header) } else { Err(damaged(path, "its header contradicts its name or its format")) }
}

/// The header and the records of a sealed segment.
pub(crate) fn read_sealed(directory: &Path, first: u64) -> Result<(Header, Vec<u8>)> {
    let path = sealed_path(directory, first);
    let bytes = fs::read(&path).map_err(|error| damaged(&path, "it cannot be read").caused_by(error))?;
    let line = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
    let header = parse_header(&path, first, &bytes[..line])?;
    let capacity = usize::try_from(header.bytes).unwrap_or(usize::MAX);
    let body = zstd::bulk::decompress(&bytes[line..], capacity)
        .map_err(|error| damaged(&path, "it cannot be decompressed").caused_by(error))?;
    if body.len() != capacity {
        return Err(damaged(&path, "it has another length than its header says"));
    }
    Ok((header, body))
}

/// The records of a segment, open or sealed, torn end included.
pub(crate) fn read_body(directory: &Path, first: u64) -> Result<Vec<u8>> {
    let sealed = || read_sealed(directory, first).map(|(_, body)| body);
    if sealed_path(directory, first).exists() {
        return sealed();
    }
    // It may be sealed between the look and the read.
    read_open(directory, first)
        .or_else(|error| if sealed_path(directory, first).exists() { sealed() } else { Err(error) })
}

/// Compresses a full open segment into a sealed one, then removes it.
pub(crate) fn seal(directory: &Path, header: &Header) -> Result<()> {
    let body = read_open(directory, header.first)?;
    let path = sealed_path(directory, header.first);
    let write = || -> io::Result<()> {
        let mut line = serde_json::to_vec(&Header { bytes: body.len() as u64, ..header.clone() })?;
        line.push(b'\n');
        line.extend_from_slice(&zstd::bulk::compress(&body, 1)?);
        let temporary = path.with_extension("new");
        let mut file = File::create(&temporary)?;
        file.write_all(&line)?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        sync_directory(&folder(directory))?;
        fs::remove_file(open_path(directory, header.first))
    };
    write().map_err(|error| {
        let message = "a full segment of the audit log cannot be compressed; it stays as it is until the next start";
        Error::retry("audit-unavailable", message).with("file", path.display()).caused_by(error)
    })
}

/// The segments in a directory by first index; a half-written file is ignored.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<(u64, bool)>> {
    let mut found = Vec::new();
    for file in fs::read_dir(folder(directory))? {
        let path = file?.path();
        let first = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        match (first, path.extension().and_then(|extension| extension.to_str())) {
            (Some(first), Some("open")) => found.push((first, false)),
            (Some(first), Some("sealed")) => found.push((first, true)),
            _ => {}
        }
    }
    // A crash between sealing and removing leaves both: the sealed one (durable first) counts.
    found.sort_unstable_by_key(|(first, sealed)| (*first, !sealed));
    found.dedup_by_key(|(first, _)| *first);
    Ok(found)
}
