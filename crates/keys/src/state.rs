//! What a keystore generation holds: blocks of keys, later key versions, retired keys, the root's public key.

use crate::{
    KeyId,
    frame::{FRAME_BYTES, Form, Reader},
    secret::{SECRET_BYTES, Secret},
    tree::{BLOCK_KEYS, Tree},
};
use model::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The first block begins here, so that no small number is ever a key by accident.
pub const FIRST_KEY: u64 = BLOCK_KEYS;

const BODY: Form = Form { name: "keystore generation", magic: b"NKKEYBDY", format: 1 };

/// Names a keystore for ever; random.
pub type KeystoreId = [u8; 16];

/// The content of one generation; sealed under the epoch key when stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub root_public: [u8; 32],
    /// The first id that was never in a block.
    pub high_water: u64,
    /// By the block's first id.
    pub blocks: BTreeMap<u64, Tree>,
    /// Key versions after the first (which the leaf gives), oldest first.
    pub later_versions: BTreeMap<u64, Vec<Secret>>,
    /// Keys that open but no longer seal.
    pub retired: BTreeSet<u64>,
}

/// How many there are.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Ever written.
    pub blocks: u64,
    pub keys: u64,
    pub keys_destroyed: u64,
}

/// Where a key id stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Present,
    /// It was in a block and is no longer: destroyed.
    Destroyed,
    /// Never in a block of this generation.
    Unknown,
}

fn split(key: KeyId) -> (u64, u16) {
    let leaf = key.0 % BLOCK_KEYS;
    // Below 4,096, so it fits.
    (key.0 - leaf, leaf as u16)
}

impl State {
    pub fn new(root_public: [u8; 32]) -> Self {
        Self {
            root_public,
            high_water: FIRST_KEY,
            blocks: BTreeMap::new(),
            later_versions: BTreeMap::new(),
            retired: BTreeSet::new(),
        }
    }

    /// Adds a fresh block and returns its first id.
    pub fn add_block(&mut self) -> Result<u64> {
        let first = self.high_water;
        let Some(next) = first.checked_add(BLOCK_KEYS) else {
            return Err(Error::bug("64-bit key ids are used up"));
        };
        self.blocks.insert(first, Tree::fresh()?);
        self.high_water = next;
        Ok(first)
    }

    /// Every id up to this one counts as handed out and destroyed, unless its block is here.
    pub fn abandon_up_to(&mut self, key: KeyId) {
        self.high_water = self.high_water.max((key.0 / BLOCK_KEYS).saturating_add(1).saturating_mul(BLOCK_KEYS));
    }

    pub fn standing(&self, key: KeyId) -> Standing {
        let (block, leaf) = split(key);
        if key.0 < FIRST_KEY || key.0 >= self.high_water {
            return Standing::Unknown;
        }
        let present = self.blocks.get(&block).is_some_and(|tree| tree.contains(leaf));
        if present { Standing::Present } else { Standing::Destroyed }
    }

    /// The secret from which the first key version and the hash key are derived.
    pub fn leaf(&self, key: KeyId) -> Option<Secret> {
        let (block, leaf) = split(key);
        self.blocks.get(&block)?.leaf(leaf)
    }

    /// True if the key was there.
    pub fn destroy(&mut self, key: KeyId) -> bool {
        let (block, leaf) = split(key);
        let Some(tree) = self.blocks.get_mut(&block) else { return false };
        let destroyed = tree.destroy(leaf);
        if tree.is_empty() {
            self.blocks.remove(&block);
        }
        self.later_versions.remove(&key.0);
        self.retired.remove(&key.0);
        destroyed
    }

    pub fn counts(&self) -> Counts {
        let keys = self.blocks.values().map(Tree::keys).sum();
        let ever = self.high_water - FIRST_KEY;
        Counts { blocks: ever / BLOCK_KEYS, keys, keys_destroyed: ever - keys }
    }

    /// The number of the version that new seals use; versions count from 1.
    pub fn newest_version(&self, key: KeyId) -> u32 {
        // Versions are counted in 32 bits when they are added.
        1 + self.later_versions.get(&key.0).map_or(0, |later| later.len() as u32)
    }

    pub fn later_version(&self, key: KeyId, version: u32) -> Option<&Secret> {
        self.later_versions.get(&key.0)?.get(usize::try_from(version.checked_sub(2)?).ok()?)
    }

    /// An upper bound, so that encoding never moves the buffer and leaves a copy of keys behind.
    fn encoded_max(&self) -> usize {
        let trees: usize = self.blocks.values().map(|tree| 8 + tree.encoded_bytes()).sum();
        let versions: usize = self.later_versions.values().map(|later| 12 + later.len() * SECRET_BYTES).sum();
        128 + FRAME_BYTES + trees + versions + self.retired.len() * 8
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.encoded_max());
        out.extend(BODY.begin());
        out.extend(self.root_public);
        out.extend(self.high_water.to_be_bytes());
        out.extend((self.blocks.len() as u64).to_be_bytes());
        for (first, tree) in &self.blocks {
            out.extend(first.to_be_bytes());
            tree.encode(&mut out);
        }
        out.extend((self.later_versions.len() as u64).to_be_bytes());
        for (key, versions) in &self.later_versions {
            out.extend(key.to_be_bytes());
            out.extend((versions.len() as u32).to_be_bytes());
            versions.iter().for_each(|version| out.extend(version.bytes()));
        }
        out.extend((self.retired.len() as u64).to_be_bytes());
        self.retired.iter().for_each(|key| out.extend(key.to_be_bytes()));
        BODY.finish(out)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = BODY.open(bytes)?;
        let mut state = Self::new(reader.array()?);
        state.high_water = reader.u64()?;
        if state.high_water < FIRST_KEY || !state.high_water.is_multiple_of(BLOCK_KEYS) {
            return Err(reader.damaged("its high-water mark is not the end of a block"));
        }
        for _ in 0..reader.u64()? {
            let first = reader.u64()?;
            if first < FIRST_KEY || first >= state.high_water || !first.is_multiple_of(BLOCK_KEYS) {
                return Err(reader.damaged("a block begins where none can"));
            }
            state.blocks.insert(first, Tree::decode(&mut reader)?);
        }
        for _ in 0..reader.u64()? {
            let key = state.read_key(&mut reader)?;
            let versions = read_versions(&mut reader)?;
            state.later_versions.insert(key, versions);
        }
        for _ in 0..reader.u64()? {
            let key = state.read_key(&mut reader)?;
            state.retired.insert(key);
        }
        reader.end()?;
        Ok(state)
    }

    fn read_key(&self, reader: &mut Reader<'_>) -> Result<u64> {
        let key = reader.u64()?;
        if self.standing(KeyId(key)) == Standing::Present {
            return Ok(key);
        }
        Err(reader.damaged("it says something about a key that it does not hold"))
    }
}

fn read_versions(reader: &mut Reader<'_>) -> Result<Vec<Secret>> {
    let mut versions = Vec::new();
    for _ in 0..reader.u32()? {
        versions.push(Secret::new(reader.array::<SECRET_BYTES>()?));
    }
    Ok(versions)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> State {
        let mut state = State::new([3; 32]);
        state.add_block().unwrap();
        state.add_block().unwrap();
        state.destroy(KeyId(FIRST_KEY + 7));
        state.later_versions.insert(FIRST_KEY + 1, vec![Secret::random().unwrap(), Secret::random().unwrap()]);
        state.retired.insert(FIRST_KEY + 2);
        state
    }

    #[test]
    fn a_state_survives_its_encoding() {
        let state = sample();
        let bytes = state.encode();
        assert!(bytes.len() <= state.encoded_max());
        assert_eq!(State::decode(&bytes).unwrap(), state);
    }

    #[test]
    fn a_key_is_unknown_then_present_then_destroyed() {
        let mut state = sample();
        assert_eq!(state.standing(KeyId(1)), Standing::Unknown);
        assert_eq!(state.standing(KeyId(FIRST_KEY)), Standing::Present);
        assert_eq!(state.standing(KeyId(FIRST_KEY + 7)), Standing::Destroyed);
        assert_eq!(state.standing(KeyId(state.high_water)), Standing::Unknown);
        assert!(state.destroy(KeyId(FIRST_KEY + 1)));
        assert_eq!(state.later_version(KeyId(FIRST_KEY + 1), 2), None);
    }

    proptest! {
        #[test]
        fn arbitrary_payloads_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = State::decode(&bytes);
            let mut framed = BODY.begin();
            framed.extend(&bytes);
            let _ = State::decode(&BODY.finish(framed));
        }

        #[test]
        fn a_flipped_or_cut_state_is_corrupt(at in 0usize..2000, bit in 0u8..8) {
            let bytes = sample().encode();
            let at = at % bytes.len();
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            prop_assert!(State::decode(&flipped).is_err());
            prop_assert!(State::decode(&bytes[..at]).is_err());
        }
    }
}
