//! One keystore generation as a file: a clear header and the state sealed under the epoch key (RECORD 8, 9).
//!
//! Frame payload: `keystore id 16 | generation 8 | parent 8 | epoch 8 | high-water mark 8 | nonce 24 | sealed state`.
//! The header is the associated data of the seal.

use crate::{
    frame::Form,
    random,
    secret::Secret,
    state::{KeystoreId, State},
    xaes::{NONCE_BYTES, TAG_BYTES, Xaes},
};
use model::{Error, Result};
use zeroize::Zeroizing;

const FORM: Form = Form { name: "keystore generation", magic: b"NKKEYGEN", format: 1 };
const HEADER_BYTES: usize = 48;
const ENDING: &str = ".keystore";

/// What can be read of a generation without the epoch key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub keystore: KeystoreId,
    pub number: u64,
    pub parent: u64,
    pub epoch: u64,
    pub high_water: u64,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..16].copy_from_slice(&self.keystore);
        let numbers = [self.number, self.parent, self.epoch, self.high_water];
        for (place, number) in bytes[16..].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        bytes
    }
}

#[derive(Debug, Clone)]
pub struct Generation {
    pub header: Header,
    nonce: [u8; NONCE_BYTES],
    sealed: Vec<u8>,
}

impl Generation {
    pub fn seal(header: Header, state: &State, epoch_key: &Secret) -> Result<Self> {
        let mut nonce = [0; NONCE_BYTES];
        random::fill(&mut nonce)?;
        // Sealed in place: when this is done no clear copy of the state is left in the buffer.
        let mut sealed = state.encode();
        let tag = Xaes::new(epoch_key).seal(&nonce, &header.encode(), &mut sealed);
        sealed.extend(tag.map_err(|_| Error::bug("a generation is too long to seal"))?);
        Ok(Self { header, nonce, sealed })
    }

    /// `None`: whole, but sealed under another key; after an erasure that is noise for ever.
    pub fn open(&self, epoch_key: &Secret) -> Result<Option<State>> {
        let Some((text, tag)) = self.sealed.split_last_chunk::<TAG_BYTES>() else {
            return Err(FORM.damaged("it is cut short"));
        };
        let mut text = Zeroizing::new(text.to_vec());
        if Xaes::new(epoch_key).open(&self.nonce, &self.header.encode(), &mut text, tag).is_err() {
            return Ok(None);
        }
        let state = State::decode(&text)?;
        if state.high_water != self.header.high_water {
            return Err(FORM.damaged("its header and its content disagree"));
        }
        Ok(Some(state))
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = FORM.begin();
        out.extend(self.header.encode());
        out.extend(self.nonce);
        out.extend(&self.sealed);
        FORM.finish(out)
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = FORM.open(bytes)?;
        let header = Header {
            keystore: reader.array()?,
            number: reader.u64()?,
            parent: reader.u64()?,
            epoch: reader.u64()?,
            high_water: reader.u64()?,
        };
        Ok(Self { header, nonce: reader.array()?, sealed: reader.remainder().to_vec() })
    }
}

/// `generation-000000000042.keystore`.
pub fn file_name(number: u64) -> String {
    format!("generation-{number:012}{ENDING}")
}

pub fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("generation-")?.strip_suffix(ENDING)?;
    if digits.len() < 12 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(key: &Secret) -> Generation {
        let mut state = State::new([3; 32]);
        state.add_block().unwrap();
        let header = Header { keystore: [1; 16], number: 5, parent: 4, epoch: 2, high_water: state.high_water };
        Generation::seal(header, &state, key).unwrap()
    }

    #[test]
    fn only_the_epoch_key_opens_a_generation() {
        let key = Secret::random().unwrap();
        let stored = Generation::decode(&sample(&key).encode()).unwrap();
        assert_eq!(stored.header.number, 5);
        assert_eq!(stored.open(&key).unwrap().unwrap().root_public, [3; 32]);
        assert!(stored.open(&Secret::random().unwrap()).unwrap().is_none());
    }

    #[test]
    fn a_header_cannot_be_exchanged() {
        let key = Secret::random().unwrap();
        let mut other = sample(&key);
        other.header.number = 6;
        assert!(Generation::decode(&other.encode()).unwrap().open(&key).unwrap().is_none());
    }

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(file_name(42), "generation-000000000042.keystore");
        assert_eq!(number_of(&file_name(42)), Some(42));
        assert_eq!(number_of(&file_name(u64::MAX)), Some(u64::MAX));
        for name in ["generation-42.keystore", "generation-000000000042.tmp", "generation-+00000000042.keystore"] {
            assert_eq!(number_of(name), None);
        }
    }

    proptest! {
        #[test]
        fn a_flipped_or_cut_generation_is_corrupt(at in 0usize..1000, bit in 0u8..8) {
            let bytes = sample(&Secret::new([1; 32])).encode();
            let at = at % bytes.len();
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            prop_assert!(Generation::decode(&flipped).is_err());
            prop_assert!(Generation::decode(&bytes[..at]).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Generation::decode(&bytes);
            let mut framed = FORM.begin();
            framed.extend(&bytes);
            if let Ok(generation) = Generation::decode(&FORM.finish(framed)) {
                prop_assert!(!matches!(generation.open(&Secret::new([1; 32])), Ok(Some(_))));
            }
        }
    }
}
