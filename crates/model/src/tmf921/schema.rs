//! What the TMF921 v5 document says about attributes, as tables.
//!
//! Only what the document's schemas require or type is listed; every other attribute is accepted, stored and returned.
//! `expressionValue` is any JSON and dates are read leniently, because the official examples need it. A subtype named
//! by `@type` is checked as its base.

/// What an attribute holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Text,
    /// Text that begins with a date.
    Date,
    Flag,
    Any,
    Object(&'static [Rule]),
    List(&'static [Rule]),
    /// An expression: its `@type` may demand an `expressionValue`.
    Expression,
}

/// When an attribute must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    Never,
    /// When a client sends the object whole (the `_FVO` schemas).
    OnCreate,
    /// In every stored document (the resource schemas).
    Always,
}

#[derive(Debug)]
pub(super) struct Rule {
    pub name: &'static str,
    pub shape: Shape,
    pub need: Need,
}

use Need::{Always, Never, OnCreate};
use Shape::{Any, Date, Expression, Flag, List, Object, Text};

const fn rule(name: &'static str, shape: Shape, need: Need) -> Rule {
    Rule { name, shape, need }
}

const PERIOD: &[Rule] = &[rule("startDateTime", Date, Never), rule("endDateTime", Date, Never)];

const REFERENCE: &[Rule] = &[
    rule("@type", Text, Always),
    rule("id", Text, Always),
    rule("name", Text, OnCreate),
    rule("href", Text, Never),
    rule("@referredType", Text, Never),
];

const RELATED_PARTY: &[Rule] =
    &[rule("@type", Text, Always), rule("role", Text, OnCreate), rule("partyOrPartyRole", Object(REFERENCE), Never)];

const CHARACTERISTIC: &[Rule] = &[
    rule("@type", Text, Always),
    rule("name", Text, OnCreate),
    rule("id", Text, Never),
    rule("valueType", Text, Never),
    rule("value", Any, Never),
];

const RELATIONSHIP: &[Rule] = &[
    rule("@type", Text, OnCreate),
    rule("id", Text, OnCreate),
    rule("relationshipType", Text, OnCreate),
    rule("@referredType", Text, OnCreate),
    rule("associationSpec", Object(REFERENCE), Never),
    rule("validFor", Object(PERIOD), Never),
];

const ATTACHMENT: &[Rule] = &[
    rule("@type", Text, Always),
    rule("id", Text, Never),
    rule("name", Text, Never),
    rule("description", Text, Never),
    rule("url", Text, Never),
    rule("content", Text, Never),
    rule("attachmentType", Text, Never),
    rule("mimeType", Text, Never),
    rule("validFor", Object(PERIOD), Never),
];

pub(super) const EXPRESSION: &[Rule] = &[rule("@type", Text, Always), rule("iri", Text, OnCreate)];

pub(super) const INTENT: &[Rule] = &[
    rule("name", Text, Always),
    rule("expression", Expression, Always),
    rule("description", Text, Never),
    rule("validFor", Object(PERIOD), Never),
    rule("isBundle", Flag, Never),
    rule("priority", Text, Never),
    rule("context", Text, Never),
    rule("version", Text, Never),
    rule("lifecycleStatus", Text, Never),
    rule("intentSpecification", Object(REFERENCE), Never),
    rule("intentRelationship", List(RELATIONSHIP), Never),
    rule("characteristic", List(CHARACTERISTIC), Never),
    rule("relatedParty", List(RELATED_PARTY), Never),
    rule("attachment", List(ATTACHMENT), Never),
    rule("@baseType", Text, Never),
    rule("@schemaLocation", Text, Never),
];

const CHARACTERISTIC_SPECIFICATION: &[Rule] = &[
    rule("@type", Text, Always),
    rule("name", Text, OnCreate),
    rule("valueType", Text, OnCreate),
    rule("description", Text, Never),
    rule("configurable", Flag, Never),
    rule("isUnique", Flag, Never),
    rule("extensible", Flag, Never),
    rule("regex", Text, Never),
    rule("validFor", Object(PERIOD), Never),
];

const EXPRESSION_SPECIFICATION: &[Rule] =
    &[rule("@type", Text, Always), rule("expressionLanguage", Text, Never), rule("iri", Text, Never)];

const TARGET_SCHEMA: &[Rule] = &[rule("@type", Text, OnCreate), rule("@schemaLocation", Text, OnCreate)];

const SPECIFICATION_RELATIONSHIP: &[Rule] = &[
    rule("@type", Text, Always),
    rule("id", Text, Always),
    rule("name", Text, OnCreate),
    rule("role", Text, Never),
    rule("relationshipType", Text, Never),
    rule("validFor", Object(PERIOD), Never),
];

const ENTITY_RELATIONSHIP: &[Rule] = &[
    rule("role", Text, OnCreate),
    rule("relationshipType", Text, OnCreate),
    rule("validFor", Object(PERIOD), OnCreate),
    rule("associationSpec", Object(REFERENCE), OnCreate),
];

pub(super) const SPECIFICATION: &[Rule] = &[
    rule("name", Text, Always),
    rule("description", Text, Never),
    rule("lifecycleStatus", Text, Never),
    rule("isBundle", Flag, Never),
    rule("validFor", Object(PERIOD), Never),
    rule("version", Text, Never),
    rule("attachment", List(ATTACHMENT), Never),
    rule("targetEntitySchema", Object(TARGET_SCHEMA), Never),
    rule("specCharacteristic", List(CHARACTERISTIC_SPECIFICATION), Never),
    rule("relatedParty", List(RELATED_PARTY), Never),
    rule("constraint", List(REFERENCE), Never),
    rule("entitySpecRelationship", List(ENTITY_RELATIONSHIP), Never),
    rule("expressionSpecification", Object(EXPRESSION_SPECIFICATION), Never),
    rule("intentSpecRelationship", List(SPECIFICATION_RELATIONSHIP), Never),
    rule("@baseType", Text, Never),
    rule("@schemaLocation", Text, Never),
];

pub(super) const REPORT: &[Rule] = &[
    rule("name", Text, Never),
    rule("description", Text, Never),
    rule("validFor", Object(PERIOD), Never),
    rule("intent", Object(&[rule("@type", Text, Always), rule("id", Text, Never)]), Never),
    rule("expression", Expression, Never),
    rule("creationDate", Date, Never),
    rule("@baseType", Text, Never),
    rule("@schemaLocation", Text, Never),
];
