//! Texts on their way to the copies: one vector and one text a chunk.

mod cleanup;
mod texts;
mod vectors;

pub(crate) use cleanup::CleanUp;
pub use texts::ToTexts;
pub use vectors::{Embedded, ToVectors};
