//! Holds a document against the tables of [`super::schema`]; a refusal names the field and the remedy.

use super::schema::{self, Need, Rule, Shape};
use crate::json::place::Wrong;
use crate::{Error, Json, Kind, Result};

type Checked = Result<(), Wrong>;

/// The types a kind has in the document, base first.
fn known_types(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Intent => &["Intent", "ProbeIntent"],
        Kind::IntentSpecification => &["IntentSpecification"],
        Kind::IntentReport => &["IntentReport"],
        _ => &[],
    }
}

fn rules(kind: Kind) -> &'static [Rule] {
    match kind {
        Kind::Intent => schema::INTENT,
        Kind::IntentSpecification => schema::SPECIFICATION,
        Kind::IntentReport => schema::REPORT,
        _ => &[],
    }
}

/// A document as a client sends it to be created.
pub(super) fn new_document(kind: Kind, body: &Json) -> Result<()> {
    document(kind, body, Need::OnCreate)
}

/// A document as it would be stored after a change.
pub(super) fn changed_document(kind: Kind, body: &Json) -> Result<()> {
    document(kind, body, Need::Always)
}

fn document(kind: Kind, body: &Json, strictness: Need) -> Result<()> {
    if body.as_object().is_none() {
        let message = format!("the body must be a JSON object, not {}", body.type_name());
        return Err(Error::invalid("attribute-type", message).with("field", "$"));
    }
    object_type(kind, body)?;
    Ok(members(body, rules(kind), strictness)?)
}

/// `@type` chooses the schema: one of the document's, or a subtype that names its base or its schema.
fn object_type(kind: Kind, body: &Json) -> Result<()> {
    let known = known_types(kind);
    let base = known.first().copied().unwrap_or_default();
    let Some(value) = body.get("@type") else {
        let message = format!("@type is required; send \"@type\": \"{base}\" or a subtype");
        return Err(Error::invalid("attribute-missing", message).with("field", "@type"));
    };
    let Some(name) = value.as_str() else {
        return Err(Wrong::new("attribute-type", expected("text", value)).under("@type").into());
    };
    crate::resource::check_name("@type", name)?;
    if known.contains(&name) {
        return Ok(());
    }
    let of_another_kind = [Kind::Intent, Kind::IntentSpecification, Kind::IntentReport]
        .into_iter()
        .any(|other| other != kind && known_types(other).contains(&name));
    let names_base = body.get("@baseType").and_then(Json::as_str).is_some_and(|base| known.contains(&base));
    let names_schema = body.get("@schemaLocation").and_then(Json::as_str).is_some_and(|at| !at.is_empty());
    if !of_another_kind && (names_base || names_schema) {
        return Ok(());
    }
    let message = format!(
        "this @type is not one of {}; a subtype says its base with \"@baseType\": \"{base}\" or its schema with @schemaLocation",
        known.join(", ")
    );
    Err(Error::invalid("type-unknown", message).with("field", "@type").with("type", name))
}

fn members(value: &Json, rules: &[Rule], strictness: Need) -> Checked {
    for rule in rules {
        match value.get(rule.name) {
            Some(member) => shape(member, rule.shape, strictness).map_err(|wrong| wrong.under(rule.name))?,
            None if rule.need >= strictness && rule.need != Need::Never => {
                let message = format!("{} is required; add it", rule.name);
                return Err(Wrong::new("attribute-missing", message).under(rule.name));
            }
            None => {}
        }
    }
    Ok(())
}

fn shape(value: &Json, shape: Shape, strictness: Need) -> Checked {
    match shape {
        Shape::Any => Ok(()),
        Shape::Text => value.as_str().map(drop).ok_or_else(|| wrong("a string", value)),
        Shape::Flag => value.as_bool().map(drop).ok_or_else(|| wrong("true or false", value)),
        Shape::Date => date(value),
        Shape::Object(rules) => object(value, rules, strictness),
        Shape::List(rules) => list(value, rules, strictness),
        Shape::Expression => expression(value, strictness),
    }
}

fn expected(what: &str, found: &Json) -> String {
    if found.is_null() {
        return format!("{what} is expected here, not null; leave the attribute out instead");
    }
    format!("{what} is expected here, not {}", found.type_name())
}

fn wrong(what: &str, found: &Json) -> Wrong {
    Wrong::new("attribute-type", expected(what, found))
}

/// Lenient after the day: an official example writes the seconds as `0.000`.
fn date(value: &Json) -> Checked {
    let rule = "a date and time such as 2026-01-31T12:00:00Z";
    let Some(text) = value.as_str() else { return Err(wrong(rule, value)) };
    let digits = |range: std::ops::Range<usize>| {
        text.as_bytes().get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let dashes = text.as_bytes().get(4) == Some(&b'-') && text.as_bytes().get(7) == Some(&b'-');
    if digits(0..4) && digits(5..7) && digits(8..10) && dashes {
        return Ok(());
    }
    Err(Wrong::new("attribute-value", format!("{rule} is expected here")))
}

fn object(value: &Json, rules: &[Rule], strictness: Need) -> Checked {
    if value.as_object().is_none() {
        return Err(wrong("an object", value));
    }
    members(value, rules, strictness)
}

fn list(value: &Json, rules: &[Rule], strictness: Need) -> Checked {
    let items = value.as_array().ok_or_else(|| wrong("an array of objects", value))?;
    for (at, item) in items.iter().enumerate() {
        object(item, rules, strictness).map_err(|wrong| wrong.at(at))?;
    }
    Ok(())
}

fn expression(value: &Json, strictness: Need) -> Checked {
    object(value, schema::EXPRESSION, strictness)?;
    let Some(content) = value.get("expressionValue") else {
        let demanded =
            matches!(value.get("@type").and_then(Json::as_str), Some("JsonLdExpression" | "TurtleExpression"));
        if demanded && strictness == Need::OnCreate {
            let message = "expressionValue is required for this @type of expression; add it";
            return Err(Wrong::new("attribute-missing", message).under("expressionValue"));
        }
        return Ok(());
    };
    match (value.get("@type").and_then(Json::as_str), content) {
        (Some("TurtleExpression"), Json::String(_)) => Ok(()),
        (Some("TurtleExpression"), other) => Err(wrong("Turtle text in a string", other).under("expressionValue")),
        _ => Ok(()),
    }
}
