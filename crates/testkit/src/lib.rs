//! What tests share: never part of a release.

pub mod fuse;
pub mod intents;
