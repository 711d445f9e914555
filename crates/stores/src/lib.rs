//! THE COPIES: events, vectors, text, metrics and objects, each behind the one write trait, each checkable.
//!
//! A copy is derived from the record and never asked to be right: it carries the position it has reached, its objects
//! carry theirs, and its digests are computed from what it holds.

pub mod change;
mod clock;
pub mod digest;
pub mod embed;
pub mod faulty;
mod generations;
pub mod lazy;
pub mod metrics;
pub mod projection;
pub mod suite;
pub mod text;
pub mod vectors;

pub use change::{Body, ChangeBatch, CopyChange, Object};
pub use digest::{Entry, KeyRange, RangeDigest};
pub use projection::Projection;
