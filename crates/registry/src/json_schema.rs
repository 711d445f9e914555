//! JSON Schema: valid against its meta-schema; a schema reads what another wrote when it accepts all that the other does.
//!
//! Containment is undecidable in general, so the answer errs to "no": a difference is told wherever acceptance does not
//! follow from the rules in [`containment`]. Two readings are the field's and not strict containment: a property that
//! becomes required may have a default, and a new alternative of a `oneOf` is taken to be distinct from the others.
//! `format` and keywords nobody knows are annotations.

mod bounds;
mod containment;
mod types;

use crate::schema::{Referenced, Side};
use model::{Error, Json, Result, json};

pub(crate) fn check(text: &str, needed: &[Referenced]) -> Result<()> {
    let invalid = |why: String| Error::invalid("schema-invalid", format!("not a valid JSON Schema: {why}"));
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
    if !value.is_object() && !value.is_boolean() {
        return Err(invalid("a schema is an object or a boolean".into()));
    }
    jsonschema::meta::validate(&value).map_err(|error| invalid(format!("{error} at {}", error.instance_path())))?;
    let documents = Documents::read(Side { text, needed })?;
    let mut missing = Vec::new();
    unresolved(&documents, documents.root(), &mut missing);
    match missing.first() {
        None => Ok(()),
        Some(reference) => {
            let how = "a $ref points into the schema itself or to a name among its references";
            Err(Error::invalid("schema-invalid", how).with("$ref", reference))
        }
    }
}

fn unresolved(documents: &Documents, node: Node<'_>, missing: &mut Vec<String>) {
    match node.json {
        Json::Object(members) => {
            for (name, value) in members {
                match value.as_str().filter(|_| name == "$ref") {
                    Some(reference) if documents.resolve(node, reference).is_none() => {
                        missing.push(reference.to_owned())
                    }
                    _ if matches!(name.as_str(), "const" | "enum" | "default" | "examples") => {}
                    _ => unresolved(documents, node.at(value), missing),
                }
            }
        }
        Json::Array(items) => items.iter().for_each(|item| unresolved(documents, node.at(item), missing)),
        _ => {}
    }
}

pub(crate) fn readable(writer: Side<'_>, reader: Side<'_>) -> Result<Vec<String>> {
    if writer.text == reader.text && writer.needed == reader.needed {
        return Ok(Vec::new());
    }
    let (old, new) = (Documents::read(writer)?, Documents::read(reader)?);
    Ok(containment::differences(&old, &new))
}

/// The schema and those it refers to.
struct Documents {
    /// The schema itself comes first, under no name.
    all: Vec<(String, Json)>,
}

/// A schema inside a document.
#[derive(Debug, Clone, Copy)]
struct Node<'d> {
    document: usize,
    /// Of draft 7 or older, where nothing beside a `$ref` counts.
    legacy: bool,
    json: &'d Json,
}

impl<'d> Node<'d> {
    fn at(self, json: &'d Json) -> Self {
        Self { json, ..self }
    }

    fn get(self, keyword: &str) -> Option<Self> {
        self.json.get(keyword).map(|json| self.at(json))
    }

    fn items(self, keyword: &str) -> Vec<Self> {
        let items = self.json.get(keyword).and_then(Json::as_array).unwrap_or_default();
        items.iter().map(|json| self.at(json)).collect()
    }

    fn members(self, keyword: &str) -> Vec<(&'d str, Self)> {
        let members = self.json.get(keyword).and_then(Json::as_object).unwrap_or_default();
        members.iter().map(|(name, json)| (name.as_str(), self.at(json))).collect()
    }
}

impl Documents {
    fn read(side: Side<'_>) -> Result<Self> {
        let mut all = vec![(String::new(), json::parse(side.text.as_bytes())?)];
        for one in side.needed {
            all.push((one.name.clone(), json::parse(one.text.as_bytes())?));
        }
        Ok(Self { all })
    }

    fn root(&self) -> Node<'_> {
        let json = self.all.first().map_or(&Json::Null, |(_, json)| json);
        Node { document: 0, legacy: is_legacy(json), json }
    }

    fn resolve<'d>(&'d self, from: Node<'d>, reference: &str) -> Option<Node<'d>> {
        let (name, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let named = |known: &str, json: &Json| known == name || json.get("$id").and_then(Json::as_str) == Some(name);
        let document = match name {
            "" => from.document,
            _ => self.all.iter().position(|(known, json)| named(known, json))?,
        };
        let (_, root) = self.all.get(document)?;
        let json = if fragment.is_empty() { Some(root) } else { root.pointer(fragment) };
        json.map(|json| Node { document, legacy: is_legacy(root), json })
    }
}

fn is_legacy(root: &Json) -> bool {
    let named = root.get("$schema").and_then(Json::as_str).unwrap_or_default();
    ["draft-03", "draft-04", "draft-06", "draft-07"].iter().any(|draft| named.contains(draft))
}
