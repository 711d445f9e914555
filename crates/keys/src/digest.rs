//! Keyed digests: content tags, blind indexes, derivation (RECORD 7). Parts are length-prefixed, so no two
//! lists of parts feed the same bytes.

use crate::secret::Secret;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use model::{Error, Kind, Result, Version};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

type HmacSha256 = Hmac<Sha256>;

fn keyed(key: &[u8; 32]) -> HmacSha256 {
    // HMAC pads a short key with zeros to one block; doing it here makes construction infallible.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    let mac = HmacSha256::new(&block.into());
    block.zeroize();
    mac
}

/// HMAC-SHA256 over the bare concatenation; for inputs of fixed length.
pub fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = keyed(key);
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// HMAC-SHA256 over `u32 length | bytes` of each part.
pub fn hmac_of_parts(key: &[u8; 32], parts: &[&[u8]]) -> Result<[u8; 32]> {
    let mut mac = keyed(key);
    for part in parts {
        mac.update(&length_of(part)?);
        mac.update(part);
    }
    Ok(mac.finalize().into_bytes().into())
}

pub fn length_of(part: &[u8]) -> Result<[u8; 4]> {
    let length = u32::try_from(part.len()).map_err(|_| {
        Error::invalid("value-too-long", "a digested value is 4 GiB or longer").with("bytes", part.len())
    })?;
    Ok(length.to_be_bytes())
}

pub fn content_tag(hash_key: &Secret, kind: Kind, id: &str, version: Version, canonical: &[u8]) -> Result<[u8; 32]> {
    let parts = [kind.as_str().as_bytes(), id.as_bytes(), &version.to_be_bytes(), canonical];
    hmac_of_parts(hash_key.bytes(), &parts)
}

/// The purpose separates: the same bytes under two purposes cannot be compared.
pub fn blind(hash_key: &Secret, purpose: &str, bytes: &[u8]) -> Result<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let info = [b"nephkeep blind v1 ".as_slice(), purpose.as_bytes()];
    Hkdf::<Sha256>::new(None, hash_key.bytes())
        .expand_multi_info(&info, key.as_mut())
        .map_err(|_| Error::bug("HKDF refused 32 bytes"))?;
    Ok(hmac(&key, &[bytes]))
}

pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hmac_agrees_with_rfc_4231_case_2_padded() {
        // RFC 4231 case 2 has the key "Jefe", which equals itself padded with zeros.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let tag = hmac(&key, &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex::encode(tag), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn parts_cannot_be_moved_into_each_other() {
        let key = [1; 32];
        assert_ne!(hmac_of_parts(&key, &[b"ab", b"c"]).unwrap(), hmac_of_parts(&key, &[b"a", b"bc"]).unwrap());
    }

    #[test]
    fn a_tag_depends_on_every_part_and_a_blind_on_its_purpose() {
        let key = Secret::new([9; 32]);
        let tag = |kind, id, version, bytes| content_tag(&key, kind, id, version, bytes).unwrap();
        let one = tag(Kind::Intent, "a", 1, b"{}");
        assert_eq!(one, tag(Kind::Intent, "a", 1, b"{}"));
        for other in [
            tag(Kind::Hub, "a", 1, b"{}"),
            tag(Kind::Intent, "b", 1, b"{}"),
            tag(Kind::Intent, "a", 2, b"{}"),
            tag(Kind::Intent, "a", 1, b"[]"),
        ] {
            assert_ne!(one, other);
        }
        assert_ne!(blind(&key, "name", b"x").unwrap(), blind(&key, "body", b"x").unwrap());
    }
}
