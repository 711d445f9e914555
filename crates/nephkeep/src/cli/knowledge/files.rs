//! Files as documents: Markdown, plain text, and JSON Lines of passages whose rows of one path are one document.

use crate::import::walk::{Found, Known, unreadable};
use model::{Error, Json, Result};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read},
    path::Path,
};

/// A text of more is no document.
const FILE_MAX_BYTES: u64 = 4 << 20;
const ROW_MAX_BYTES: u64 = 4 << 20;

/// A document as the server takes it, or why there is none.
#[derive(Debug)]
pub struct Text {
    pub place: String,
    pub body: Result<Json>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Markdown,
    Text,
    Passages,
}

fn form(path: &Path) -> Option<Form> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "md" | "markdown" => Some(Form::Markdown),
        "txt" | "text" => Some(Form::Text),
        "jsonl" | "ndjson" => Some(Form::Passages),
        _ => None,
    }
}

pub const KNOWN: Known = Known {
    what: "a text",
    endings: ".md, .markdown, .txt, .text, .jsonl or .ndjson",
    is: |path| form(path).is_some(),
};

/// The documents of a file.
pub fn texts(found: &Found, source: &str, class: Option<&str>) -> Box<dyn Iterator<Item = Text> + Send> {
    let (path, name) = (found.path.as_path(), found.name.as_str());
    let place = path.display().to_string();
    let form = form(path).unwrap_or(Form::Text);
    if form == Form::Passages {
        return match File::open(path) {
            Ok(file) => Box::new(Passages::new(place, BufReader::new(file), source, class)),
            Err(error) => Box::new(std::iter::once(Text { place, body: Err(unreadable(path, error)) })),
        };
    }
    let class = class.map(str::to_owned);
    let body = whole(path).map(|text| {
        let format = if form == Form::Markdown { "markdown" } else { "text" };
        let body = Json::object().with("source", source).with("path", name).with("format", format).with("text", text);
        class.map_or(body.clone(), |class| body.with("class", class))
    });
    Box::new(std::iter::once(Text { place, body }))
}

fn whole(path: &Path) -> Result<String> {
    let size = fs::metadata(path).map_err(|error| unreadable(path, error))?.len();
    if size > FILE_MAX_BYTES {
        return Err(
            Error::invalid("import-too-large", "a text to import has at most 4 MB; part it").with("bytes", size)
        );
    }
    let bytes = fs::read(path).map_err(|error| unreadable(path, error))?;
    String::from_utf8(bytes).map_err(|_| Error::invalid("import-not-utf8", "the file is not UTF-8"))
}

/// Rows `{source?, path, title?, section?, text}`; rows of one source and path that follow one another are one document.
struct Passages<R> {
    place: String,
    reader: R,
    line: usize,
    source: String,
    class: Option<String>,
    /// The document that is being gathered: its first line, source, path, title and sections.
    open: Option<(usize, String, String, String, Vec<Json>)>,
    ended: bool,
    failed: Option<Text>,
}

impl<R: BufRead> Passages<R> {
    fn new(place: String, reader: R, source: &str, class: Option<&str>) -> Self {
        let (source, class) = (source.to_owned(), class.map(str::to_owned));
        Self { place, reader, line: 0, source, class, open: None, ended: false, failed: None }
    }

    fn close(&mut self) -> Option<Text> {
        let (line, source, path, title, sections) = self.open.take()?;
        let body = Json::object()
            .with("source", source)
            .with("path", path)
            .with("title", title)
            .with("sections", Json::Array(sections));
        let body = self.class.as_ref().map_or(body.clone(), |class| body.with("class", class.as_str()));
        Some(Text { place: format!("{}:{line}", self.place), body: Ok(body) })
    }

    fn row(&mut self, bytes: &mut Vec<u8>) -> Result<(String, String, String, Json)> {
        if bytes.len() as u64 > ROW_MAX_BYTES {
            while bytes.last().is_some_and(|last| *last != b'\n') {
                bytes.clear();
                if self.reader.by_ref().take(1 << 16).read_until(b'\n', bytes).is_err() {
                    break;
                }
            }
            return Err(Error::invalid("import-too-large", "a row has at most 4 MB; part it"));
        }
        let row = model::json::parse(bytes.trim_ascii())?;
        let field = |name: &str| row.get(name).and_then(Json::as_str);
        let missing = |name: &'static str| {
            let rule = "a row has path and text, and may have source, title and section";
            Error::invalid("attribute-missing", rule).with("field", name)
        };
        let path = field("path").ok_or_else(|| missing("path"))?;
        let section = Json::object()
            .with("heading", field("section").unwrap_or_default())
            .with("text", field("text").ok_or_else(|| missing("text"))?);
        let source = field("source").unwrap_or(&self.source);
        Ok((source.to_owned(), path.to_owned(), field("title").unwrap_or(path).to_owned(), section))
    }
}

impl<R: BufRead + Send> Iterator for Passages<R> {
    type Item = Text;

    fn next(&mut self) -> Option<Text> {
        if let Some(failed) = self.failed.take() {
            return Some(failed);
        }
        while !self.ended {
            let mut bytes = Vec::new();
            self.line += 1;
            let place = format!("{}:{}", self.place, self.line);
            match self.reader.by_ref().take(ROW_MAX_BYTES + 1).read_until(b'\n', &mut bytes) {
                Ok(0) => {
                    self.ended = true;
                    return self.close();
                }
                Ok(_) if bytes.iter().all(u8::is_ascii_whitespace) => {}
                Ok(_) => match self.row(&mut bytes) {
                    Ok((source, path, title, section)) => {
                        if let Some((_, open_source, open_path, _, sections)) = &mut self.open
                            && (&*open_source, &*open_path) == (&source, &path)
                        {
                            sections.push(section);
                            continue;
                        }
                        let closed = self.close();
                        self.open = Some((self.line, source, path, title, vec![section]));
                        if closed.is_some() {
                            return closed;
                        }
                    }
                    Err(error) => return Some(Text { place, body: Err(error) }),
                },
                // What was gathered before is told first; then that the file could not be read on.
                Err(error) => {
                    let what = Error::invalid("import-unreadable", "the file cannot be read on").caused_by(error);
                    self.failed = Some(Text { place, body: Err(what) });
                    self.ended = true;
                    return self.close().or_else(|| self.failed.take());
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::import::walk;

    #[test]
    fn rows_of_one_path_are_one_document_and_a_broken_row_hides_no_other() {
        let rows = b"{\"path\":\"a.md\",\"title\":\"A\",\"section\":\"One\",\"text\":\"1\"}\n\
                    {\"path\":\"a.md\",\"section\":\"Two\",\"text\":\"2\"}\n\
                    {\"path\":\"\xff\"}\n\
                    {\"source\":\"s\",\"path\":\"b.md\",\"text\":\"3\"}\n";
        let found: Vec<Text> = Passages::new("f".into(), &rows[..], "mine", None).collect();
        let places: Vec<&str> = found.iter().map(|text| text.place.as_str()).collect();
        assert_eq!(places, ["f:3", "f:1", "f:4"]);
        assert!(found[0].body.is_err());
        let first = found[1].body.as_ref().unwrap();
        assert_eq!(first.get("sections").unwrap().as_array().unwrap().len(), 2);
        assert_eq!(first.get("source").unwrap().as_str(), Some("mine"));
        assert_eq!(found[2].body.as_ref().unwrap().get("source").unwrap().as_str(), Some("s"));
    }

    #[test]
    fn directories_are_searched_for_known_forms() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("b")).unwrap();
        for name in ["b/2.md", "1.txt", "picture.png"] {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        let found = walk::files(&[directory.path().into()], KNOWN).unwrap();
        let names: Vec<String> = found.into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["1.txt", "b/2.md"]);
        assert_eq!(
            walk::files(&[directory.path().join("picture.png")], KNOWN).unwrap_err().code(),
            "import-form-unknown"
        );
    }
}
