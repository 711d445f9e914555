//! The text copy: an inverted index over the chunks of knowledge documents, scored by BM25 (k1 1.2, b 0.75).
//!
//! Confidential text never lies in clear in a side index, and this one holds its texts in clear: a confidential document
//! has nothing in it, and one that is handed to it is refused.
//!
//! One directory per generation holds an index of the `tantivy` engine. Its commit carries the position: documents and
//! watermark become durable together, by one renamed file, and never the watermark first. A term is a word behind its
//! tenant's name, so no question meets another tenant's words, and how rare a word is is counted within the tenant.
//! What the engine stores of each chunk is what digests are computed from; every file ends with a checksum of its own.

mod damage;
mod disk;
mod index;
mod rows;
mod search;
mod words;
mod writing;

use crate::generations::Naming;

pub use index::TextIndex;
pub use search::{TextCopy, TextQuery, TextSearch, TextStats};

static NAMING: Naming = Naming {
    index: "text index",
    ending: "",
    unusable: "text-unusable",
    damaged: "text-damaged",
    remedy: "nephkeep rebuild text",
};
