//! Counts and digests per range of keys, computed alike by the record's side and by each copy.
//!
//! A key's place is the first eight bytes (big-endian) of SHA-256 over `tenant 0x00 kind 0x00 id`. The digest of an
//! object is SHA-256 over its length-prefixed fields; of a key, over its position, version and the digests of its
//! objects in order; of a range, over the digests of its keys in the order of (place, key).

use crate::change::{Body, CopyChange, Object};
use model::{Position, ResourceKey, Version};
use sha2::{Digest as _, Sha256};

/// Places from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyRange {
    pub first: u64,
    pub last: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeDigest {
    /// Keys with at least one object.
    pub keys: u64,
    pub objects: u64,
    pub digest: [u8; 32],
}

/// One key of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub place: u64,
    pub key: ResourceKey,
    pub version: Version,
    pub position: Position,
    pub objects: u32,
    pub digest: [u8; 32],
}

impl KeyRange {
    pub const ALL: Self = Self { first: 0, last: u64::MAX };

    #[must_use]
    pub fn contains(&self, place: u64) -> bool {
        (self.first..=self.last).contains(&place)
    }

    /// Up to sixteen equal parts, in order.
    #[must_use]
    pub fn parts(&self) -> Vec<Self> {
        let width = (u128::from(self.last) - u128::from(self.first) + 1).div_ceil(16).max(1);
        let mut parts = Vec::with_capacity(16);
        let (mut first, end) = (u128::from(self.first), u128::from(self.last));
        while first <= end {
            let last = (first + width - 1).min(end);
            parts.push(Self {
                first: u64::try_from(first).unwrap_or(u64::MAX),
                last: u64::try_from(last).unwrap_or(u64::MAX),
            });
            first = last + 1;
        }
        parts
    }
}

/// Where a key stands among all keys.
#[must_use]
pub fn place(key: &ResourceKey) -> u64 {
    let mut hash = Sha256::new();
    hash.update(key.tenant.as_str());
    hash.update([0]);
    hash.update(key.kind.as_str());
    hash.update([0]);
    hash.update(key.id.as_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

fn field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

#[must_use]
pub fn of_object(object: &Object) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(object.ordinal.to_be_bytes());
    match &object.body {
        Body::Vector { model, source, values } => {
            field(&mut hash, b"vector");
            field(&mut hash, model.as_bytes());
            field(&mut hash, source.as_bytes());
            hash.update((values.len() as u64).to_be_bytes());
            for value in values.iter() {
                hash.update(value.to_le_bytes());
            }
        }
        Body::Text { source, text } => {
            field(&mut hash, b"text");
            field(&mut hash, source.as_bytes());
            field(&mut hash, text.as_bytes());
        }
    }
    hash.finalize().into()
}

/// The entry of a key from its state and its objects' digests, given in order of their ordinals.
#[must_use]
pub fn entry(key: &ResourceKey, version: Version, position: Position, objects: &[[u8; 32]]) -> Entry {
    let mut hash = Sha256::new();
    field(&mut hash, position.to_string().as_bytes());
    hash.update(version.to_be_bytes());
    for object in objects {
        hash.update(object);
    }
    let digest = hash.finalize().into();
    let count = u32::try_from(objects.len()).unwrap_or(u32::MAX);
    Entry { place: place(key), key: key.clone(), version, position, objects: count, digest }
}

#[must_use]
pub fn of_change(change: &CopyChange) -> Entry {
    let objects: Vec<_> = change.objects.iter().map(of_object).collect();
    entry(&change.key, change.version, change.position, &objects)
}

/// Of entries sorted by (place, key); entries without objects do not count.
#[must_use]
pub fn of_range<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> RangeDigest {
    let (mut hash, mut keys, mut objects) = (Sha256::new(), 0, 0);
    for entry in entries.into_iter().filter(|entry| entry.objects > 0) {
        field(&mut hash, entry.key.to_string().as_bytes());
        hash.update(entry.digest);
        keys += 1;
        objects += u64::from(entry.objects);
    }
    RangeDigest { keys, objects, digest: hash.finalize().into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_range_without_gap_or_overlap() {
        for range in [KeyRange::ALL, KeyRange { first: 5, last: 5 }, KeyRange { first: 1, last: 20 }] {
            let parts = range.parts();
            assert_eq!(parts.first().map(|part| part.first), Some(range.first));
            assert_eq!(parts.last().map(|part| part.last), Some(range.last));
            assert!(parts.windows(2).all(|pair| pair[0].last + 1 == pair[1].first), "{parts:?}");
        }
    }
}
