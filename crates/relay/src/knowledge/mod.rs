//! Texts on their way in (parted under their headings) and on to the vector copy (embedded, one vector a chunk).

mod markdown;
mod part;

pub use part::{CHUNKER, Format, Section, chunks_of, sections};

use crate::Shaper;
use ledger::{Content, Resource};
use model::{Kind, Result, knowledge::Document};
use std::sync::Arc;
use stores::{Body, Object, embed::Embedder};

/// Knowledge documents as vectors.
#[derive(Debug)]
pub struct ToVectors(pub Arc<dyn Embedder>);

impl Shaper for ToVectors {
    fn kind(&self) -> Kind {
        Kind::KnowledgeDocument
    }

    /// Erased and deleted documents have no objects.
    fn objects(&self, resource: &Resource) -> Result<Vec<Object>> {
        match &resource.document {
            Content::Clear(document) => self.vectors(&Document::read(document)?),
            Content::Erased | Content::Deleted => Ok(Vec::new()),
        }
    }
}

impl ToVectors {
    /// Chunk by chunk: title and headings stand with each, and all of them at once would be many times the document.
    /// A chunk without a word has no vector and is not found by one.
    fn vectors(&self, document: &Document) -> Result<Vec<Object>> {
        let (model, source) = (Arc::from(self.0.model()), Arc::from(document.source.as_str()));
        let mut objects = Vec::with_capacity(document.chunks.len());
        for (ordinal, chunk) in (0_u32..).zip(&document.chunks) {
            let text = format!("{}\n{}\n{}", document.title, chunk.heading, chunk.text);
            let embedded = self.0.embed(&[&text])?;
            for values in embedded.into_iter().filter(|values| values.iter().any(|value| *value != 0.0)) {
                let (model, source) = (Arc::clone(&model), Arc::clone(&source));
                objects.push(Object { ordinal, body: Body::Vector { model, source, values: values.into() } });
            }
        }
        Ok(objects)
    }
}
