//! Wrapping the epoch key to a recipient: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256),
//! HKDF-SHA256, AES-256-GCM.

use crate::{random::Expanded, secret::Secret};
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::AesGcm256, kdf::HkdfSha256, kem::X25519HkdfSha256,
};
use model::{Error, Result};
use zeroize::Zeroizing;

type Suite = X25519HkdfSha256;

pub const PUBLIC_BYTES: usize = 32;
/// Encapsulated key, sealed epoch key, tag.
pub const WRAPPED_BYTES: usize = 32 + 32 + 16;

/// An X25519 key pair: the root's or a host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub private: Secret,
    pub public: [u8; PUBLIC_BYTES],
}

impl Pair {
    pub fn generate() -> Result<Self> {
        Self::from_private(Secret::random()?)
    }

    /// Any 32 bytes are a private key of X25519.
    pub fn from_private(private: Secret) -> Result<Self> {
        let key = private_key(&private)?;
        Ok(Self { private, public: Suite::sk_to_pk(&key).to_bytes().into() })
    }
}

fn private_key(private: &Secret) -> Result<<Suite as Kem>::PrivateKey> {
    <Suite as Kem>::PrivateKey::from_bytes(private.bytes()).map_err(|_| Error::bug("X25519 refused a private key"))
}

pub fn wrap(recipient: &[u8; PUBLIC_BYTES], info: &[u8], epoch_key: &Secret) -> Result<[u8; WRAPPED_BYTES]> {
    let refused = |_| {
        let words = "the public key that the epoch key is to be wrapped to is not usable";
        Error::corrupt("public-key-malformed", words)
    };
    let public = <Suite as Kem>::PublicKey::from_bytes(recipient).map_err(refused)?;
    let mut random = Expanded::seeded()?;
    let sealed = hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, Suite>(
        &OpModeS::Base,
        &public,
        info,
        epoch_key.bytes(),
        &[],
        &mut random,
    );
    let (encapsulated, sealed) = sealed.map_err(refused)?;
    let mut wrapped = [0; WRAPPED_BYTES];
    wrapped[..32].copy_from_slice(&encapsulated.to_bytes());
    wrapped[32..].copy_from_slice(&sealed);
    Ok(wrapped)
}

/// `None`: wrapped to somebody else, or altered.
pub fn unwrap(private: &Secret, info: &[u8], wrapped: &[u8; WRAPPED_BYTES]) -> Result<Option<Secret>> {
    let key = private_key(private)?;
    let Ok(encapsulated) = <Suite as Kem>::EncappedKey::from_bytes(&wrapped[..32]) else { return Ok(None) };
    let opened = hpke::single_shot_open::<AesGcm256, HkdfSha256, Suite>(
        &OpModeR::Base,
        &key,
        &encapsulated,
        info,
        &wrapped[32..],
        &[],
    );
    let Ok(opened) = opened.map(Zeroizing::new) else { return Ok(None) };
    Ok(<[u8; 32]>::try_from(opened.as_slice()).ok().map(Secret::new))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_the_recipient_unwraps_and_only_with_the_same_info() {
        let (recipient, other) = (Pair::generate().unwrap(), Pair::generate().unwrap());
        let epoch_key = Secret::random().unwrap();
        let mut wrapped = wrap(&recipient.public, b"epoch 1", &epoch_key).unwrap();
        assert_eq!(unwrap(&recipient.private, b"epoch 1", &wrapped).unwrap(), Some(epoch_key.clone()));
        assert_eq!(unwrap(&other.private, b"epoch 1", &wrapped).unwrap(), None);
        assert_eq!(unwrap(&recipient.private, b"epoch 2", &wrapped).unwrap(), None);
        assert_ne!(wrap(&recipient.public, b"epoch 1", &epoch_key).unwrap(), wrapped);
        wrapped[40] ^= 1;
        assert_eq!(unwrap(&recipient.private, b"epoch 1", &wrapped).unwrap(), None);
    }

    /// RFC 7748, section 6.1: Alice's key pair.
    #[test]
    fn the_public_key_is_that_of_rfc_7748() {
        let private = hex::decode("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a").unwrap();
        let public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
        let pair = Pair::from_private(Secret::new(private.try_into().unwrap())).unwrap();
        assert_eq!(hex::encode(pair.public), public);
    }

    #[test]
    fn a_public_key_of_low_order_is_refused() {
        assert!(wrap(&[0; 32], b"", &Secret::random().unwrap()).is_err());
    }
}
