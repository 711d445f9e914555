//! Documents out of files: JSON, JSON Lines and YAML, each with the place it came from.
//!
//! Lines are read one at a time, so a file of any length needs little memory; a document that cannot be read is
//! handed on as an error with its place and does not hide those after it.

use super::walk::{self, Known, unreadable};
use crate::output;
use crate::yaml;
use model::{Error, Json, Result};
use std::{
    fmt,
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

/// No document may be larger; the server's own limit is lower.
const DOCUMENT_MAX_BYTES: u64 = 16 << 20;
/// JSON and YAML files are read whole; longer ones belong into JSON Lines.
const FILE_MAX_BYTES: u64 = 256 << 20;

/// `file:line`; for an element of a JSON array `file[index]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Line(Arc<Path>, usize),
    Element(Arc<Path>, usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Element(path, index) => write!(f, "{}[{index}]", path.display()),
        }
    }
}

impl Place {
    /// As the mapping of rows names it: the file without its folders, the row counted from 1.
    #[must_use]
    pub fn row(&self) -> (String, usize) {
        let (path, row) = match self {
            Self::Line(path, line) => (path, *line),
            Self::Element(path, index) => (path, index + 1),
        };
        (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), row)
    }
}

#[derive(Debug)]
pub struct Document {
    pub place: Place,
    pub content: Result<Json>,
    /// Bytes of the file that this document took, for progress.
    pub bytes: u64,
}

pub type Documents = Box<dyn Iterator<Item = Document> + Send>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Lines,
    Yaml,
}

impl Form {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::Lines),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }
}

const KNOWN: Known = Known {
    unknown: "import-form-unknown",
    what: "a file",
    endings: ".json, .jsonl, .ndjson, .yaml or .yml",
    is: |path| Form::of(path).is_some(),
};

pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let files = walk::files(paths, KNOWN)?;
    files.others_told().iter().for_each(|line| output::note(line));
    // What cannot be searched is one refused document when it is read.
    let unread = files.unread.into_iter().map(|(path, _)| path);
    Ok(files.found.into_iter().map(|found| found.path).chain(unread).collect())
}

/// The documents of one file. An unreadable file is one refused document: the others are still imported.
pub fn documents(path: &Path) -> Documents {
    let read = match Form::of(path) {
        Some(Form::Lines) => lines(path),
        Some(Form::Yaml) => whole(path).map(|text| yaml_documents(path, &text)),
        _ => whole(path).and_then(|text| json_documents(path, &text)),
    };
    read.unwrap_or_else(|error| {
        let bytes = fs::metadata(path).map_or(0, |meta| meta.len());
        let place = Place::Line(path.into(), 1);
        Box::new(std::iter::once(Document { place, content: Err(error), bytes }))
    })
}

fn whole(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        let what = "a JSON or YAML file is read whole and must be below 256 MB; turn it into JSON Lines";
        return Err(Error::invalid("import-too-large", what).with("path", path.display()));
    }
    String::from_utf8(bytes).map_err(|error| {
        Error::invalid("import-not-utf8", "the file is not UTF-8").with("path", path.display()).caused_by(error)
    })
}

fn json_documents(path: &Path, text: &str) -> Result<Documents> {
    let path: Arc<Path> = path.into();
    let bytes = text.len() as u64;
    match parse(text) {
        Ok(Json::Array(items)) => {
            let each = bytes / (items.len().max(1) as u64);
            let numbered = items.into_iter().enumerate();
            Ok(Box::new(numbered.map(move |(index, item)| Document {
                place: Place::Element(Arc::clone(&path), index),
                content: Ok(item),
                bytes: each,
            })))
        }
        // Many a `.json` file holds one document per line.
        Err(_) if text.lines().find(|line| !line.trim().is_empty()).is_some_and(|line| parse(line).is_ok()) => {
            lines(&path)
        }
        content => Ok(Box::new(std::iter::once(Document { place: Place::Line(path, 1), content, bytes }))),
    }
}

fn parse(text: &str) -> Result<Json> {
    model::json::parse(text.as_bytes())
}

fn lines(path: &Path) -> Result<Documents> {
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    Ok(Box::new(Lines { path: path.into(), reader: BufReader::with_capacity(1 << 16, file), line: 0, ended: false }))
}

struct Lines {
    path: Arc<Path>,
    reader: BufReader<File>,
    line: usize,
    ended: bool,
}

impl Iterator for Lines {
    type Item = Document;

    fn next(&mut self) -> Option<Document> {
        while !self.ended {
            let mut bytes = Vec::new();
            let read = self.reader.by_ref().take(DOCUMENT_MAX_BYTES + 1).read_until(b'\n', &mut bytes);
            self.line += 1;
            let content = match read {
                Ok(0) => return None,
                Ok(_) if bytes.len() as u64 > DOCUMENT_MAX_BYTES => self.skip_line(&mut bytes),
                Ok(_) if bytes.iter().all(u8::is_ascii_whitespace) => continue,
                // One that begins so is no text at all: each of its lines would be refused by itself.
                Ok(_) if self.line == 1 && std::str::from_utf8(&bytes).is_err() => {
                    self.ended = true;
                    Err(Error::invalid("import-not-utf8", "the file is not UTF-8; nothing of it was read"))
                }
                Ok(_) => model::json::parse(bytes.trim_ascii()).map_err(of_one_line),
                Err(error) => {
                    self.ended = true;
                    Err(unreadable(&self.path, error))
                }
            };
            let place = Place::Line(Arc::clone(&self.path), self.line);
            return Some(Document { place, content, bytes: bytes.len() as u64 });
        }
        None
    }
}

/// The parser counts lines from the document's own beginning; here the place tells the line of the file.
fn of_one_line(error: Error) -> Error {
    let bare = Error::new(error.kind(), error.code(), error.message());
    let facts = error.context().iter().filter(|(name, _)| *name != "line");
    facts.fold(bare, |bare, (name, value)| bare.with(name, value))
}

impl Lines {
    fn skip_line(&mut self, bytes: &mut Vec<u8>) -> Result<Json> {
        while bytes.last() != Some(&b'\n') {
            bytes.clear();
            match self.reader.by_ref().take(1 << 16).read_until(b'\n', bytes) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        Err(Error::invalid("import-too-large", "one document is larger than 16 MB"))
    }
}

/// Documents are parted here and not by the parser, so that each has its line and a broken one hides no other.
fn yaml_documents(path: &Path, text: &str) -> Documents {
    let path: Arc<Path> = path.into();
    let mut parts: Vec<(usize, String)> = vec![(1, String::new())];
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let marker = line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if let Some(rest) = marker {
            parts.push((number + 1, rest.to_owned()));
        } else if let Some((_, part)) = parts.last_mut() {
            part.push_str(line);
        }
    }
    let empty = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    parts.retain(|(_, part)| !part.lines().all(empty));
    Box::new(parts.into_iter().map(move |(line, part)| {
        let content = yaml::parse(&part);
        Document { place: Place::Line(Arc::clone(&path), line), content, bytes: part.len() as u64 }
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn read(name: &str, text: &[u8]) -> Vec<(String, Result<Json>)> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        let shown = |place: Place| place.to_string().rsplit('/').next().unwrap().to_owned();
        documents(&path).map(|document| (shown(document.place), document.content)).collect()
    }

    #[test]
    fn each_line_has_its_number_and_a_broken_one_hides_no_other() {
        let found = read("a.jsonl", b"{\"n\":1}\n\n{broken\n{\"n\":12345678901234567890123}");
        let places: Vec<_> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["a.jsonl:1", "a.jsonl:3", "a.jsonl:4"]);
        assert!(found[1].1.as_ref().is_err_and(|error| error.fact("line").is_none()));
        let last = found[2].1.as_ref().unwrap();
        assert_eq!(last.get("n").and_then(Json::as_number), Some("12345678901234567890123"));
    }

    #[test]
    fn a_binary_file_is_refused_once() {
        let found = read("a.jsonl", b"\xff\xfe\n\x01\n{\"n\":2}\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].1.as_ref().is_err_and(|error| error.code() == "import-not-utf8"));
    }

    #[test]
    fn a_json_file_is_a_document_or_an_array_or_lines() {
        assert_eq!(read("a.json", b"{\n\"n\": 1}").len(), 1);
        let array = read("a.json", b"[{\"n\":1},{\"n\":2}]");
        assert_eq!(array[1].0, "a.json[1]");
        assert_eq!(read("a.json", b"{\"n\":1}\n{\"n\":2}\n").len(), 2);
        assert!(read("a.json", b"{\"n\":")[0].1.is_err());
        assert!(read("a.json", b"\xff\xfe")[0].1.is_err());
    }

    #[test]
    fn yaml_documents_are_parted_and_keep_their_line() {
        let found = read("a.yaml", b"# head\n---\nn: 1\n---\n\tbroken: [\n---\nn: 2\n");
        let places: Vec<_> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["a.yaml:2", "a.yaml:4", "a.yaml:6"]);
        assert!(found[0].1.is_ok() && found[1].1.is_err() && found[2].1.is_ok());
    }

    #[test]
    fn a_line_beyond_the_limit_is_refused_and_the_next_one_read() {
        let mut text = vec![b'x'; usize::try_from(DOCUMENT_MAX_BYTES).unwrap() + 100_000];
        text.extend_from_slice(b"\n{\"n\":2}\n");
        let found = read("a.jsonl", &text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].1.as_ref().unwrap_err().code(), "import-too-large");
        assert!(found[1].1.is_ok() && found[1].0 == "a.jsonl:2");
    }

    #[test]
    fn directories_are_searched_and_unknown_forms_named() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("b")).unwrap();
        for name in ["b/2.yaml", "1.jsonl", "notes.txt"] {
            fs::write(directory.path().join(name), "{}").unwrap();
        }
        let found = files(&[directory.path().to_path_buf()]).unwrap();
        assert_eq!(found, [directory.path().join("1.jsonl"), directory.path().join("b/2.yaml")]);
        assert_eq!(files(&[directory.path().join("notes.txt")]).unwrap_err().code(), "import-form-unknown");
        assert_eq!(files(&[directory.path().join("gone")]).unwrap_err().code(), "import-unreadable");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400), name in "a\\.(json|jsonl|yaml)") {
            for (_, content) in read(&name, &bytes) {
                let _ = content.is_ok();
            }
        }
    }
}
