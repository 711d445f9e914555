//! Texts into vectors. The model's id stands with every vector, and a query never meets another model's.

mod hash;
mod http;

pub use hash::{HashEmbedder, WideHashEmbedder};
pub use http::{ApiKey, HttpEmbedder, HttpOptions, Key};

use model::{Class, Error, Result};
use std::fmt;

/// Told where a lexical embedder has answered.
pub const SEMANTIC: &str = "it compares words; for meanings set embedder.url, embedder.model and embedder.dimensions in \
    nephkeep.toml, then nephkeep knowledge migrate";

/// Calls take processor time or wait for a network: make them where blocking is allowed. What it promises is asked by
/// `suite::embedder`.
///
/// An error of kind `Invalid` is about the texts that were given: asked one by one, those that are at fault are found.
/// Any other is about the embedder, and no text is at fault.
pub trait Embedder: Send + Sync + fmt::Debug {
    /// Never changes its meaning: other weights, another id.
    fn model(&self) -> &str;
    fn dimensions(&self) -> usize;
    /// One vector of length 1 for each text; of a text without a single letter or digit, the zero vector.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>>;
    /// Of a text that somebody waits for: sooner given up than the texts of documents.
    fn question(&self, text: &str) -> Result<Vec<f32>> {
        let missing = || Error::bug("an embedder gave no vector for a question");
        self.embed(&[text])?.pop().ok_or_else(missing)
    }
    /// What sort of one it is, in a few words: `lexical, offline`.
    fn kind(&self) -> String;
    /// Its vectors are kept in the record, because making one costs more than keeping it.
    fn is_kept(&self) -> bool {
        false
    }
    /// Texts of a higher class are never given to it.
    fn class_max(&self) -> Class {
        Class::Confidential
    }
    /// Texts that are best given at once, and how many calls at a time.
    fn pace(&self) -> (usize, usize) {
        (64, 1)
    }
    /// The server stops: calls that wait end.
    fn close(&self) {}
    /// As users are told of it.
    fn described(&self) -> String {
        format!("{} ({})", self.model(), self.kind())
    }
}

/// Whether there is anything to embed.
#[must_use]
pub fn has_words(text: &str) -> bool {
    text.chars().any(char::is_alphanumeric)
}
