//! Nouns and pure rules: no IO, no async, no clock, no randomness.
//!
//! Everything governed is a versioned resource `(tenant, kind, id) -> version, document`. This crate
//! says what a resource, a position, a class, an access right and an error are; the other crates move them.

pub mod access;
pub mod canonical;
pub mod class;
pub mod configuration;
mod draft;
pub mod error;
pub mod hlc;
pub mod hub;
pub mod intake;
pub mod json;
pub mod kind;
pub mod knowledge;
pub mod network_intent;
pub mod patch;
pub mod position;
pub mod prepared;
pub mod principal;
pub mod resource;
pub mod select;
pub mod sink;
pub mod tmf921;

pub use access::{Access, Action, Role};
pub use class::Class;
pub use error::{Error, ErrorKind, Result};
pub use hlc::Hlc;
pub use json::Json;
pub use kind::Kind;
pub use position::{Incarnation, Position, Shard};
pub use prepared::{Columns, Prepared};
pub use principal::Principal;
pub use resource::{ResourceKey, Subject, Tenant, Version};
