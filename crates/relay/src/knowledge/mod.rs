//! Texts on their way in (parted under their headings) and on to the copies: one vector and one
//! text a chunk.

mod cleanup;
mod markdown;
mod part;
mod texts;
mod vectors;

pub(crate) use cleanup::CleanUp;
pub use part::{CHUNKER, Format, Section, chunks_of, sections};
pub use texts::ToTexts;
pub use vectors::{Embedded, ToVectors};
