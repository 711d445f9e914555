//! A slot: the one place where an epoch key lies, wrapped to the root and to the host (RECORD 9, docs/adr/002).
//!
//! A slot is mutable: a new epoch overwrites it in place. It is 512 bytes, one sector, so that a power cut leaves
//! the old or the new, or at worst a damaged slot that opens to nobody while another slot is intact.
//! Frame payload: `keystore id 16 | epoch 8 | root public 32 | host public 32 | to root 80 | to host 80 | zeros`.

use crate::{
    frame::{FRAME_BYTES, Form},
    secret::Secret,
    state::KeystoreId,
    wrap::{self, PUBLIC_BYTES, WRAPPED_BYTES},
};
use model::Result;

pub const SLOT_BYTES: usize = 512;
const FORM: Form = Form { name: "keystore slot", magic: b"NKEPSLOT", format: 1 };
const PADDING_BYTES: usize = SLOT_BYTES - FRAME_BYTES - 16 - 8 - 2 * PUBLIC_BYTES - 2 * WRAPPED_BYTES;

/// Who opens a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Root,
    Host,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub keystore: KeystoreId,
    pub epoch: u64,
    pub root_public: [u8; PUBLIC_BYTES],
    pub host_public: [u8; PUBLIC_BYTES],
    to_root: [u8; WRAPPED_BYTES],
    to_host: [u8; WRAPPED_BYTES],
}

/// The two public keys that an epoch key is wrapped to.
#[derive(Debug, Clone, Copy)]
pub struct Recipients {
    pub root: [u8; PUBLIC_BYTES],
    pub host: [u8; PUBLIC_BYTES],
}

fn info(keystore: &KeystoreId, epoch: u64, role: Role) -> Vec<u8> {
    let role: &[u8] = match role {
        Role::Root => b"root",
        Role::Host => b"host",
    };
    [b"nephkeep epoch key v1 ".as_slice(), keystore, &epoch.to_be_bytes(), role].concat()
}

impl Slot {
    pub fn wrap(keystore: KeystoreId, epoch: u64, epoch_key: &Secret, to: Recipients) -> Result<Self> {
        Ok(Self {
            keystore,
            epoch,
            root_public: to.root,
            host_public: to.host,
            to_root: wrap::wrap(&to.root, &info(&keystore, epoch, Role::Root), epoch_key)?,
            to_host: wrap::wrap(&to.host, &info(&keystore, epoch, Role::Host), epoch_key)?,
        })
    }

    /// `None`: wrapped to another key.
    pub fn open(&self, private: &Secret, role: Role) -> Result<Option<Secret>> {
        let wrapped = match role {
            Role::Root => &self.to_root,
            Role::Host => &self.to_host,
        };
        wrap::unwrap(private, &info(&self.keystore, self.epoch, role), wrapped)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = FORM.begin();
        out.extend(self.keystore);
        out.extend(self.epoch.to_be_bytes());
        out.extend(self.root_public);
        out.extend(self.host_public);
        out.extend(self.to_root);
        out.extend(self.to_host);
        out.extend([0; PADDING_BYTES]);
        FORM.finish(out)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = FORM.open(bytes)?;
        let slot = Self {
            keystore: reader.array()?,
            epoch: reader.u64()?,
            root_public: reader.array()?,
            host_public: reader.array()?,
            to_root: reader.array()?,
            to_host: reader.array()?,
        };
        reader.array::<PADDING_BYTES>()?;
        reader.end()?;
        Ok(slot)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wrap::Pair;
    use proptest::prelude::*;

    #[test]
    fn a_slot_is_one_sector_and_opens_to_root_and_host_only() {
        let (root, host) = (Pair::generate().unwrap(), Pair::generate().unwrap());
        let epoch_key = Secret::random().unwrap();
        let to = Recipients { root: root.public, host: host.public };
        let bytes = Slot::wrap([1; 16], 9, &epoch_key, to).unwrap().encode();
        assert_eq!(bytes.len(), SLOT_BYTES);
        let mut slot = Slot::decode(&bytes).unwrap();
        assert_eq!(slot.open(&root.private, Role::Root).unwrap(), Some(epoch_key.clone()));
        assert_eq!(slot.open(&host.private, Role::Host).unwrap(), Some(epoch_key));
        assert_eq!(slot.open(&host.private, Role::Root).unwrap(), None);
        slot.epoch = 10;
        assert_eq!(slot.open(&root.private, Role::Root).unwrap(), None);
    }

    proptest! {
        #[test]
        fn arbitrary_and_altered_slots_are_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..600), at in 0usize..SLOT_BYTES, bit in 0u8..8
        ) {
            prop_assert!(Slot::decode(&bytes).is_err());
            let pair = Pair::generate().unwrap();
            let to = Recipients { root: pair.public, host: pair.public };
            let good = Slot::wrap([1; 16], 9, &Secret::new([1; 32]), to).unwrap().encode();
            let mut flipped = good.clone();
            flipped[at] ^= 1 << bit;
            prop_assert!(Slot::decode(&flipped).is_err());
            prop_assert!(Slot::decode(&good[..at]).is_err());
        }
    }
}
