//! Event schemas: what may be registered, and what may follow what. Pure rules; the record keeps them, the door serves them.
//!
//! The interface is Confluent's (subjects, versions, ids, levels, modes, references), so that its clients work
//! unchanged; <https://docs.confluent.io/platform/current/schema-registry/develop/api.html>. Avro's rules are those of
//! its specification ("Schema Resolution"); JSON Schema's are containment (see [`json_schema`]); Protobuf's are the
//! wire's (see [`protobuf`]).

mod avro;
mod json_schema;
mod level;
mod protobuf;
mod schema;
mod subject;
pub mod wire;

pub use avro::value as avro_value;
pub use level::Level;
pub use schema::{Earlier, Form, Reference, Referenced, Schema};
pub use subject::{LATEST, Mode, Published, Subject, Versions};
