//! The recovery kit: the root's private key and nothing else (RECORD 9).

use crate::{state::KeystoreId, wrap::Pair};

/// Opens any slot of its keystore. Keep it off the machine.
#[derive(Debug)]
pub struct Kit {
    keystore: KeystoreId,
    root: Pair,
}

impl Kit {
    pub(crate) fn new(keystore: KeystoreId, root: Pair) -> Self {
        Self { keystore, root }
    }
    #[must_use]
    pub fn keystore(&self) -> [u8; 16] {
        self.keystore
    }
    #[must_use]
    pub fn root_public(&self) -> [u8; 32] {
        self.root.public
    }
}
