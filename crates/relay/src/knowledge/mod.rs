<<<<<<< HEAD
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
=======
//! Texts on their way to the vector copy: embedded, one vector a chunk.

mod cleanup;
mod vectors;

pub(crate) use cleanup::CleanUp;
>>>>>>> cbd14e1 (Knowledge in HTML and reStructuredText; every file of a directory is imported, refused or passed over by name)
pub use vectors::{Embedded, ToVectors};
