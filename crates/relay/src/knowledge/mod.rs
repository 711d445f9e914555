//! Texts on their way in (parted under their headings) and on to the vector copy (embedded, one vector a chunk).

mod cleanup;
mod markdown;
mod part;
mod vectors;

pub(crate) use cleanup::CleanUp;
pub use part::{CHUNKER, Format, Section, chunks_of, sections};
pub use vectors::{Embedded, ToVectors};
