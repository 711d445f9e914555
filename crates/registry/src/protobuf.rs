//! Protobuf: read by `protox-parse`; what may change is what the wire format bears.
//!
//! Covered, per message (nested ones too, by full name): a field number keeps a type of the same wire group
//! (<https://protobuf.dev/programming-guides/proto3/#updating>: `int32 uint32 int64 uint64 bool` and enums; `sint32
//! sint64`; `string bytes`; `fixed32 sfixed32`; `fixed64 sfixed64`; else the same type), single and repeated stay what
//! they are, a `required` field is neither added nor removed, no field moves into a `oneof` that was there, a message
//! that was there stays, and the package stays. A removed or an added field is fine. Not covered: names of fields,
//! options, services, extensions, and what stands in imported files.

use crate::schema::{Referenced, Side};
use model::{Error, Result};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use std::collections::{BTreeMap, BTreeSet};

/// Files that every Protobuf compiler brings itself.
const WELL_KNOWN: &str = "google/protobuf/";

pub(crate) fn check(text: &str, needed: &[Referenced]) -> Result<()> {
    let file = parse(text)?;
    let known = |import: &String| import.starts_with(WELL_KNOWN) || needed.iter().any(|one| one.name == *import);
    match file.dependency.iter().find(|import| !known(import)) {
        None => Ok(()),
        Some(import) => {
            let how = "a file that is imported is registered first and named among the references";
            Err(Error::invalid("schema-invalid", how).with("import", import))
        }
    }
}

fn parse(text: &str) -> Result<FileDescriptorProto> {
    protox_parse::parse("schema.proto", text)
        .map_err(|error| Error::invalid("schema-invalid", format!("not a valid Protobuf schema: {error}")))
}

struct Messages<'f> {
    package: String,
    all: BTreeMap<String, &'f DescriptorProto>,
    enums: BTreeSet<String>,
}

impl<'f> Messages<'f> {
    fn of(file: &'f FileDescriptorProto) -> Self {
        let mut found = Self { package: file.package().to_owned(), all: BTreeMap::new(), enums: BTreeSet::new() };
        found.enums.extend(file.enum_type.iter().map(|one| one.name().to_owned()));
        file.message_type.iter().for_each(|message| found.take("", message));
        found
    }

    fn take(&mut self, parent: &str, message: &'f DescriptorProto) {
        let name = if parent.is_empty() { message.name().to_owned() } else { format!("{parent}.{}", message.name()) };
        self.enums.extend(message.enum_type.iter().map(|one| one.name().to_owned()));
        message.nested_type.iter().for_each(|nested| self.take(&name, nested));
        self.all.insert(name, message);
    }

    /// Fields of one wire group may replace each other. A name that is no enum of this file is a message.
    fn group(&self, field: &FieldDescriptorProto) -> String {
        let name = field.type_name().trim_start_matches('.');
        let last = name.rsplit('.').next().unwrap_or_default();
        let kind = match field.r#type.and_then(|number| Type::try_from(number).ok()) {
            Some(kind) => kind,
            None if self.enums.contains(last) => Type::Enum,
            None => Type::Message,
        };
        match kind {
            Type::Int32 | Type::Uint32 | Type::Int64 | Type::Uint64 | Type::Bool | Type::Enum => "varint".into(),
            Type::Sint32 | Type::Sint64 => "zigzag".into(),
            Type::String | Type::Bytes => "string".into(),
            Type::Fixed32 | Type::Sfixed32 => "fixed32".into(),
            Type::Fixed64 | Type::Sfixed64 => "fixed64".into(),
            Type::Message | Type::Group => format!("message {last}"),
            other => other.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
        }
    }
}

pub(crate) fn readable(writer: Side<'_>, reader: Side<'_>) -> Result<Vec<String>> {
    let (writer, reader) = (parse(writer.text)?, parse(reader.text)?);
    let (writer, reader) = (Messages::of(&writer), Messages::of(&reader));
    let mut told = Vec::new();
    if writer.package != reader.package {
        told.push(format!("package {:?} was written, {:?} is expected", writer.package, reader.package));
    }
    for (name, message) in &writer.all {
        match reader.all.get(name) {
            None => told.push(format!("message {name} was written and is not there")),
            Some(there) => told.extend(fields((name, message, &writer), (there, &reader))),
        }
    }
    Ok(told)
}

fn fields(
    (name, writer, of_writer): (&str, &DescriptorProto, &Messages<'_>),
    (reader, of_reader): (&DescriptorProto, &Messages<'_>),
) -> Vec<String> {
    let find = |message: &'_ DescriptorProto, number: i32| message.field.iter().position(|f| f.number() == number);
    let mut told = Vec::new();
    for field in &reader.field {
        let at = format!("{name}.{} = {}", field.name(), field.number());
        match find(writer, field.number()).and_then(|place| writer.field.get(place)) {
            None if field.label() == Label::Required => told.push(format!("{at}: is required and was not written")),
            None => {}
            Some(there) => {
                let (was, is) = (of_writer.group(there), of_reader.group(field));
                if was != is {
                    told.push(format!("{at}: {was} was written, {is} is expected"));
                }
                let repeated = |f: &FieldDescriptorProto| f.label() == Label::Repeated;
                if repeated(there) != repeated(field) {
                    told.push(format!("{at}: changes between single and repeated"));
                }
                if there.oneof_index.is_none() && shared_oneof(field, reader, writer) {
                    told.push(format!("{at}: moves into a oneof that was there"));
                }
            }
        }
    }
    let gone = writer.field.iter().filter(|field| field.label() == Label::Required);
    for field in gone.filter(|field| find(reader, field.number()).is_none()) {
        told.push(format!(
            "{name}.{} = {}: is required by the other side and is not there",
            field.name(),
            field.number()
        ));
    }
    told
}

/// The field's oneof holds others that were in a oneof before.
fn shared_oneof(field: &FieldDescriptorProto, reader: &DescriptorProto, writer: &DescriptorProto) -> bool {
    let Some(index) = field.oneof_index.filter(|_| !field.proto3_optional()) else { return false };
    let was_in_oneof = |number| {
        writer
            .field
            .iter()
            .any(|there| there.number() == number && there.oneof_index.is_some() && !there.proto3_optional())
    };
    reader.field.iter().any(|other| other.oneof_index == Some(index) && was_in_oneof(other.number()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(writer: &str, reader: &str) -> Vec<String> {
        let whole = |body: &str| format!("syntax = \"proto3\";\npackage p;\n{body}");
        let (writer, reader) = (whole(writer), whole(reader));
        readable(Side { text: &writer, needed: &[] }, Side { text: &reader, needed: &[] }).unwrap()
    }

    #[test]
    fn numbers_keep_their_wire_group() {
        let old = "enum E { A = 0; } message M { int32 a = 1; string b = 2; E e = 3; M m = 4; repeated int32 r = 5; }";
        assert!(told(old, "enum E { A = 0; } message M { int64 x = 1; bytes b = 2; bool e = 3; M m = 4; repeated int32 r = 5; string new = 9; }").is_empty());
        assert!(told(old, "message M { }").is_empty());
        assert_eq!(
            told(old, "message M { sint32 a = 1; int32 b = 2; M e = 3; N m = 4; int32 r = 5; } message N { }"),
            [
                "M.a = 1: varint was written, zigzag is expected",
                "M.b = 2: string was written, varint is expected",
                "M.e = 3: varint was written, message M is expected",
                "M.m = 4: message M was written, message N is expected",
                "M.r = 5: changes between single and repeated",
            ]
        );
    }

    #[test]
    fn messages_stay_and_fields_stay_out_of_oneofs() {
        assert_eq!(told("message M { message N {} }", "message M { }"), ["message M.N was written and is not there"]);
        let old = "message M { int32 a = 1; oneof o { int32 b = 2; } }";
        assert_eq!(
            told(old, "message M { oneof o { int32 a = 1; int32 b = 2; } }"),
            ["M.a = 1: moves into a oneof that was there"]
        );
        assert!(told("message M { int32 a = 1; }", "message M { oneof o { int32 a = 1; int32 b = 2; } }").is_empty());
        assert!(told("message M { int32 a = 1; }", "message M { optional int32 a = 1; }").is_empty());
    }

    #[test]
    fn an_import_needs_its_reference() {
        let text =
            "syntax = \"proto3\"; import \"a.proto\"; import \"google/protobuf/any.proto\"; message M { A a = 1; }";
        assert_eq!(check(text, &[]).unwrap_err().fact("import"), Some("a.proto"));
        assert!(check(text, &[Referenced { name: "a.proto".into(), text: String::new() }]).is_ok());
        assert_eq!(check("message {", &[]).unwrap_err().code(), "schema-invalid");
    }
}
