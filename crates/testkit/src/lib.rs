//! What tests share: never part of a release.

mod clock;
#[allow(clippy::unwrap_used, reason = "a test that is asked nonsense fails")]
pub mod embedder;
#[allow(clippy::unwrap_used, reason = "a test that cannot ask its database fails")]
pub mod embeddings;
pub mod fuse;
pub mod intents;
#[allow(clippy::unwrap_used, reason = "a test that cannot start its database fails")]
pub mod postgresql;
#[allow(clippy::unwrap_used, reason = "a test that cannot start its engines fails")]
pub mod prometheus;
pub mod sink;
pub mod skipped;
