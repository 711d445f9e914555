//! The keys of copies that lie sealed on their disk: taken from the record's keystore.

use keys::{KeyId, Keystore};
use model::Result;
use std::sync::Arc;
use stores::vectors::CopyKeys;

/// A copy's key is no subject's: an erasure does not touch it, and the copy itself removes what is erased.
#[derive(Debug, Clone)]
pub struct KeystoreKeys(pub Arc<Keystore>);

impl CopyKeys for KeystoreKeys {
    fn take(&self) -> Result<u64> {
        self.0.take_key().map(|key| key.0)
    }
    fn derive(&self, key: u64, salt: &[u8]) -> Result<[u8; 32]> {
        self.0.blind(KeyId(key), "nephkeep copy file key v1", salt)
    }
}
