//! `knowledge import`: files into documents of the knowledge base, many at a time.

use super::{
    files::{self, DOCUMENT_MAX_BYTES, Text},
    pdf::Readers,
};
use crate::{
    cli::Global,
    client::{Call, Client},
    exit::{Exit, Failure, Outcome},
    import::{
        account::Alike,
        send::{Waits, ends, patiently},
        walk::{self, Files, Other},
    },
    output::{self, Format, Report},
    routes,
};
use bytes::Bytes;
use clap::Args;
use futures_util::{StreamExt, stream};
use model::{Error, Json, Result, knowledge};
use reqwest::Method;
use serde_json::json;
use std::{
    cell::Cell,
    collections::{HashMap, hash_map},
    path::PathBuf,
    time::{Duration, Instant},
};

const TELL_EVERY: Duration = Duration::from_secs(2);

/// Import Markdown, reStructuredText, HTML, plain text, PDF and JSON Lines of passages
///
/// The same source and path is the same document: unchanged it is skipped, changed it becomes a new version, so an
/// interrupted import is resumed by running it again. A text that cannot be read is named, and the others are imported.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep knowledge import docs/ --source runbooks\n  \
    nephkeep knowledge import passages.jsonl\n  nephkeep knowledge import --class confidential contracts/\n\n\
    A row of JSON Lines has path and text, and may have source, title and section; rows of one path are one document.\n\
    A text, or the rows of one document, has at most 1 MiB. A document with a broken row is refused whole.\n\
    Texts are UTF-8, or UTF-16 with a byte order mark; HTML may declare another character set.\n\
    A PDF has at most 64 MiB and as much text as a document; it is read in a process of its own, page by page, under \
    the headings of its outline.\n\n\
    What a directory holds is imported, refused or passed over, and named and counted either way. Refused is a file of a \
    form that is read, but not this one; then the exit is 1. Passed over are files of other forms (pictures, programs), \
    links, and what begins with a dot: they are not documents, and the exit stays 0. A file that is named itself is a \
    document, or the import does not begin.")]
pub struct Import {
    /// Files, or directories that are searched for .md, .markdown, .rst, .rest, .html, .htm, .xhtml, .txt, .text,
    /// .pdf, .jsonl and .ndjson
    #[arg(required = true, value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// Where the texts come from, for texts that do not say it themselves
    #[arg(long, default_value = "files")]
    source: String,
    /// How confidential the texts are; what is restricted is never read, so it could not be found [default: internal]
    #[arg(long, value_parser = ["public", "internal", "confidential"])]
    class: Option<String>,
    /// Documents on their way at a time
    #[arg(long, default_value_t = 16, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    in_flight: u16,
    /// Read every file; send nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Default)]
struct Account {
    created: u64,
    changed: u64,
    unchanged: u64,
    refused: u64,
    chunks: u64,
    refusals: Vec<serde_json::Value>,
    passed_over: Vec<serde_json::Value>,
    alike: Alike,
}

impl Account {
    fn words(&self) -> String {
        format!(
            "created {}, changed {}, unchanged {}, refused {}, passed over {}; {} chunks",
            self.created,
            self.changed,
            self.unchanged,
            self.refused,
            self.passed_over.len(),
            self.chunks
        )
    }

    /// What is no document, and what cannot be searched for documents.
    fn directories(&mut self, files: &mut Files) {
        files.others_told().iter().for_each(|line| output::note(line));
        let other = |other: &Other| json!({ "place": other.path.display().to_string(), "why": other.why });
        self.passed_over = files.others.iter().map(other).collect();
        for (path, error) in files.unread.drain(..) {
            self.count(&path.display().to_string(), Err(error));
        }
    }

    fn value(&self, seconds: f64) -> serde_json::Value {
        json!({ "created": self.created, "changed": self.changed, "unchanged": self.unchanged,
            "refused": self.refused, "chunks": self.chunks, "seconds": seconds, "refusals": self.refusals,
            "passed_over": self.passed_over.len(), "others": self.passed_over })
    }

    fn count(&mut self, place: &str, outcome: Result<serde_json::Value>) {
        match outcome {
            Ok(told) => {
                self.chunks += told["chunks"].as_u64().unwrap_or(0);
                match told["state"].as_str() {
                    Some("created") => self.created += 1,
                    Some("changed") => self.changed += 1,
                    _ => self.unchanged += 1,
                }
            }
            Err(error) => {
                self.refused += 1;
                if let Some(line) = self.alike.line(place, &error) {
                    output::note(&line);
                }
                self.refusals.push(json!({ "place": place, "code": error.code(), "reason": error.to_string() }));
            }
        }
    }
}

pub async fn run(global: &Global, verb: &Import) -> Outcome {
    let mut files = walk::files(&verb.paths, files::KNOWN)?;
    let client = if verb.dry_run { None } else { Some(global.client()?) };
    let begun = Instant::now();
    let (source, class) = (verb.source.clone(), verb.class.clone());
    let (mut account, waits, readers) = (Account::default(), Waits::default(), Readers::default());
    account.directories(&mut files);
    let texts = files.found.into_iter().flat_map(move |found| files::texts(&found, &source, class.as_deref()));
    let mut once = Once::default();
    let texts = texts.map(move |text| once.check(text));
    let (open, mut stopped) = (Cell::new(true), None);
    // Once something ended the import no text is begun, and those on their way are still counted.
    let texts = texts.take_while(|_| open.get());
    let outcomes = stream::iter(texts).map(|text| one(text, client.as_ref(), &waits, &readers));
    let mut outcomes = std::pin::pin!(outcomes.buffer_unordered(usize::from(verb.in_flight)));
    let mut told = Instant::now();
    while let Some((place, outcome)) = outcomes.next().await {
        match outcome {
            Err(error) => {
                open.set(false);
                stopped = stopped.or(Some(error));
            }
            Ok(outcome) => account.count(&place, outcome),
        }
        if told.elapsed() > TELL_EVERY {
            told = Instant::now();
            output::note(&account.words());
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    account.alike.rest().iter().for_each(|line| output::note(line));
    let Some(error) = stopped else { return tell(global, verb, &account, seconds) };
    output::note(&format!("{} before the import stopped; run it again to go on", account.words()));
    if global.output != Format::Table {
        let mut value = account.value(seconds);
        value["stopped"] = json!({ "code": error.code(), "reason": error.to_string() });
        Report::facts(Vec::new(), value).print(global.output)?;
    }
    Err(error.into())
}

/// A source and path is one document: a second text of it would silently take the place of the first.
#[derive(Debug, Default)]
struct Once(HashMap<String, String>);

impl Once {
    fn check(&mut self, text: Text) -> Text {
        let Ok(body) = &text.body else { return text };
        let field = |name: &str| body.get(name).and_then(Json::as_str).unwrap_or_default();
        match self.0.entry(knowledge::id(field("source"), field("path"))) {
            hash_map::Entry::Vacant(entry) => {
                entry.insert(text.place.clone());
                text
            }
            hash_map::Entry::Occupied(entry) => {
                let what = "another text of this import is the same document (same source and path); import the \
                    directory above both, or give them different sources";
                let error = Error::invalid("import-twice", what).with("first", entry.get());
                Text::new(text.place, Err(error))
            }
        }
    }
}

/// What the server said of a text, or would say. The outer error ends the import: the server is gone, or this
/// caller may not write; a text that cannot be read is only one text.
type Told = Result<Result<serde_json::Value>>;

async fn one(text: Text, client: Option<&Client>, waits: &Waits, readers: &Readers) -> (String, Told) {
    let body = match (text.body, &text.pdf) {
        (Ok(body), Some(path)) => readers.read(path, body).await,
        (body, _) => body,
    };
    let told = match (body, client) {
        (Err(error), _) => Ok(Err(error)),
        (Ok(body), client) => match (body.to_bytes(), client) {
            (bytes, _) if bytes.len() as u64 > DOCUMENT_MAX_BYTES => Ok(Err(knowledge::too_large(bytes.len()))),
            (_, None) => Ok(rehearsed(&body)),
            (bytes, Some(client)) => match send(client, bytes, waits).await {
                Err(error) if ends(&error) => Err(error),
                told => Ok(told),
            },
        },
    };
    (text.place, told)
}

/// What the server would make of a text.
fn rehearsed(body: &Json) -> Result<serde_json::Value> {
    let text = |name: &str| body.get(name).and_then(Json::as_str);
    let (Some(format), Some(text)) = (text("format"), text("text")) else { return Ok(json!({ "state": "created" })) };
    let chunks = texts::chunks_of(&texts::sections(format.parse()?, text)?.1)?.len();
    if chunks == 0 {
        return Err(Error::invalid("attribute-value", "there is no text in this document; leave it out"));
    }
    Ok(json!({ "state": "created", "chunks": chunks }))
}

/// Repeating it is harmless: the same text is the same document.
async fn send(client: &Client, bytes: Bytes, waits: &Waits) -> Result<serde_json::Value> {
    let call = || Call::new(Method::POST, routes::KNOWLEDGE).body("application/json", bytes.clone());
    patiently(client, waits, call).await?.value()
}

fn tell(global: &Global, verb: &Import, account: &Account, seconds: f64) -> Outcome {
    if global.output == Format::Table {
        output::data(&if verb.dry_run {
            format!(
                "dry run: would send {}, refuses {}, passes over {}; the server was not asked",
                account.created,
                account.refused,
                account.passed_over.len()
            )
        } else {
            format!("{} in {seconds:.1} s", account.words())
        });
    } else {
        Report::facts(Vec::new(), account.value(seconds)).print(global.output)?;
    }
    if account.refused > 0 { Err(Failure::Reported(Exit::CheckFailed)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(place: &str, path: &str) -> Text {
        let body = Json::object().with("source", "s").with("path", path).with("text", "x");
        Text::new(place.into(), Ok(body))
    }

    #[test]
    fn the_second_text_of_one_document_is_refused_and_names_the_first() {
        let mut once = Once::default();
        assert!(once.check(text("a/x.md", "x.md")).body.is_ok());
        assert!(once.check(text("a/y.md", "y.md")).body.is_ok());
        let refused = once.check(text("b/x.md", "x.md")).body.unwrap_err();
        assert_eq!((refused.code(), refused.fact("first")), ("import-twice", Some("a/x.md")));
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_now_is_one_refusal_and_not_the_end() {
        let (waits, readers) = (Waits::default(), Readers::default());
        let unreadable = Text::new("a".into(), Err(Error::retry("import-unreadable", "busy")));
        let (_, told) = one(unreadable, None, &waits, &readers).await;
        assert_eq!(told.unwrap().unwrap_err().code(), "import-unreadable");
        let large = Json::object().with("text", "x".repeat(1 << 20));
        let (_, told) = one(Text::new("b".into(), Ok(large)), None, &waits, &readers).await;
        assert_eq!(told.unwrap().unwrap_err().code(), "document-too-large");
    }
}
