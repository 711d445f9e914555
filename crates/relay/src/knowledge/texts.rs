//! The texts of documents as their words are found: title, headings and text of each chunk.

use crate::Shaper;
use ledger::{Content, Resource};
use model::{Class, Kind, Result, knowledge::Document};
use std::sync::Arc;
use stores::{Body, Object};

/// Knowledge documents as texts in clear: none that is confidential.
#[derive(Debug, Clone, Copy)]
pub struct ToTexts;

impl Shaper for ToTexts {
    fn kind(&self) -> Kind {
        Kind::KnowledgeDocument
    }

    fn objects(&self, resource: &Resource) -> Result<Vec<Object>> {
        let text = match &resource.document {
            Content::Clear(text) if resource.class < Class::Confidential => text,
            Content::Clear(_) | Content::Erased | Content::Deleted => return Ok(Vec::new()),
        };
        let Document { source, title, chunks, .. } = Document::read(text)?;
        let source: Arc<str> = source.into();
        let object = |(ordinal, chunk): (u32, &model::knowledge::Chunk)| {
            let text = format!("{title}\n{}\n{}", chunk.heading, chunk.text).into();
            Object { ordinal, body: Body::Text { source: Arc::clone(&source), text } }
        };
        Ok((0..).zip(&chunks).map(object).collect())
    }
}
