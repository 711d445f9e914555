//! Avro: reading by `apache-avro`, resolution rules walked here so that every difference is named with its place.
//!
//! The library's own check stops at the first difference, does not follow names into referenced schemas and calls a
//! missing enum symbol "partial"; here that is a difference, as Apache's Java implementation has it.

use crate::schema::{Referenced, Side};
use apache_avro::{
    Schema,
    reader::datum::GenericDatumReader,
    schema::{Alias, EnumSchema, RecordField, RecordSchema},
    schema_compatibility::SchemaCompatibility,
};
use model::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

type Names = BTreeMap<String, Schema>;

struct Parsed {
    root: Schema,
    names: Names,
}

pub(crate) fn check(text: &str, needed: &[Referenced]) -> Result<()> {
    read(text, needed).map(drop)
}

/// The schema, and those it needs.
fn read(text: &str, needed: &[Referenced]) -> Result<(Schema, Vec<Schema>)> {
    Schema::parse_str_with_list(text, needed.iter().map(|one| one.text.as_str()))
        .map_err(|error| Error::invalid("schema-invalid", format!("not a valid Avro schema: {error}")))
}

fn parse(text: &str, needed: &[Referenced]) -> Result<Parsed> {
    let (root, others) = read(text, needed)?;
    let mut names = Names::new();
    others.iter().chain([&root]).for_each(|schema| collect(schema, &mut names));
    Ok(Parsed { root, names })
}

/// The value that bytes written under a schema stand for.
pub fn value(text: &str, needed: &[Referenced], mut bytes: &[u8]) -> Result<serde_json::Value> {
    let (root, others) = read(text, needed)?;
    let malformed = |error: &dyn std::fmt::Display| {
        Error::invalid("schema-message-malformed", format!("the bytes do not follow the schema: {error}"))
    };
    let schemata: Vec<&Schema> = others.iter().chain([&root]).collect();
    let reader = GenericDatumReader::builder(&root).writer_schemata(schemata).and_then(|builder| builder.build());
    let value = reader.and_then(|reader| reader.read_value(&mut bytes)).map_err(|error| malformed(&error))?;
    if !bytes.is_empty() {
        return Err(malformed(&"there is more behind the value").with("bytes", bytes.len()));
    }
    serde_json::Value::try_from(value).map_err(|error| malformed(&error))
}

fn collect(schema: &Schema, names: &mut Names) {
    let is_reference = matches!(schema, Schema::Ref { .. });
    if let Some(name) = schema.name().filter(|_| !is_reference) {
        names.insert(name.fullname(None), schema.clone());
    }
    match schema {
        Schema::Array(array) => collect(&array.items, names),
        Schema::Map(map) => collect(&map.types, names),
        Schema::Union(union) => union.variants().iter().for_each(|one| collect(one, names)),
        Schema::Record(record) => record.fields.iter().for_each(|field| collect(&field.schema, names)),
        _ => {}
    }
}

pub(crate) fn readable(writer: Side<'_>, reader: Side<'_>) -> Result<Vec<String>> {
    let (writer, reader) = (parse(writer.text, writer.needed)?, parse(reader.text, reader.needed)?);
    let mut walk = Walk { writer: &writer.names, reader: &reader.names, seen: BTreeSet::new() };
    Ok(walk.differences("$", &writer.root, &reader.root))
}

struct Walk<'n> {
    writer: &'n Names,
    reader: &'n Names,
    /// Pairs of names under way or done: a recursive type is compared once.
    seen: BTreeSet<(String, String)>,
}

fn named<'n>(schema: &'n Schema, names: &'n Names) -> &'n Schema {
    match schema {
        Schema::Ref { name } => names.get(&name.fullname(None)).unwrap_or(schema),
        other => other,
    }
}

impl<'n> Walk<'n> {
    fn differences(&mut self, at: &str, writer: &'n Schema, reader: &'n Schema) -> Vec<String> {
        let (writer, reader) = (named(writer, self.writer), named(reader, self.reader));
        match (writer, reader) {
            (Schema::Union(writer), reader) => {
                writer.variants().iter().flat_map(|one| self.differences(at, one, reader)).collect()
            }
            (writer, Schema::Union(reader)) => self.some_branch(at, writer, reader.variants()),
            (Schema::Record(w), Schema::Record(r)) => {
                let pair = (w.name.fullname(None), r.name.fullname(None));
                if !same_name(&w.name.fullname(None), r.name.name(), r.aliases.as_ref()) {
                    return vec![format!("{at}: record {} was written, {} is expected", pair.0, pair.1)];
                }
                if self.seen.insert(pair) { self.fields(at, w, r) } else { Vec::new() }
            }
            (Schema::Enum(w), Schema::Enum(r)) => symbols(at, w, r),
            (Schema::Array(w), Schema::Array(r)) => self.differences(&format!("{at}[]"), &w.items, &r.items),
            (Schema::Map(w), Schema::Map(r)) => self.differences(&format!("{at}{{}}"), &w.types, &r.types),
            (writer, reader) => match SchemaCompatibility::can_read(writer, reader) {
                Ok(_) => Vec::new(),
                Err(_) => vec![format!("{at}: {} was written, {} is expected", word(writer), word(reader))],
            },
        }
    }

    fn fields(&mut self, at: &str, writer: &'n RecordSchema, reader: &'n RecordSchema) -> Vec<String> {
        let mut told = Vec::new();
        for field in &reader.fields {
            let at = format!("{at}.{}", field.name);
            match written(field, writer) {
                Some(there) => told.extend(self.differences(&at, &there.schema, &field.schema)),
                None if field.default.is_some() => {}
                None => told.push(format!("{at}: was not written and has no default")),
            }
        }
        told
    }

    /// One branch of the reader's union must take it; the reasons of the branch of the same type say most.
    fn some_branch(&mut self, at: &str, writer: &'n Schema, reader: &'n [Schema]) -> Vec<String> {
        let mut nearest = None;
        for branch in reader {
            let before = self.seen.clone();
            let told = self.differences(at, writer, branch);
            if told.is_empty() {
                return told;
            }
            self.seen = before;
            let alike = word(named(writer, self.writer)) == word(named(branch, self.reader));
            if alike && nearest.is_none() {
                nearest = Some(told);
            }
        }
        nearest.unwrap_or_else(|| {
            let known: Vec<String> = reader.iter().map(|branch| word(named(branch, self.reader))).collect();
            vec![format!(
                "{at}: {} was written, the union has only {}",
                word(named(writer, self.writer)),
                known.join(", ")
            )]
        })
    }
}

/// A reader's field takes the writer's of its own name, else of one of its aliases.
fn written<'n>(field: &RecordField, writer: &'n RecordSchema) -> Option<&'n RecordField> {
    let names = std::iter::once(&field.name).chain(&field.aliases);
    names.into_iter().find_map(|name| writer.fields.iter().find(|there| there.name == *name))
}

/// Unqualified names match, or an alias of the reader is the writer's name.
fn same_name(writer: &str, reader: &str, aliases: Option<&Vec<Alias>>) -> bool {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let alias = |alias: &Alias| alias.fullname(None) == writer || alias.name() == last(writer);
    last(writer) == reader || aliases.is_some_and(|all| all.iter().any(alias))
}

fn symbols(at: &str, writer: &EnumSchema, reader: &EnumSchema) -> Vec<String> {
    if !same_name(&writer.name.fullname(None), reader.name.name(), reader.aliases.as_ref()) {
        let (written, expected) = (writer.name.fullname(None), reader.name.fullname(None));
        return vec![format!("{at}: enum {written} was written, {expected} is expected")];
    }
    if reader.default.is_some() {
        return Vec::new();
    }
    let missing: Vec<&str> =
        writer.symbols.iter().filter(|symbol| !reader.symbols.contains(symbol)).map(String::as_str).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    vec![format!("{at}: the enum lacks {} and has no default", missing.join(", "))]
}

/// What a schema is, in Avro's words.
fn word(schema: &Schema) -> String {
    let text = |name: &str| name.to_owned();
    match schema {
        Schema::Record(record) => format!("record {}", record.name.fullname(None)),
        Schema::Enum(one) => format!("enum {}", one.name.fullname(None)),
        Schema::Fixed(fixed) => format!("fixed {} of {} bytes", fixed.name.fullname(None), fixed.size),
        Schema::Ref { name } => name.fullname(None),
        Schema::Array(_) => text("array"),
        Schema::Map(_) => text("map"),
        Schema::Union(_) => text("union"),
        Schema::Decimal(decimal) => format!("decimal({}, {})", decimal.precision, decimal.scale),
        other => {
            let debug = format!("{other:?}");
            debug.chars().take_while(|c| c.is_alphanumeric()).collect::<String>().to_lowercase()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(writer: &str, reader: &str) -> Vec<String> {
        readable(Side { text: writer, needed: &[] }, Side { text: reader, needed: &[] }).unwrap()
    }

    fn record(fields: &str) -> String {
        format!(r#"{{"type":"record","name":"R","namespace":"n","fields":[{fields}]}}"#)
    }

    #[test]
    fn every_difference_is_named_with_its_place() {
        let old =
            record(r#"{"name":"a","type":"int"},{"name":"b","type":{"type":"enum","name":"E","symbols":["X","Y"]}}"#);
        let new = record(
            r#"{"name":"a","type":"string"},{"name":"b","type":{"type":"enum","name":"E","symbols":["X"]}},
               {"name":"c","type":"long"}"#,
        );
        assert_eq!(
            told(&old, &new),
            [
                "$.a: int was written, string is expected",
                "$.b: the enum lacks Y and has no default",
                "$.c: was not written and has no default",
            ]
        );
        assert_eq!(told(&new, &old), ["$.a: string was written, int is expected"]);
    }

    #[test]
    fn what_the_specification_allows_is_allowed() {
        let old = record(r#"{"name":"a","type":"int"},{"name":"gone","type":"string"}"#);
        let new = record(
            r#"{"name":"b","aliases":["a"],"type":"double"},{"name":"c","type":["null","string"],"default":null}"#,
        );
        assert_eq!(told(&old, &new), Vec::<String>::new());
        let with_default = r#"{"type":"enum","name":"E","symbols":["X"],"default":"X"}"#;
        assert!(told(r#"{"type":"enum","name":"E","symbols":["Y"]}"#, with_default).is_empty());
        assert!(told(r#""string""#, r#""bytes""#).is_empty());
        assert!(told(r#"["null","int"]"#, r#"["long","null"]"#).is_empty());
        assert_eq!(told(r#"["null","int"]"#, r#""int""#), ["$: null was written, int is expected"]);
        assert_eq!(told(r#""string""#, r#"["null","int"]"#), ["$: string was written, the union has only null, int"]);
    }

    #[test]
    fn recursive_and_referenced_types_are_followed() {
        let list =
            |kind: &str| record(&format!(r#"{{"name":"v","type":"{kind}"}},{{"name":"next","type":["null","n.R"]}}"#));
        assert_eq!(told(&list("int"), &list("int")), Vec::<String>::new());
        assert_eq!(told(&list("string"), &list("int")), ["$.v: string was written, int is expected"]);

        let part = |kind: &str| Referenced {
            name: "n.Part".into(),
            text: format!(
                r#"{{"type":"record","name":"Part","namespace":"n","fields":[{{"name":"p","type":"{kind}"}}]}}"#
            ),
        };
        let whole = record(r#"{"name":"part","type":"n.Part"}"#);
        let (old, new) = ([part("string")], [part("int")]);
        let side = |needed| Side { text: &whole, needed };
        assert_eq!(readable(side(&old), side(&new)).unwrap(), ["$.part.p: string was written, int is expected"]);
        assert!(readable(side(&new), side(&new)).unwrap().is_empty());
        assert_eq!(check(&whole, &[]).unwrap_err().code(), "schema-invalid");
    }

    #[test]
    fn a_value_is_read_whole_or_refused() {
        let schema = record(r#"{"name":"id","type":"string"},{"name":"n","type":"long"}"#);
        assert_eq!(value(&schema, &[], &[2, b'x', 6]).unwrap(), serde_json::json!({ "id": "x", "n": 3 }));
        for bad in [&[2, b'x'][..], &[2, b'x', 6, 0], &[]] {
            assert_eq!(value(&schema, &[], bad).unwrap_err().code(), "schema-message-malformed", "{bad:?}");
        }
    }
}
