//! The read cache: coherent with the log, bounded in bytes (RECORD 4).
//!
//! The committer writes through before it raises `published` and acknowledges. A fill that a reader brings from
//! PostgreSQL is dropped when it is older than what is or was here. Keys of a multi-key group are hidden first and
//! shown together after, so that nobody sees one half of a group and then the other half's past.

use bytes::Bytes;
use model::{Class, ResourceKey, Version};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

const PARTS: usize = 64;
/// What an entry costs besides its document.
const ENTRY_BYTES: usize = 256;

/// A current version in clear; no document: a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub version: Version,
    pub ordinal: u32,
    pub n: u64,
    pub class: Class,
    pub document: Option<Bytes>,
}

#[derive(Debug)]
struct Entry {
    key: ResourceKey,
    held: Held,
    hidden: bool,
    touched: bool,
}

#[derive(Debug, Default)]
struct Part {
    entries: HashMap<u64, Entry, BuildHasherDefault<Passed>>,
    /// Each entry's hash once, oldest first; a touched one gets a second chance.
    order: VecDeque<u64>,
    bytes: usize,
    /// Highest position that was evicted or never let in: an older fill may contradict it.
    floor: u64,
}

#[derive(Debug)]
pub(crate) struct Cache {
    parts: Vec<Mutex<Part>>,
    part_bytes: usize,
    hasher: RandomState,
    /// Goes up when everything is forgotten: a fill begun before is dropped.
    generation: AtomicU64,
}

/// The hash is already one.
#[derive(Debug, Default)]
struct Passed(u64);

impl Hasher for Passed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

fn cost(held: &Held) -> usize {
    ENTRY_BYTES + held.document.as_ref().map_or(0, Bytes::len)
}

impl Cache {
    pub(crate) fn new(bytes: usize) -> Self {
        let parts = (0..PARTS).map(|_| Mutex::default()).collect();
        Self { parts, part_bytes: bytes / PARTS, hasher: RandomState::new(), generation: AtomicU64::new(0) }
    }

    /// The name of a key inside this process: for the cache and for the committer's overlap rule.
    pub(crate) fn hash(&self, key: &ResourceKey) -> u64 {
        self.hasher.hash_one(key)
    }
    pub(crate) fn hash_request(&self, tenant: &str, principal: &str, request: &str) -> u64 {
        self.hasher.hash_one((tenant, principal, request))
    }

    fn part(&self, hash: u64) -> &Mutex<Part> {
        // Low bits choose the bucket and high bits the tag inside the part's map: take middle ones.
        &self.parts[(hash >> 32) as usize % PARTS]
    }

    /// What is held. The caller checks the lease *after* this returns.
    pub(crate) fn get(&self, hash: u64, key: &ResourceKey) -> Option<Held> {
        let mut part = self.part(hash).lock();
        let entry = part.entries.get_mut(&hash).filter(|entry| entry.key == *key && !entry.hidden)?;
        entry.touched = true;
        Some(entry.held.clone())
    }

    /// Current version, tombstones counted; also of a hidden entry.
    pub(crate) fn version(&self, hash: u64, key: &ResourceKey) -> Option<(Version, bool)> {
        let part = self.part(hash).lock();
        let entry = part.entries.get(&hash).filter(|entry| entry.key == *key)?;
        Some((entry.held.version, entry.held.document.is_none()))
    }

    /// Before the first key of a multi-key group is shown: none is, and no older fill gets in.
    pub(crate) fn hide(&self, hash: u64, key: &ResourceKey, held: Held) {
        self.put(hash, key, held, true);
    }

    /// A committed write.
    pub(crate) fn write(&self, hash: u64, key: &ResourceKey, held: Held) {
        self.put(hash, key, held, false);
    }

    /// Taken before a value is fetched that is to be filled in.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// A value read from a snapshot whose head was `as_of`, begun in `generation`.
    pub(crate) fn fill(&self, hash: u64, key: &ResourceKey, held: Held, as_of: u64, generation: u64) {
        let mut part = self.part(hash).lock();
        if self.generation() != generation {
            return;
        }
        let stale = match part.entries.get(&hash) {
            Some(entry) if entry.key == *key => entry.held.n > held.n || (entry.held.n == held.n && !entry.hidden),
            Some(_) => false,
            None => part.floor > as_of,
        };
        let collides = part.entries.get(&hash).is_some_and(|entry| entry.key != *key);
        if !stale && !collides {
            part.put(hash, key, held, false, self.part_bytes);
        }
    }

    fn put(&self, hash: u64, key: &ResourceKey, held: Held, hidden: bool) {
        self.part(hash).lock().put(hash, key, held, hidden, self.part_bytes);
    }

    /// Everything goes: another leader may have written, or a subject was erased.
    pub(crate) fn clear(&self, floor: u64) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        for part in &self.parts {
            let mut part = part.lock();
            let floor = part.floor.max(floor);
            *part = Part { floor, ..Part::default() };
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.lock().bytes).sum()
    }
}

impl Part {
    fn put(&mut self, hash: u64, key: &ResourceKey, held: Held, hidden: bool, limit: usize) {
        let bytes = cost(&held);
        if let Some(entry) = self.entries.get_mut(&hash) {
            self.floor = if entry.key == *key { self.floor } else { self.floor.max(entry.held.n) };
            self.bytes = self.bytes - cost(&entry.held) + bytes;
            *entry = Entry { key: key.clone(), held, hidden, touched: entry.touched };
        } else {
            self.bytes += bytes;
            self.order.push_back(hash);
            self.entries.insert(hash, Entry { key: key.clone(), held, hidden, touched: false });
        }
        while self.bytes > limit {
            let Some(oldest) = self.order.pop_front() else { break };
            self.evict(oldest);
        }
    }

    fn evict(&mut self, hash: u64) {
        if let Some(entry) = self.entries.get_mut(&hash)
            && entry.touched
        {
            entry.touched = false;
            self.order.push_back(hash);
            return;
        }
        if let Some(entry) = self.entries.remove(&hash) {
            self.bytes -= cost(&entry.held);
            self.floor = self.floor.max(entry.held.n);
        }
    }
}
