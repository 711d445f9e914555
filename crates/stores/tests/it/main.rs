//! Copies as the relay and the door use them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod conformance;
mod embedder;
mod made;
mod metrics;
mod text;
mod vectors;
mod vectors_files;
mod vectors_graph;
mod vectors_opening;
