//! Texts of many forms, as sections under headings and as chunks that are worth finding. Pure: bytes in, pieces out.

mod encoding;
mod html;
mod markdown;
mod part;
pub mod pdf;
mod rst;

pub use encoding::decoded;
use html::fenced;
pub use part::{Block, CHUNKER, Format, Section, chunks_of, sections};
