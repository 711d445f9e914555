//! C2SP signed notes and checkpoints: Ed25519, key id = SHA-256(name, newline, 0x01, public key)[..4].

use crate::merkle::Hash;
use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use model::{Error, Result};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};
use zeroize::Zeroizing;

const ED25519: u8 = 1;
const PRIVATE: &str = "PRIVATE+KEY+";

fn key_id(name: &str, public: &[u8; 32]) -> u32 {
    let mut hasher = Sha256::new();
    hasher.update(name.as_bytes());
    hasher.update([b'\n', ED25519]);
    hasher.update(public);
    let digest = hasher.finalize();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// A name of a log or key: not empty, no space, no plus, no control character.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+') {
        let message = "the name of a log is not empty and has no spaces, plus signs or control characters";
        return Err(Error::invalid("audit-name-malformed", message));
    }
    Ok(())
}

fn key_malformed(what: &'static str) -> Error {
    Error::invalid("audit-key-malformed", format!("this is not a key of an audit log: {what}"))
}

/// `name+id+base64(type, bytes)`: what a key text holds behind its prefix.
fn key_parts(text: &str) -> Result<(String, u32, Zeroizing<[u8; 32]>)> {
    let mut parts = text.trim_end_matches('\n').splitn(3, '+');
    let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(key_malformed("it does not read name+id+key"));
    };
    check_name(name)?;
    let id = u32::from_str_radix(id, 16).map_err(|_| key_malformed("its id is not 8 hexadecimal digits"))?;
    let raw = STANDARD.decode(encoded).map(Zeroizing::new).map_err(|_| key_malformed("its bytes are not base64"))?;
    let bytes = match raw.split_first() {
        Some((&ED25519, bytes)) => bytes.try_into().map_err(|_| key_malformed("it has not 32 bytes"))?,
        _ => return Err(key_malformed("its type is not Ed25519")),
    };
    Ok((name.to_owned(), id, Zeroizing::new(bytes)))
}

fn key_text(name: &str, id: u32, bytes: &[u8; 32]) -> String {
    let mut raw = Zeroizing::new(vec![ED25519]);
    raw.extend_from_slice(bytes);
    format!("{name}+{id:08x}+{}", STANDARD.encode(&*raw))
}

/// The public half, in the C2SP text form `name+id+base64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl PublicKey {
    /// The name of the log, which is the origin line of its checkpoints.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&key_text(&self.name, self.id, self.key.as_bytes()))
    }
}

impl FromStr for PublicKey {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let (name, id, bytes) = key_parts(text)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| key_malformed("it is not a point of the curve"))?;
        if key_id(&name, key.as_bytes()) != id {
            return Err(key_malformed("its id does not belong to its name and bytes"));
        }
        Ok(Self { name, id, key })
    }
}

/// The private half. Its text form is that of Go's `note` package: `PRIVATE+KEY+name+id+base64`.
pub(crate) struct PrivateKey {
    public: PublicKey,
    key: SigningKey,
}

impl PrivateKey {
    pub(crate) fn generate(name: &str) -> Result<Self> {
        check_name(name)?;
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed)
            .map_err(|error| Error::retry("audit-unavailable", format!("no randomness for a key: {error}")))?;
        Ok(Self::from_seed(name.to_owned(), &seed))
    }

    fn from_seed(name: String, seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        let verifying = key.verifying_key();
        let id = key_id(&name, verifying.as_bytes());
        Self { public: PublicKey { name, id, key: verifying }, key }
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.strip_prefix(PRIVATE).ok_or_else(|| key_malformed("it does not begin PRIVATE+KEY+"))?;
        let (name, id, seed) = key_parts(text)?;
        let key = Self::from_seed(name, &seed);
        if key.public.id != id {
            return Err(key_malformed("its id does not belong to its name and bytes"));
        }
        Ok(key)
    }

    pub(crate) fn text(&self) -> Zeroizing<String> {
        let body = Zeroizing::new(key_text(&self.public.name, self.public.id, &Zeroizing::new(self.key.to_bytes())));
        Zeroizing::new(format!("{PRIVATE}{}\n", *body))
    }

    pub(crate) fn public(&self) -> &PublicKey {
        &self.public
    }
}

/// A tree head. Its text form is a signed note; extension lines are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

fn invalid(what: &'static str) -> Error {
    let message = format!("the checkpoint cannot be trusted: {what}");
    Error::corrupt("audit-checkpoint-invalid", message)
}

impl Checkpoint {
    fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    pub(crate) fn sign(&self, key: &PrivateKey) -> String {
        let body = self.body();
        let mut raw = key.public.id.to_be_bytes().to_vec();
        raw.extend_from_slice(&key.key.sign(body.as_bytes()).to_bytes());
        format!("{body}\n\u{2014} {} {}\n", key.public.name, STANDARD.encode(raw))
    }

    /// Checks the signature of a signed note, then reads it. Lines of other keys (witnesses) are passed over.
    pub fn open(text: &str, key: &PublicKey) -> Result<Self> {
        if text.chars().any(|c| c.is_control() && c != '\n') {
            return Err(invalid("it has control characters"));
        }
        let (body, signatures) = text.rsplit_once("\n\n").ok_or_else(|| invalid("it has no signatures"))?;
        let body = format!("{body}\n");
        let mut verified = false;
        for line in signatures.lines() {
            verified |= verify_line(line, body.as_bytes(), key)?;
        }
        if !verified {
            return Err(invalid("no line is signed by the key of this log"));
        }
        let checkpoint = Self::parse(&body)?;
        if checkpoint.origin != key.name {
            return Err(invalid("its origin is another log"));
        }
        Ok(checkpoint)
    }

    fn parse(body: &str) -> Result<Self> {
        let lines: Vec<_> = body.lines().collect();
        let [origin, size, root] = lines[..] else {
            return Err(invalid("it has not three lines"));
        };
        let number = size.parse().map_err(|_| invalid("its size is not a number"))?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        let root = root.ok_or_else(|| invalid("its root is not 32 bytes in base64"))?;
        let checkpoint = Self { origin: origin.to_owned(), size: number, root };
        if checkpoint.body() == body { Ok(checkpoint) } else { Err(invalid("it is not in its canonical form")) }
    }
}

/// `Ok(false)` for a line of another key; an error for a line of ours that does not verify.
fn verify_line(line: &str, body: &[u8], key: &PublicKey) -> Result<bool> {
    let malformed = || invalid("a signature line is malformed");
    let rest = line.strip_prefix("\u{2014} ").ok_or_else(malformed)?;
    let (name, encoded) = rest.split_once(' ').ok_or_else(malformed)?;
    let raw = STANDARD.decode(encoded).map_err(|_| malformed())?;
    let (id, signature) = raw.split_first_chunk::<4>().ok_or_else(malformed)?;
    if name != key.name || u32::from_be_bytes(*id) != key.id {
        return Ok(false);
    }
    let signature = Signature::from_slice(signature).map_err(|_| malformed())?;
    key.key.verify_strict(body, &signature).map_err(|_| invalid("the signature of this log does not verify"))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn signed() -> (PrivateKey, String) {
        let key = PrivateKey::from_seed("example.com/log".into(), &[7; 32]);
        let text = Checkpoint { origin: "example.com/log".into(), size: 42, root: [9; 32] }.sign(&key);
        (key, text)
    }

    #[test]
    fn a_signed_checkpoint_opens_under_its_key_only() {
        let (key, text) = signed();
        assert_eq!(Checkpoint::open(&text, key.public()).unwrap().size, 42);
        let other = PrivateKey::from_seed("example.com/log".into(), &[8; 32]);
        assert_eq!(Checkpoint::open(&text, other.public()).unwrap_err().code(), "audit-checkpoint-invalid");
        let witnessed = format!("{text}\u{2014} witness.example AAAAAAAA\n");
        assert!(Checkpoint::open(&witnessed, key.public()).is_ok());
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let (key, text) = signed();
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(Checkpoint::open(&changed, key.public()).is_err(), "byte {index}");
        }
    }

    #[test]
    fn keys_read_back_and_the_vector_of_the_note_format_holds() {
        let (key, _) = signed();
        assert_eq!(PrivateKey::parse(&key.text()).unwrap().public(), key.public());
        // The public key of the Go checksum database, a note key everybody knows.
        let text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        assert_eq!(text.parse::<PublicKey>().unwrap().to_string(), text);
        assert!("sum.golang.org+033de0af+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8".parse::<PublicKey>().is_err());
    }
}
