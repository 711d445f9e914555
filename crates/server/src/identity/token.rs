//! Bearer tokens: 256 random bits, shown once, kept as their SHA-256.

use crate::clock;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use model::Result;
use sha2::{Digest, Sha256};
use std::fmt;

/// What is kept of a token. A random 256-bit token needs no slow hash: there is nothing to guess.
pub type TokenHash = [u8; 32];

const PREFIX: &str = "nk_";

/// A token in clear; never printed by accident.
pub struct Token(String);

impl Token {
    pub fn generate() -> Result<Self> {
        Ok(Self(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(clock::random::<32>()?))))
    }
    /// For the one answer or file that hands it out.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        hash(&self.0)
    }
}

#[must_use]
pub fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_do_not_show_themselves() {
        let (one, two) = (Token::generate().unwrap(), Token::generate().unwrap());
        assert_ne!(one.hash(), two.hash());
        assert_eq!(one.hash(), hash(one.reveal()));
        assert_eq!(one.reveal().len(), 3 + 43);
        assert!(!format!("{one:?}").contains(one.reveal()));
    }
}
