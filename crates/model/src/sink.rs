//! Event sinks: where the events of which topics are delivered to, and how.

use crate::{
    Columns, Error, Json, Kind, Position, Prepared, Result, Subject, Tenant, canonical::canonicalise, hub::Callback,
    resource::check_name,
};

const TOPICS_MAX: usize = 16;
const ATTEMPTS_MAX: u32 = 100;

/// How CloudEvents are sent over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One event a request, attributes and data in the body.
    Structured,
    /// One event a request, attributes in `ce-` headers.
    Binary,
    /// Several events a request.
    Batch,
}

/// A registered sink, read from its document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sink {
    pub url: String,
    pub topics: Vec<String>,
    pub mode: Mode,
    /// Refusals of one event before it is put aside as a dead letter.
    pub attempts: u32,
    /// Delivery begins with what comes after this.
    pub begins: Position,
}

impl Mode {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::Binary => "binary",
            Self::Batch => "batch",
        }
    }
}

fn wrong(field: &'static str, rule: &str) -> Error {
    Error::invalid("attribute-value", rule).with("field", field)
}

impl Sink {
    /// Reads and checks a document; `begins` stands in for one that names no place.
    pub fn read(document: &Json, begins: Option<Position>) -> Result<Self> {
        let missing =
            |field| Error::invalid("attribute-missing", format!("{field} is required; add it")).with("field", field);
        let url = document.get("url").ok_or_else(|| missing("url"))?;
        let url = url.as_str().ok_or_else(|| wrong("url", "url is a string"))?;
        Callback::read(url).map_err(|error| error.with("attribute", "url"))?;
        let listed = document.get("topics").ok_or_else(|| missing("topics"))?;
        let names = listed.as_array().and_then(|list| list.iter().map(Json::as_str).collect::<Option<Vec<_>>>());
        let topics = names.filter(|names| (1..=TOPICS_MAX).contains(&names.len()));
        let topics = topics.ok_or_else(|| wrong("topics", "topics is a list of 1 to 16 names of topics"))?;
        let mode = match document.get("mode").map(|mode| mode.as_str().unwrap_or_default()) {
            None | Some("structured") => Mode::Structured,
            Some("binary") => Mode::Binary,
            Some("batch") => Mode::Batch,
            Some(_) => return Err(wrong("mode", "mode is structured, binary or batch")),
        };
        let attempts = match document.get("attempts") {
            None => 5,
            Some(number) => {
                let number = number.as_number().and_then(|digits| digits.parse().ok());
                let number = number.filter(|attempts| (1..=ATTEMPTS_MAX).contains(attempts));
                number.ok_or_else(|| wrong("attempts", "attempts is a whole number from 1 to 100"))?
            }
        };
        let begins = match document.get("begins").and_then(Json::as_str) {
            Some(text) => text.parse()?,
            None => begins.ok_or_else(|| missing("begins"))?,
        };
        let topics = topics.into_iter().map(str::to_owned).collect();
        Ok(Self { url: url.to_owned(), topics, mode, attempts, begins })
    }

    /// Its whole document, as it is stored and shown.
    #[must_use]
    pub fn shown(&self, name: &str) -> Json {
        Json::object()
            .with("name", name)
            .with("url", &*self.url)
            .with("topics", self.topics.iter().map(|topic| Json::from(&**topic)).collect::<Vec<_>>())
            .with("mode", self.mode.as_str())
            .with("attempts", u64::from(self.attempts))
            .with("begins", self.begins.to_string())
    }

    /// As it is written to the record. Where data goes to is confidential.
    pub fn prepared(&self, name: &str, tenant: &Tenant) -> Result<Prepared> {
        check_name("name", name)?;
        Ok(Prepared {
            document: canonicalise(&self.shown(name)),
            class: Kind::EventSink.default_class(),
            subject: Subject::of_tenant(tenant),
            columns: Columns::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::json::parse;

    fn read(text: &str) -> Result<Sink> {
        Sink::read(&parse(text.as_bytes()).unwrap(), "0.1-9f86d081884c7d65.42".parse().ok())
    }

    #[test]
    fn what_is_read_is_shown_again() {
        let sink = read(r#"{"url":"http://127.0.0.1:9/x","topics":["a"]}"#).unwrap();
        assert_eq!((sink.mode, sink.attempts, sink.begins.n), (Mode::Structured, 5, 42));
        let shown = sink.shown("s");
        assert_eq!(Sink::read(&shown, None).unwrap(), sink);
        let other = read(
            r#"{"url":"https://a/","topics":["a","b"],"mode":"batch","attempts":1,"begins":"0.1-9f86d081884c7d65.7"}"#,
        );
        let other = other.unwrap();
        assert_eq!((other.mode, other.attempts, other.begins.n), (Mode::Batch, 1, 7));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, code) in [
            (r#"{"topics":["a"]}"#, "attribute-missing"),
            (r#"{"url":"ftp://a/","topics":["a"]}"#, "callback-malformed"),
            (r#"{"url":"http://169.254.169.254/","topics":["a"]}"#, "callback-forbidden"),
            (r#"{"url":"http://a/"}"#, "attribute-missing"),
            (r#"{"url":"http://a/","topics":[]}"#, "attribute-value"),
            (r#"{"url":"http://a/","topics":[1]}"#, "attribute-value"),
            (r#"{"url":"http://a/","topics":["a"],"mode":"push"}"#, "attribute-value"),
            (r#"{"url":"http://a/","topics":["a"],"attempts":0}"#, "attribute-value"),
            (r#"{"url":"http://a/","topics":["a"],"begins":"now"}"#, "position-malformed"),
        ] {
            assert_eq!(read(text).unwrap_err().code(), code, "{text}");
        }
    }
}
