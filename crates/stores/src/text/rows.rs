//! What the engine stores: a row for each key, for each key that was removed, and for each chunk.

use super::words::{RULES, words};
use crate::{
    change::{Body, CopyChange, Object},
    digest,
};
use model::{Class, Error, Kind, Position, ResourceKey, Result, Subject, Tenant, Version};
use serde::{Deserialize, Serialize};
use tantivy::{
    TantivyDocument, Term,
    schema::{FAST, Field, INDEXED, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions, Value},
    tokenizer::{PreTokenizedString, Token},
};

/// Between a tenant and a word, a sign that no word holds.
const BEHIND: char = '\u{1}';

#[derive(Debug, Clone)]
pub struct Fields {
    pub schema: Schema,
    /// Of every row: where its key stands among all keys.
    pub place: Field,
    /// 1 for rows of keys, living and removed.
    pub key: Field,
    pub class: Field,
    pub source: Field,
    pub words: Field,
    row: Field,
}

pub const PLACE: &str = "place";

impl Fields {
    pub fn new() -> Self {
        let mut schema = Schema::builder();
        let words = TextFieldIndexing::default().set_tokenizer("raw").set_index_option(IndexRecordOption::WithFreqs);
        let (place, key) = (schema.add_u64_field(PLACE, INDEXED | FAST), schema.add_u64_field("key", INDEXED));
        let (class, source) = (schema.add_u64_field("class", INDEXED), schema.add_text_field("source", STRING));
        let words = schema.add_text_field(RULES, TextOptions::default().set_indexing_options(words));
        let row = schema.add_text_field("row", STORED);
        Self { schema: schema.build(), place, key, class, source, words, row }
    }

    pub fn at(&self, place: u64) -> Term {
        Term::from_field_u64(self.place, place)
    }

    pub fn word(&self, tenant: &Tenant, word: &str) -> Term {
        Term::from_field_text(self.words, &format!("{tenant}{BEHIND}{word}"))
    }

    fn stored(&self, row: &Row, place: u64) -> Result<TantivyDocument> {
        let text = serde_json::to_string(row).map_err(|error| Error::bug("a row is no JSON").caused_by(error))?;
        let mut document = TantivyDocument::default();
        document.add_u64(self.place, place);
        document.add_text(self.row, text);
        Ok(document)
    }

    pub fn removed(&self, place: u64, position: Position) -> Result<TantivyDocument> {
        let mut document = self.stored(&Row::Removed { place, position: position.to_string() }, place)?;
        document.add_u64(self.key, 1);
        Ok(document)
    }

    /// The rows of a state, and how many words it has.
    pub fn of(&self, change: &CopyChange) -> Result<(Vec<TantivyDocument>, u64)> {
        let (place, mut all, mut documents) = (digest::place(&change.key), 0, Vec::new());
        for Object { ordinal, body } in &change.objects {
            let Body::Text { source, text } = body else {
                return Err(Error::bug("an object that is no text came to the text copy").with("id", &change.key.id));
            };
            let found = words(text);
            all += found.len() as u64;
            let row = Row::Chunk { place, ordinal: *ordinal, source: source.to_string(), text: text.to_string() };
            let mut document = self.stored(&row, place)?;
            document.add_u64(self.class, u64::from(change.class as u8));
            document.add_text(self.source, source);
            document.add_pre_tokenized_text(self.words, tokens(&change.key.tenant, found));
            documents.push(document);
        }
        let mut head = self.stored(&Row::Key(KeyRow::of(change, all)), place)?;
        head.add_u64(self.key, 1);
        documents.push(head);
        Ok((documents, all))
    }

    /// `None`: this is not what was stored.
    pub fn row(&self, document: &TantivyDocument) -> Option<Row> {
        let text = document.get_first(self.row)?.as_str()?;
        serde_json::from_str(text).ok()
    }
}

fn tokens(tenant: &Tenant, words: Vec<String>) -> PreTokenizedString {
    let token = |(position, word)| Token { position, text: format!("{tenant}{BEHIND}{word}"), ..Token::default() };
    PreTokenizedString { text: String::new(), tokens: words.into_iter().enumerate().map(token).collect() }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Row {
    Key(KeyRow),
    Removed { place: u64, position: String },
    Chunk { place: u64, ordinal: u32, source: String, text: String },
}

#[derive(Debug, Serialize, Deserialize)]
pub struct KeyRow {
    tenant: String,
    kind: String,
    id: String,
    version: Version,
    position: String,
    class: String,
    subject: String,
    chunks: u32,
    words: u64,
}

/// A living key, as it is remembered while the index is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub key: ResourceKey,
    pub version: Version,
    pub position: Position,
    pub class: Class,
    pub subject: Subject,
    pub chunks: u32,
    pub words: u64,
}

impl Held {
    pub fn of(change: &CopyChange, words: u64) -> Self {
        let CopyChange { position, version, class, .. } = *change;
        let (key, subject) = (change.key.clone(), change.subject.clone());
        Self { key, version, position, class, subject, chunks: count(&change.objects), words }
    }
}

fn count(objects: &[Object]) -> u32 {
    u32::try_from(objects.len()).unwrap_or(u32::MAX)
}

impl KeyRow {
    fn of(change: &CopyChange, words: u64) -> Self {
        let key = &change.key;
        Self {
            tenant: key.tenant.to_string(),
            kind: key.kind.to_string(),
            id: key.id.to_string(),
            version: change.version,
            position: change.position.to_string(),
            class: change.class.to_string(),
            subject: change.subject.as_str().to_owned(),
            chunks: count(&change.objects),
            words,
        }
    }

    pub fn held(&self) -> Result<Held> {
        let tenant = Tenant::new(&self.tenant)?;
        Ok(Held {
            key: ResourceKey::new(&tenant, self.kind.parse::<Kind>()?, &self.id)?,
            version: self.version,
            position: self.position.parse()?,
            class: self.class.parse()?,
            subject: Subject::from_stored(&self.subject),
            chunks: self.chunks,
            words: self.words,
        })
    }
}
