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

/// For maps whose keys are hashes already.
#[derive(Debug, Default)]
pub(crate) struct Passed(u64);

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
            // A colliding key keeps its place.
            Some(entry) => entry.key != *key || entry.held.n >= held.n,
            None => part.floor > as_of,
        };
        if !stale {
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

    /// What one part holds, times their number: a cheap estimate for a gauge.
    pub(crate) fn bytes(&self) -> usize {
        self.parts.first().map_or(0, |part| part.lock().bytes * PARTS)
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

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Kind, Tenant};
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u8, u16),
        Delete(u8),
        /// Both at one commit; a reader looks in between.
        Both(u8, u8),
        /// A reader takes a snapshot …
        Fetch(u8),
        /// … and comes back with it, perhaps much later.
        Fill(u8),
        Read(u8),
        Clear,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..96_u8, 0..600_u16).prop_map(|(key, size)| Step::Write(key, size)),
            1 => (0..96_u8).prop_map(Step::Delete),
            2 => (0..96_u8, 0..96_u8).prop_map(|(a, b)| Step::Both(a, b)),
            4 => (0..96_u8).prop_map(Step::Fetch),
            4 => any::<u8>().prop_map(Step::Fill),
            6 => (0..96_u8).prop_map(Step::Read),
            1 => Just(Step::Clear),
        ];
        proptest::collection::vec(step, 1..400)
    }

    /// The record behind the cache: what stands there now.
    struct Truth {
        cache: Cache,
        current: HashMap<u8, Held>,
        head: u64,
        fetched: Vec<(u8, Held, u64, u64)>,
    }

    impl Truth {
        fn key(&self, key: u8) -> (u64, ResourceKey) {
            let key = ResourceKey::new(&Tenant::new("t").unwrap(), Kind::Intent, &key.to_string()).unwrap();
            (self.cache.hash(&key), key)
        }
        fn commit(&mut self, key: u8, document: Option<Bytes>) -> Held {
            self.head += 1;
            let held = Held { version: self.head, ordinal: 1, n: self.head, class: Class::Internal, document };
            self.current.insert(key, held.clone());
            held
        }
        fn show(&self, key: u8, held: Held, hide: bool) {
            let (hash, key) = self.key(key);
            if hide { self.cache.hide(hash, &key, held) } else { self.cache.write(hash, &key, held) }
        }
        /// Nothing but the current version is ever served.
        fn check(&self, key: u8) {
            let (hash, name) = self.key(key);
            if let Some(held) = self.cache.get(hash, &name) {
                assert_eq!(Some(&held), self.current.get(&key));
            }
        }
        fn both(&mut self, a: u8, b: u8) {
            let (one, two) = (self.commit(a, Some(Bytes::new())), self.commit(b, Some(Bytes::new())));
            self.show(a, one.clone(), true);
            self.show(b, two.clone(), true);
            self.show(a, one, false);
            self.check(a);
            self.check(b);
            self.show(b, two, false);
        }
        fn run(&mut self, step: Step) {
            match step {
                Step::Write(key, size) => {
                    let held = self.commit(key, Some(Bytes::from(vec![0; size.into()])));
                    self.show(key, held, false);
                }
                Step::Delete(key) => {
                    let held = self.commit(key, None);
                    self.show(key, held, false);
                }
                Step::Both(a, b) if a != b => self.both(a, b),
                Step::Both(..) => {}
                Step::Fetch(key) => {
                    if let Some(held) = self.current.get(&key).filter(|held| held.document.is_some()) {
                        self.fetched.push((key, held.clone(), self.head, self.cache.generation()));
                    }
                }
                Step::Fill(at) if !self.fetched.is_empty() => {
                    let (key, held, as_of, generation) = self.fetched.swap_remove(usize::from(at) % self.fetched.len());
                    let (hash, name) = self.key(key);
                    self.cache.fill(hash, &name, held, as_of, generation);
                    self.check(key);
                }
                Step::Fill(_) => {}
                Step::Read(key) => self.check(key),
                Step::Clear => self.cache.clear(self.head),
            }
        }
    }

    proptest! {
        /// Two or three entries fit into a part, so that much is evicted and filled again.
        #[test]
        fn nothing_but_the_current_version_is_served(steps in steps()) {
            let cache = Cache::new(PARTS * 700);
            let mut truth = Truth { cache, current: HashMap::new(), head: 0, fetched: Vec::new() };
            for step in steps {
                truth.run(step);
            }
            for key in 0..96 {
                truth.check(key);
            }
            for part in &truth.cache.parts {
                let part = part.lock();
                prop_assert!(part.bytes <= 700, "bounded");
                prop_assert_eq!(part.bytes, part.entries.values().map(|entry| cost(&entry.held)).sum::<usize>());
                prop_assert_eq!(part.order.len(), part.entries.len());
            }
        }
    }

    #[test]
    fn a_fill_from_before_an_evicted_write_is_dropped() {
        let mut truth = Truth { cache: Cache::new(0), current: HashMap::new(), head: 0, fetched: Vec::new() };
        truth.run(Step::Write(1, 10));
        truth.run(Step::Fetch(1));
        truth.run(Step::Write(1, 10));
        let cache = Cache { part_bytes: 700, ..std::mem::replace(&mut truth.cache, Cache::new(0)) };
        truth.cache = cache;
        truth.run(Step::Fill(0));
        let (hash, key) = truth.key(1);
        assert!(truth.cache.get(hash, &key).is_none(), "nothing is held, yet the old value does not get in");
        truth.run(Step::Fetch(1));
        truth.run(Step::Fill(0));
        assert!(truth.cache.get(hash, &key).is_some());
    }

    #[test]
    fn a_fill_begun_before_everything_was_forgotten_is_dropped() {
        let mut truth = Truth { cache: Cache::new(1 << 20), current: HashMap::new(), head: 0, fetched: Vec::new() };
        truth.run(Step::Write(1, 10));
        truth.run(Step::Fetch(1));
        truth.run(Step::Clear);
        truth.run(Step::Fill(0));
        let (hash, key) = truth.key(1);
        assert!(truth.cache.get(hash, &key).is_none());
    }
}
