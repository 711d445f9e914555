//! `schema decode`: which schema wrote a message, and what it says.

use super::{Global, bytes, form_of, path};
use crate::{
    client::{Call, Client},
    exit::Outcome,
    output::{self, Format, Report},
    routes,
};
use clap::Args;
use model::{Error, Json};
use registry::{Form, Referenced, wire};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Schemas fetched for one message.
const NEEDED_MAX: usize = 200;

/// Show which schema wrote a message, and the message itself
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep schema decode message.bin\n  nephkeep schema decode message.bin -o json\n\n\
    A message is the value (or key) of one Kafka record, as the serialiser wrote it. Avro and JSON are shown; of Protobuf, \
    the type."
)]
pub struct Decode {
    /// The bytes of one message
    file: PathBuf,
}

pub async fn run(global: &Global, verb: &Decode) -> Outcome {
    let message = bytes(&verb.file)?;
    let (id, body) = wire::read(&message)?;
    let client = global.client()?;
    let at = |rest: &str| Call::get(format!("{}/schemas/ids/{id}{rest}", routes::SCHEMA_REGISTRY));
    let schema = client.send(at("")).await?.json()?;
    let subjects = client.send(at("/subjects").query("deleted", true)).await?.value()?;
    let form: Form = form_of(&schema).parse()?;
    let text = schema.get("schema").and_then(Json::as_str).unwrap_or_default();
    let malformed = |why: String| Error::invalid("schema-message-malformed", why).with("id", id);
    let data = match form {
        Form::Avro => registry::avro_value(text, &needed(&client, &schema).await?, body)?,
        Form::JsonSchema => serde_json::from_slice(body).map_err(|error| malformed(format!("not JSON: {error}")))?,
        Form::Protobuf => {
            let (place, rest) = wire::message_type(body)?;
            json!({ "messageIndexes": place, "bytes": rest.len() })
        }
    };
    let value = json!({ "id": id, "schemaType": form.as_str(), "subjects": subjects, "data": data });
    if global.output != Format::Table {
        return Report::new(&[], Vec::new(), value).print(global.output);
    }
    output::note(&format!("schema {id}, {form}, of {}", value["subjects"]));
    output::document(Format::Json, &value["data"].to_string())
}

/// What the schema refers to; of each, what it needs comes before it.
async fn needed(client: &Client, schema: &Json) -> Outcome<Vec<Referenced>> {
    let references = |schema: &Json| schema.get("references").and_then(Json::as_array).unwrap_or_default().to_vec();
    let mut open = references(schema);
    let mut found: Vec<(Value, Referenced)> = Vec::new();
    while let Some(reference) = open.pop() {
        let word = |name: &str| reference.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let version = reference.get("version").and_then(Json::as_i64).unwrap_or_default();
        let key = json!([word("subject"), version]);
        if found.len() >= NEEDED_MAX {
            return Err(Error::invalid("schema-invalid", "the schema refers to too many others").into());
        }
        if let Some(at) = found.iter().position(|(known, _)| *known == key) {
            // Needed once more, and so earlier.
            let known = found.remove(at);
            found.push(known);
            continue;
        }
        let call = Call::get(path("subjects", &word("subject"), &format!("/versions/{version}")));
        let there = client.send(call.query("deleted", true)).await?.json()?;
        open.extend(references(&there));
        let text = there.get("schema").and_then(Json::as_str).unwrap_or_default().to_owned();
        found.push((key, Referenced { name: word("name"), text }));
    }
    Ok(found.into_iter().rev().map(|(_, one)| one).collect())
}
