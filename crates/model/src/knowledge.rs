//! Knowledge: a text of the knowledge base, kept in pieces (chunks) with the headings they stand under.
//!
//! One document is one resource. Its id follows from source and path, so the same file is the same document at every
//! import. The chunks are made at intake and stored: what is found by a search is what stands in the record.

use crate::{
    Class, Columns, Error, Json, Prepared, Result, Subject, Tenant,
    canonical::canonicalise,
    json::{self, Limits},
    resource,
};
use uuid::Uuid;

/// Ids are UUIDv5 under this name.
const NAMESPACE: Uuid = Uuid::from_u128(0x7c0f_2a5e_9b4d_4f0c_8a61_3d5e_0b9f_1c27);
/// Chunks of a document.
pub const CHUNKS_MAX: usize = 10_000;
/// A title, and the headings of a chunk together: both are read with every chunk.
pub const HEADING_MAX_BYTES: usize = 1 << 10;
const CHUNK_MAX_BYTES: usize = 64 << 10;

/// A piece of a document, and the headings it stands under, outermost first, joined by ` > `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub heading: String,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it comes from: a collection, a repository, a standard.
    pub source: String,
    /// Where in it.
    pub path: String,
    pub title: String,
    /// Of the rules that made the chunks.
    pub chunker: String,
    pub class: Class,
    pub chunks: Vec<Chunk>,
}

fn wrong(field: &str, rule: &str) -> Error {
    Error::invalid("attribute-value", rule).with("field", field)
}

/// What is stored is read whole: by the door, by every copy, by every search that finds a piece of it.
#[must_use]
pub fn too_large(bytes: usize) -> Error {
    let rule = "a document of the knowledge base, with its headings, has at most 1 MiB of JSON; part it";
    Error::invalid("document-too-large", rule).with("bytes", bytes).with("limit-bytes", Limits::default().bytes)
}

/// `document-too-large`: as a document of too many pieces.
#[must_use]
pub fn too_many() -> Error {
    let rule = format!("a document of the knowledge base has at most {CHUNKS_MAX} pieces of text; part it");
    Error::invalid("document-too-large", rule).with("limit-pieces", CHUNKS_MAX)
}

/// The same for every import of the same source and path.
#[must_use]
pub fn id(source: &str, path: &str) -> String {
    Uuid::new_v5(&NAMESPACE, format!("{source}\0{path}").as_bytes()).to_string()
}

impl Document {
    #[must_use]
    pub fn id(&self) -> String {
        id(&self.source, &self.path)
    }

    /// Checked, canonical, classified.
    pub fn prepared(&self, tenant: &Tenant) -> Result<Prepared> {
        for (field, text) in [("source", &self.source), ("path", &self.path)] {
            resource::check_name("name", text).map_err(|error| error.with("field", field))?;
        }
        if self.class > Class::Confidential {
            return Err(wrong(
                "class",
                "knowledge is public, internal or confidential: what is never read cannot be found",
            ));
        }
        if self.title.len() > HEADING_MAX_BYTES {
            return Err(wrong("title", "a title has at most 1024 bytes"));
        }
        if self.chunks.is_empty() {
            return Err(wrong("text", "there is no text in this document; leave it out"));
        }
        if self.chunks.len() > CHUNKS_MAX {
            return Err(too_many());
        }
        for (at, chunk) in self.chunks.iter().enumerate() {
            if chunk.text.len() > CHUNK_MAX_BYTES {
                return Err(wrong(&format!("chunks[{at}].text"), "a piece of text has at most 64 kB"));
            }
            if chunk.heading.len() > HEADING_MAX_BYTES {
                let rule = "the headings of a piece of text have at most 1024 bytes";
                return Err(wrong(&format!("chunks[{at}].heading"), rule));
            }
        }
        let document = canonicalise(&self.json());
        if document.len() > Limits::default().bytes {
            return Err(too_large(document.len()));
        }
        let (subject, columns) = (Subject::of_tenant(tenant), Columns::default());
        Ok(Prepared { document, class: self.class, subject, columns })
    }

    #[must_use]
    pub fn json(&self) -> Json {
        let chunk = |chunk: &Chunk| Json::object().with("heading", &*chunk.heading).with("text", &*chunk.text);
        Json::object()
            .with("@type", "KnowledgeDocument")
            .with("id", self.id())
            .with("source", &*self.source)
            .with("path", &*self.path)
            .with("title", &*self.title)
            .with("class", self.class.as_str())
            .with("chunker", &*self.chunker)
            .with("chunks", self.chunks.iter().map(chunk).collect::<Vec<_>>())
    }

    /// As stored.
    pub fn read(document: &[u8]) -> Result<Self> {
        let document = &json::stored(document)?;
        let broken = |field: &str| {
            Error::corrupt("knowledge-malformed", "a stored knowledge document is not one this version would write")
                .with("field", field)
        };
        let text = |of: &Json, field: &str| {
            of.get(field).and_then(Json::as_str).map(str::to_owned).ok_or_else(|| broken(field))
        };
        let chunks = document.get("chunks").and_then(Json::as_array).ok_or_else(|| broken("chunks"))?;
        let chunk = |chunk: &Json| Ok(Chunk { heading: text(chunk, "heading")?, text: text(chunk, "text")? });
        Ok(Self {
            source: text(document, "source")?,
            path: text(document, "path")?,
            title: text(document, "title")?,
            chunker: text(document, "chunker")?,
            class: text(document, "class")?.parse().map_err(|error: Error| broken("class").caused_by(error))?,
            chunks: chunks.iter().map(chunk).collect::<Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn document() -> Document {
        let chunk = Chunk { heading: "Faults > Links".into(), text: "A link is down.".into() };
        Document {
            source: "runbooks".into(),
            path: "faults.md".into(),
            title: "Faults".into(),
            chunker: "headings-1".into(),
            class: Class::Internal,
            chunks: vec![chunk],
        }
    }

    #[test]
    fn a_document_reads_back_as_it_was_stored_and_keeps_its_id() {
        let document = document();
        let prepared = document.prepared(&Tenant::new("t").unwrap()).unwrap();
        assert_eq!(prepared.class, Class::Internal);
        assert_eq!(Document::read(&prepared.document).unwrap(), document);
        assert_eq!(document.id(), "0828a6a1-0393-5730-b0e8-08eee3648323");
    }

    #[test]
    fn what_cannot_be_found_again_is_refused_by_name() {
        let tenant = Tenant::new("t").unwrap();
        let refused = |document: Document| document.prepared(&tenant).unwrap_err().fact("field").map(str::to_owned);
        assert_eq!(refused(Document { chunks: Vec::new(), ..document() }).as_deref(), Some("text"));
        assert_eq!(refused(Document { class: Class::Restricted, ..document() }).as_deref(), Some("class"));
        assert_eq!(refused(Document { path: String::new(), ..document() }).as_deref(), Some("name"));
        let long = Chunk { heading: String::new(), text: "x".repeat(CHUNK_MAX_BYTES + 1) };
        assert_eq!(refused(Document { chunks: vec![long], ..document() }).as_deref(), Some("chunks[0].text"));
        let title = "x".repeat(HEADING_MAX_BYTES + 1);
        let below = Chunk { heading: title.clone(), text: "x".into() };
        assert_eq!(refused(Document { title, ..document() }).as_deref(), Some("title"));
        assert_eq!(refused(Document { chunks: vec![below], ..document() }).as_deref(), Some("chunks[0].heading"));
    }

    /// What is accepted can be read: by a reader that holds every JSON document to its limit, too.
    #[test]
    fn a_document_that_nobody_could_read_is_not_accepted() {
        let tenant = Tenant::new("t").unwrap();
        let of = |pieces: usize, bytes: usize| {
            let chunk = Chunk { heading: "Faults".into(), text: "x".repeat(bytes) };
            Document { chunks: vec![chunk; pieces], ..document() }.prepared(&tenant)
        };
        json::parse(&of(20, 50_000).unwrap().document).unwrap();
        json::parse(&of(CHUNKS_MAX, 50).unwrap().document).unwrap();
        for (pieces, bytes) in [(21, 50_000), (CHUNKS_MAX + 1, 1)] {
            assert_eq!(of(pieces, bytes).unwrap_err().code(), "document-too-large");
        }
    }

    #[test]
    fn what_is_wrong_with_a_stored_document_is_not_the_readers_mistake() {
        for stored in [&b"{"[..], b"{}", b"\xff", b"{\"source\":\"s\",\"source\":\"s\"}"] {
            assert_eq!(Document::read(stored).unwrap_err().kind(), crate::ErrorKind::Corrupt);
        }
        let mut other = document().json();
        other.set("class", "secret");
        assert_eq!(Document::read(&other.to_bytes()).unwrap_err().kind(), crate::ErrorKind::Corrupt);
    }
}
