//! A schema as registered: its form, its text and what it refers to.

use crate::{Level, avro, json_schema, protobuf};
use model::{Error, Json, Result, canonical::canonicalise, json};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Avro,
    JsonSchema,
    Protobuf,
}

impl Form {
    pub const ALL: [Self; 3] = [Self::JsonSchema, Self::Protobuf, Self::Avro];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::JsonSchema => "JSON",
            Self::Protobuf => "PROTOBUF",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Form {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::invalid("schema-invalid", "schemaType is AVRO (the default), JSON or PROTOBUF");
        Self::ALL.into_iter().find(|form| form.as_str() == text).ok_or_else(|| unknown().with("schemaType", text))
    }
}

/// Another subject's version, under the name by which the schema calls it (an Avro full name, a `$ref`, an import).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub name: String,
    pub subject: String,
    pub version: u32,
}

/// A reference with the text that stands there; of all schemas it needs, the needed come first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referenced {
    pub name: String,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    pub form: Form,
    /// Avro and JSON Schema: compact JSON, members in their own order. Protobuf: as it came, without outer white space.
    pub text: String,
    pub references: Vec<Reference>,
}

impl Schema {
    /// Reads and checks a schema. `normalize`: members in canonical order, so that spellings become one.
    pub fn parse(
        form: Form,
        text: &str,
        references: Vec<Reference>,
        needed: &[Referenced],
        normalize: bool,
    ) -> Result<Self> {
        let text = match form {
            Form::Protobuf => text.trim().to_owned(),
            Form::Avro | Form::JsonSchema => compact(form, text, normalize)?,
        };
        match form {
            Form::Avro => avro::check(&text, needed)?,
            Form::JsonSchema => json_schema::check(&text, needed)?,
            Form::Protobuf => protobuf::check(&text, needed)?,
        }
        Ok(Self { form, text, references })
    }

    /// What makes two schemas one: form, text and references.
    #[must_use]
    pub fn identity(&self) -> String {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(self.form.as_str().as_bytes());
        part(self.text.as_bytes());
        for reference in &self.references {
            part(reference.name.as_bytes());
            part(reference.subject.as_bytes());
            part(&reference.version.to_be_bytes());
        }
        hex::encode(hash.finalize())
    }

    /// Whether `self` may follow all of `earlier` in the directions of a level; else every reason, one a line. Which
    /// versions a level looks at: [`crate::Subject::before`].
    pub fn follows(&self, needed: &[Referenced], earlier: &[Earlier], level: Level) -> Result<Vec<String>> {
        let mut told = Vec::new();
        if level == Level::None {
            return Ok(told);
        }
        let new = Side { text: &self.text, needed };
        for Earlier { version, schema, needed } in earlier {
            let old = Side { text: &schema.text, needed };
            if schema.form != self.form {
                told.push(format!(
                    "version {version} is {}, the new one {}: the form never changes",
                    schema.form, self.form
                ));
                continue;
            }
            if level.is_backward() {
                let reasons = readable(self.form, old, new)?;
                told.extend(reasons.iter().map(|why| format!("data of version {version} under the new schema: {why}")));
            }
            if level.is_forward() {
                let reasons = readable(self.form, new, old)?;
                told.extend(reasons.iter().map(|why| format!("new data under version {version}: {why}")));
            }
        }
        Ok(told)
    }
}

/// A version that is there already, with what it refers to.
#[derive(Debug, Clone)]
pub struct Earlier {
    pub version: u32,
    pub schema: Schema,
    pub needed: Vec<Referenced>,
}

/// A schema's text with what it refers to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side<'s> {
    pub text: &'s str,
    pub needed: &'s [Referenced],
}

/// Why what the writer wrote cannot be read by the reader; empty: it can.
fn readable(form: Form, writer: Side<'_>, reader: Side<'_>) -> Result<Vec<String>> {
    match form {
        Form::Avro => avro::readable(writer, reader),
        Form::JsonSchema => json_schema::readable(writer, reader),
        Form::Protobuf => protobuf::readable(writer, reader),
    }
}

fn compact(form: Form, text: &str, normalize: bool) -> Result<String> {
    let told = |error: Error| {
        let place = error.to_string();
        Error::invalid("schema-invalid", format!("an {form} schema is JSON: {place}"))
    };
    // A bare Avro primitive may stand without quotes.
    let bare = form == Form::Avro && text.trim().bytes().all(|b| b.is_ascii_lowercase()) && !text.trim().is_empty();
    let quoted = format!("\"{}\"", text.trim());
    let value = json::parse(if bare { quoted.as_bytes() } else { text.as_bytes() }).map_err(told)?;
    let bytes = if normalize { canonicalise(&value) } else { value.to_bytes() };
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::bug("JSON that was written is not UTF-8"))
}

/// A member that must be there, of a stored schema document.
pub(crate) fn stored<'j>(document: &'j Json, name: &str) -> Result<&'j Json> {
    let missing = || Error::corrupt("schema-corrupt", "a stored document of the schema registry is not whole");
    document.get(name).ok_or_else(|| missing().with("field", name))
}
