//! From a leaf secret to the working keys of one key id, and a bounded cache of them.

use crate::{KeyId, digest, secret::Secret, state::State, xaes::Xaes};
use parking_lot::RwLock;
use std::{collections::HashMap, fmt, sync::Arc};

/// Entries per shard: together about 16,000 keys, some 8 MB.
const SHARD_ENTRIES: usize = 1_024;
const SHARDS: usize = 16;

/// The expensive part of using a key, done once: AES key schedule, CMAC subkey, hash key.
pub struct Working {
    pub cipher: Xaes,
    pub hash_key: Secret,
}

impl fmt::Debug for Working {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Working(..)")
    }
}

impl Working {
    /// `None` when the key or the version does not exist.
    fn derive(state: &State, key: KeyId, version: u32) -> Option<Self> {
        let leaf = state.leaf(key)?;
        let hash_key = Secret::new(digest::hmac(leaf.bytes(), &[b"nephkeep hash key v1"]));
        let data_key = match version {
            1 => Secret::new(digest::hmac(leaf.bytes(), &[b"nephkeep data key v1"])),
            _ => state.later_version(key, version)?.clone(),
        };
        Some(Self { cipher: Xaes::new(&data_key), hash_key })
    }
}

type Shard = RwLock<HashMap<(KeyId, u32), Arc<Working>>>;

/// Working keys by id and version. A full shard is emptied: simple, and rare against its use.
#[derive(Debug)]
pub struct Cache {
    shards: [Shard; SHARDS],
}

impl Default for Cache {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Shard::default()) }
    }
}

impl Cache {
    fn shard(&self, key: KeyId) -> &Shard {
        &self.shards[key.0 as usize % SHARDS]
    }

    /// The caller has checked in this very state that the key exists.
    pub fn get(&self, state: &State, key: KeyId, version: u32) -> Option<Arc<Working>> {
        let shard = self.shard(key);
        if let Some(working) = shard.read().get(&(key, version)) {
            return Some(Arc::clone(working));
        }
        let working = Arc::new(Working::derive(state, key, version)?);
        let mut shard = shard.write();
        if shard.len() >= SHARD_ENTRIES {
            shard.clear();
        }
        shard.insert((key, version), Arc::clone(&working));
        Some(working)
    }
}
