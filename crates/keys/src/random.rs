//! The one place of this crate where randomness enters.

use crate::digest;
use hpke::rand_core::{TryCryptoRng, TryRng};
use model::{Error, Result};
use std::convert::Infallible;
use zeroize::Zeroizing;

/// Fills from the operating system; without randomness nothing is sealed.
pub fn fill(target: &mut [u8]) -> Result<()> {
    getrandom::fill(target).map_err(|cause| {
        let words = "the operating system gave no random bytes; nothing is sealed without them: check getrandom(2)";
        Error::retry("randomness-missing", words).caused_by(cause.to_string())
    })
}

/// HPKE wants a generator that cannot fail, and the operating system's can: so draw a seed first, then
/// expand it with HMAC-SHA256 in counter mode. One generator serves one encapsulation.
pub struct Expanded {
    seed: Zeroizing<[u8; 32]>,
    block: u64,
}

impl Expanded {
    pub fn seeded() -> Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        fill(seed.as_mut())?;
        Ok(Self { seed, block: 0 })
    }

    fn draw(&mut self, target: &mut [u8]) {
        for chunk in target.chunks_mut(32) {
            let block = Zeroizing::new(digest::hmac(&self.seed, &[&self.block.to_be_bytes()]));
            self.block += 1;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}

impl TryRng for Expanded {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.draw(&mut bytes);
        Ok(u32::from_be_bytes(bytes))
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.draw(&mut bytes);
        Ok(u64::from_be_bytes(bytes))
    }
    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        self.draw(target);
        Ok(())
    }
}

impl TryCryptoRng for Expanded {}
