//! The envelope: one sealed document (RECORD 6; byte layout in docs/guide/envelope.md).
//!
//! `magic 4 | version 1 | algorithm 1 | key id 8 | key version 4 | class 1 | codec 1 | dictionary id 4 | nonce 24 |
//! ciphertext | tag 16`, numbers big-endian. The associated data is the length-prefixed list of the header, dataset,
//! kind, tenant, id and version: an envelope opens only where it belongs, and never names table, position or shard.

use crate::{
    KeyId,
    codec::{self, CLEAR_MAX_BYTES, Codec},
    digest, random,
    xaes::{NONCE_BYTES, TAG_BYTES, Xaes},
};
use model::{Class, Error, ResourceKey, Result, Version};

const MAGIC: [u8; 4] = *b"NKEV";
const FORMAT: u8 = 1;
const XAES_256_GCM: u8 = 1;
/// No dictionary. Others would be named by a hash of theirs, and kept for ever.
const NO_DICTIONARY: u32 = 0;
pub const HEADER_BYTES: usize = 48;
const NONCE_AT: usize = HEADER_BYTES - NONCE_BYTES;

/// What the associated data of an envelope binds: dataset, kind, tenant, id, version (RECORD 6).
#[derive(Debug, Clone, Copy)]
pub struct Bound<'a> {
    pub dataset: &'a str,
    pub key: &'a ResourceKey,
    pub version: Version,
}

/// What an envelope says of itself in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub key: KeyId,
    pub key_version: u32,
    pub class: Class,
    pub codec: Codec,
    pub dictionary: u32,
    pub nonce: [u8; NONCE_BYTES],
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = FORMAT;
        bytes[5] = XAES_256_GCM;
        bytes[6..14].copy_from_slice(&self.key.0.to_be_bytes());
        bytes[14..18].copy_from_slice(&self.key_version.to_be_bytes());
        bytes[18] = self.class as u8;
        bytes[19] = self.codec as u8;
        bytes[20..24].copy_from_slice(&self.dictionary.to_be_bytes());
        bytes[NONCE_AT..].copy_from_slice(&self.nonce);
        bytes
    }

    /// Reads the clear part; nothing of it is authentic until the envelope is opened.
    pub fn read(envelope: &[u8]) -> Result<Self> {
        let malformed = |why: &str| Error::corrupt("envelope-malformed", format!("this is not an envelope: {why}"));
        let Some((header, rest)) = envelope.split_first_chunk::<HEADER_BYTES>() else {
            return Err(malformed("it is cut short").with("bytes", envelope.len()));
        };
        if rest.len() < TAG_BYTES {
            return Err(malformed("it is cut short").with("bytes", envelope.len()));
        }
        if header[..4] != MAGIC {
            return Err(malformed("it does not begin as it must"));
        }
        if header[4] != FORMAT || header[5] != XAES_256_GCM {
            let words = "an envelope of a version or algorithm that this nephkeep does not read: use a newer one";
            let error = Error::refused("envelope-version-unknown", words);
            return Err(error.with("version", header[4]).with("algorithm", header[5]));
        }
        let number = |from: usize, to: usize| header[from..to].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let mut nonce = [0; NONCE_BYTES];
        nonce.copy_from_slice(&header[NONCE_AT..]);
        let dictionary = number(20, 24) as u32;
        if dictionary != NO_DICTIONARY {
            let words = "an envelope packed with a dictionary that this nephkeep does not have: use a newer one";
            return Err(Error::refused("envelope-version-unknown", words).with("dictionary", dictionary));
        }
        Ok(Self {
            key: KeyId(number(6, 14)),
            key_version: number(14, 18) as u32,
            class: Class::from_code(header[18].into())?,
            codec: Codec::from_code(header[19]).ok_or_else(|| malformed("its codec is unknown"))?,
            dictionary,
            nonce,
        })
    }
}

fn associated(header: &[u8; HEADER_BYTES], bound: Bound<'_>) -> Result<Vec<u8>> {
    let Bound { dataset, key, version } = bound;
    let version = version.to_be_bytes();
    let parts: [&[u8]; 6] = [
        header,
        dataset.as_bytes(),
        key.kind.as_str().as_bytes(),
        key.tenant.as_str().as_bytes(),
        key.id.as_bytes(),
        &version,
    ];
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        bytes.extend(digest::length_of(part)?);
        bytes.extend(part);
    }
    Ok(bytes)
}

/// Packs and seals under the given key version.
pub fn seal(cipher: &Xaes, key: (KeyId, u32), class: Class, bound: Bound<'_>, clear: &[u8]) -> Result<Vec<u8>> {
    let mut nonce = [0; NONCE_BYTES];
    random::fill(&mut nonce)?;
    seal_with_nonce(cipher, key, class, bound, clear, nonce)
}

fn seal_with_nonce(
    cipher: &Xaes,
    (key, key_version): (KeyId, u32),
    class: Class,
    bound: Bound<'_>,
    clear: &[u8],
    nonce: [u8; NONCE_BYTES],
) -> Result<Vec<u8>> {
    if clear.len() > CLEAR_MAX_BYTES {
        let error = Error::invalid("document-too-large", "a document is larger than an envelope may hold");
        return Err(error.with("bytes", clear.len()).with("limit-bytes", CLEAR_MAX_BYTES));
    }
    let mut envelope = Vec::with_capacity(HEADER_BYTES + zstd::zstd_safe::compress_bound(clear.len()) + TAG_BYTES);
    envelope.resize(HEADER_BYTES, 0);
    let codec = codec::pack(clear, &mut envelope)?;
    let header = Header { key, key_version, class, codec, dictionary: NO_DICTIONARY, nonce }.encode();
    envelope[..HEADER_BYTES].copy_from_slice(&header);
    let tag = cipher.seal(&nonce, &associated(&header, bound)?, &mut envelope[HEADER_BYTES..]);
    envelope.extend(tag.map_err(|_| Error::bug("a document within bounds is too long to seal"))?);
    envelope.shrink_to_fit();
    Ok(envelope)
}

/// Opens and unpacks.
pub fn open(cipher: &Xaes, bound: Bound<'_>, envelope: &[u8]) -> Result<Vec<u8>> {
    let header = Header::read(envelope)?;
    let clear_header = header.encode();
    let sealed = &envelope[HEADER_BYTES..];
    let Some((text, tag)) = sealed.split_last_chunk::<TAG_BYTES>() else {
        return Err(Error::bug("an envelope lost its tag between two looks"));
    };
    let mut text = text.to_vec();
    if cipher.open(&header.nonce, &associated(&clear_header, bound)?, &mut text, tag).is_err() {
        let words = "an envelope does not open: it was altered, or it belongs to another resource or version";
        return Err(Error::corrupt("envelope-altered", words)
            .with("resource", bound.key)
            .with("version", bound.version));
    }
    codec::unpack(header.codec, text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use model::{Kind, Tenant};
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::path::{Path, PathBuf};

    fn fixture() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/envelope/v1.json")
    }

    fn resource() -> ResourceKey {
        ResourceKey::new(&Tenant::new("acme").unwrap(), Kind::Intent, "intent-1").unwrap()
    }

    /// (name, clear text, class): one that stays as it is, one that shrinks.
    fn cases() -> [(&'static str, String, Class); 2] {
        let report = r#"{"@type":"Intent","expectation":"p95 latency below 10 ms"},"#.repeat(6);
        [("plain", r#"{"@type":"Intent"}"#.into(), Class::Internal), ("packed", report, Class::Confidential)]
    }

    fn vector(name: &str, clear: &str, class: Class) -> Value {
        let (data_key, hash_key, nonce) = ([0x11; 32], [0x22; 32], [0x33; NONCE_BYTES]);
        let resource = resource();
        let bound = Bound { dataset: "record", key: &resource, version: 7 };
        let cipher = Xaes::new(&Secret::new(data_key));
        let envelope = seal_with_nonce(&cipher, (KeyId(4099), 2), class, bound, clear.as_bytes(), nonce).unwrap();
        let hash = Secret::new(hash_key);
        let tag = digest::content_tag(&hash, Kind::Intent, "intent-1", 7, clear.as_bytes()).unwrap();
        json!({
            "name": name, "data_key": hex::encode(data_key), "hash_key": hex::encode(hash_key), "key_id": 4099,
            "key_version": 2, "class": class.as_str(), "dataset": "record", "kind": "intent", "tenant": "acme",
            "id": "intent-1", "version": 7, "nonce": hex::encode(nonce), "clear": clear,
            "envelope": hex::encode(envelope), "content_tag": hex::encode(tag),
            "blind_name": hex::encode(digest::blind(&hash, "name", clear.as_bytes()).unwrap()),
        })
    }

    /// The format is fixed: the committed vectors open, and what is not compressed is sealed to the same bytes.
    #[test]
    fn the_golden_vectors_hold() {
        let made: Vec<Value> = cases().iter().map(|(name, clear, class)| vector(name, clear, *class)).collect();
        if std::env::var_os("NEPHKEEP_BLESS").is_some() {
            std::fs::create_dir_all(fixture().parent().unwrap()).unwrap();
            std::fs::write(fixture(), serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
        }
        let stored: Vec<Value> = serde_json::from_slice(&std::fs::read(fixture()).unwrap()).unwrap();
        assert_eq!(stored.len(), made.len());
        let resource = resource();
        let bound = Bound { dataset: "record", key: &resource, version: 7 };
        for (mut stored, mut made) in stored.into_iter().zip(made) {
            let envelope = hex::decode(stored["envelope"].as_str().unwrap()).unwrap();
            let opened = open(&Xaes::new(&Secret::new([0x11; 32])), bound, &envelope).unwrap();
            assert_eq!(opened, stored["clear"].as_str().unwrap().as_bytes());
            if stored["name"] == "packed" {
                // Another release of zstd may pack otherwise.
                stored["envelope"].take();
                made["envelope"].take();
            }
            assert_eq!(stored, made);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), flip in 0usize..48) {
            let resource = resource();
            let bound = Bound { dataset: "record", key: &resource, version: 7 };
            let cipher = Xaes::new(&Secret::new([1; 32]));
            prop_assert!(open(&cipher, bound, &bytes).is_err());
            let mut envelope = seal_with_nonce(&cipher, (KeyId(1), 1), Class::Public, bound, &bytes, [0; 24]).unwrap();
            prop_assert_eq!(open(&cipher, bound, &envelope).unwrap(), bytes);
            envelope[flip] ^= 0x40;
            prop_assert!(open(&cipher, bound, &envelope).is_err());
        }
    }
}
