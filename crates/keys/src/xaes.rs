//! XAES-256-GCM (c2sp.org/XAES-256-GCM): AES-256-GCM under a key derived from the first half of a 24-byte
//! random nonce, so that one key may seal a practically unlimited number of messages (RECORD 6).

use crate::secret::Secret;
use aes::{
    Aes256Enc,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use aes_gcm::{
    AesGcm,
    aead::{AeadInOut, consts::U12, inout::InOutBuf},
};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

pub const NONCE_BYTES: usize = 24;
pub const TAG_BYTES: usize = 16;

type Gcm = AesGcm<Aes256Enc, U12>;

/// The key schedule and the CMAC subkey of one key: the part that all its messages share.
#[derive(Clone)]
pub struct Xaes {
    cipher: Aes256Enc,
    subkey: Zeroizing<[u8; 16]>,
}

/// It did not open: another key, another nonce, other data, or a changed byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAuthentic;

impl Xaes {
    pub fn new(key: &Secret) -> Self {
        let cipher = Aes256Enc::new(key.bytes().into());
        let mut block = [0; 16].into();
        cipher.encrypt_block(&mut block);
        let doubled = (u128::from_be_bytes(block.into()) << 1) ^ if block[0] & 0x80 == 0 { 0 } else { 0x87 };
        block.zeroize();
        Self { cipher, subkey: Zeroizing::new(doubled.to_be_bytes()) }
    }

    /// CMAC over one block per half, as the specification lays it out (steps 3 to 5).
    fn message_cipher(&self, nonce: &[u8; NONCE_BYTES]) -> Gcm {
        let mut key = Zeroizing::new([0; 32]);
        for (half, counter) in key.chunks_exact_mut(16).zip(1u8..) {
            let mut block = [0; 16];
            block[1] = counter;
            block[2] = b'X';
            block[4..].copy_from_slice(&nonce[..12]);
            block.iter_mut().zip(self.subkey.iter()).for_each(|(byte, mask)| *byte ^= mask);
            let mut block = block.into();
            self.cipher.encrypt_block(&mut block);
            half.copy_from_slice(&block);
            block.zeroize();
        }
        Gcm::new((&*key).into())
    }

    /// Encrypts in place and returns the tag.
    pub fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        text: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], NotAuthentic> {
        let mut tail = [0; 12];
        tail.copy_from_slice(&nonce[12..]);
        let cipher = self.message_cipher(nonce);
        let tag = cipher.encrypt_inout_detached(&tail.into(), associated, InOutBuf::from(text));
        tag.map(Into::into).map_err(|_| NotAuthentic)
    }

    /// Decrypts in place; the text is left as it was when it is not authentic.
    pub fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        text: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), NotAuthentic> {
        let mut tail = [0; 12];
        tail.copy_from_slice(&nonce[12..]);
        let cipher = self.message_cipher(nonce);
        let opened = cipher.decrypt_inout_detached(&tail.into(), associated, InOutBuf::from(text), tag.into());
        opened.map_err(|_| NotAuthentic)
    }
}

impl fmt::Debug for Xaes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Xaes(..)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn check(key: u8, associated: &[u8], sealed: &str) {
        let xaes = Xaes::new(&Secret::new([key; 32]));
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        let mut text = *b"XAES-256-GCM";
        let mut tag = xaes.seal(nonce, associated, &mut text).unwrap();
        assert_eq!(hex::encode([text.as_slice(), &tag].concat()), sealed);
        xaes.open(nonce, associated, &mut text, &tag).unwrap();
        assert_eq!(&text, b"XAES-256-GCM");
        tag[3] ^= 1;
        assert_eq!(xaes.open(nonce, associated, &mut text, &tag), Err(NotAuthentic));
    }

    /// The two vectors of the specification: the most significant bit of L clear, then set.
    #[test]
    fn the_vectors_of_the_specification_hold() {
        check(1, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");
        check(3, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d");
    }
}
