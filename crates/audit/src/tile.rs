//! The C2SP tlog-tiles layout: paths, widths, reading; a tree of tiles as a source of Merkle nodes.

use crate::merkle::{Hash, fold};
use model::{Error, Result};
use std::{
    collections::HashMap,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

/// Hashes in a full tile, entries in a full bundle.
pub(crate) const WIDTH: u64 = 256;

/// Which resource: hashes of a level, or entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Row {
    Entries,
    Hashes(u8),
}

/// `tile/<L>/<N>[.p/<W>]`: N in groups of three digits, all but the last with an `x` before them.
pub(crate) fn tile_path(row: Row, number: u64, width: u64) -> String {
    let mut path = match row {
        Row::Entries => String::from("tile/entries/"),
        Row::Hashes(level) => format!("tile/{level}/"),
    };
    let digits = number.to_string();
    let padded = format!("{digits:0>width$}", width = digits.len().div_ceil(3) * 3);
    for (index, digit) in padded.chars().enumerate() {
        if index % 3 == 0 && index > 0 {
            path.push('/');
        }
        if index % 3 == 0 && index + 3 < padded.len() {
            path.push('x');
        }
        path.push(digit);
    }
    if width < WIDTH {
        // Writing to a string cannot fail.
        let _ = write!(path, ".p/{width}");
    }
    path
}

/// How many hashes tile `number` of a level has in a tree of `size` leaves.
pub(crate) fn tile_width(size: u64, level: u8, number: u64) -> u64 {
    let row = size.checked_shr(8 * u32::from(level)).unwrap_or(0);
    row.saturating_sub(number * WIDTH).min(WIDTH)
}

/// Reads a tile or bundle; a partial one may have been replaced by the full one.
pub(crate) fn read_tile(directory: &Path, row: Row, number: u64, width: u64) -> Result<Vec<u8>> {
    let path = tile_path(row, number, width);
    let bytes = match fs::read(directory.join(&path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && width < WIDTH => {
            fs::read(directory.join(tile_path(row, number, WIDTH)))
        }
        other => other,
    };
    bytes.map_err(|error| {
        let message = "a tile of the audit log cannot be read; run `nephkeep audit verify`";
        Error::corrupt("audit-tile-missing", message).with("tile", path).caused_by(error)
    })
}

/// The hashes of a tile, at least `width` of them.
pub(crate) fn read_hashes(directory: &Path, level: u8, number: u64, width: u64) -> Result<Vec<Hash>> {
    let bytes = read_tile(directory, Row::Hashes(level), number, width)?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || (hashes.len() as u64) < width {
        let message = "a tile of the audit log has another length than its width demands";
        let tile = tile_path(Row::Hashes(level), number, width);
        return Err(Error::corrupt("audit-tile-missing", message).with("tile", tile).with("bytes", bytes.len()));
    }
    Ok(hashes.to_vec())
}

/// Cuts an entry bundle into entries; `None` when its lengths do not add up.
pub(crate) fn split_bundle(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut entries = Vec::with_capacity(256);
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        entries.push(entry);
        bytes = rest;
    }
    Some(entries)
}

/// The tiles of a tree of `size` leaves, each read once.
pub(crate) struct TileTree {
    directory: PathBuf,
    size: u64,
    read: HashMap<(u8, u64), Vec<Hash>>,
}

impl TileTree {
    pub(crate) fn new(directory: &Path, size: u64) -> Self {
        Self { directory: directory.to_owned(), size, read: HashMap::new() }
    }

    pub(crate) fn node(&mut self, height: u32, index: u64) -> Result<Hash> {
        let level = u8::try_from(height / 8).unwrap_or(u8::MAX);
        let within = height % 8;
        let start = index << within;
        let number = start / WIDTH;
        if !self.read.contains_key(&(level, number)) {
            let width = tile_width(self.size, level, number);
            let hashes = read_hashes(&self.directory, level, number, width)?;
            self.read.insert((level, number), hashes);
        }
        let low = usize::try_from(start % WIDTH).unwrap_or(usize::MAX);
        let row = self.read.get(&(level, number)).and_then(|hashes| hashes.get(low..low + (1 << within)));
        row.map(fold).ok_or_else(|| Error::bug("a Merkle node outside the tree was asked for"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_widths_are_those_of_the_specification() {
        assert_eq!(tile_path(Row::Hashes(0), 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(tile_path(Row::Entries, 7, 112), "tile/entries/007.p/112");
        assert_eq!(tile_path(Row::Hashes(1), 1_000, 256), "tile/1/x001/000");
        let widths = |level, number| tile_width(70_000, level, number);
        assert_eq!((widths(0, 272), widths(0, 273), widths(0, 274)), (256, 112, 0));
        assert_eq!((widths(1, 0), widths(1, 1), widths(2, 0), widths(3, 0)), (256, 17, 1, 0));
        assert_eq!((tile_width(256, 0, 0), tile_width(256, 1, 0)), (256, 1));
    }

    #[test]
    fn a_bundle_that_does_not_add_up_is_refused() {
        assert_eq!(split_bundle(&[0, 1, 9, 0, 0]), Some(vec![&[9u8][..], &[]]));
        assert_eq!(split_bundle(&[0, 2, 9]), None);
        assert_eq!(split_bundle(&[0]), None);
    }
}
