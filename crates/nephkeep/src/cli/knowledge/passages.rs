//! JSON Lines of passages: rows of one source and path that follow one another are one document.
//!
//! A row that cannot be read is named. A document that it belongs to is refused whole, because it would be stored
//! incomplete and found as if it were not; other documents are not touched.

use super::files::{DOCUMENT_MAX_BYTES, Text};
use model::{Error, Json, Result};
use std::{
    collections::VecDeque,
    io::{BufRead, Read},
};

/// Rows `{source?, path, title?, section?, text}`.
pub struct Passages<R> {
    place: String,
    reader: R,
    line: usize,
    source: String,
    class: Option<String>,
    open: Option<Open>,
    /// A row that could not be read and does not tell its document, since the last one that could.
    lost: Option<usize>,
    told: VecDeque<Text>,
    ended: bool,
}

/// The document that is being gathered.
struct Open {
    line: usize,
    source: String,
    path: String,
    title: String,
    sections: Vec<Json>,
    bytes: u64,
    /// Why it is refused.
    refused: Option<Error>,
}

struct Row {
    source: String,
    path: String,
    title: String,
    section: Json,
    bytes: u64,
}

fn incomplete(line: usize) -> Error {
    let what = "a row of this document cannot be read, so nothing of it is imported; mend the row and import again";
    Error::invalid("import-incomplete", what).with("line", line)
}

impl Open {
    fn new(line: usize, source: &str, path: &str, title: &str) -> Self {
        let (source, path, title) = (source.to_owned(), path.to_owned(), title.to_owned());
        Self { line, source, path, title, sections: Vec::new(), bytes: 0, refused: None }
    }

    fn is(&self, source: Option<&str>, path: &str) -> bool {
        self.path == path && source.is_none_or(|source| self.source == source)
    }

    fn push(&mut self, row: Row) {
        self.bytes += row.bytes;
        if self.bytes > 2 * DOCUMENT_MAX_BYTES && self.refused.is_none() {
            let what = "the rows of this document are larger than a document may be; part it";
            self.refused = Some(Error::invalid("import-too-large", what));
        }
        if self.refused.is_some() { self.sections.clear() } else { self.sections.push(row.section) }
    }
}

impl<R: BufRead> Passages<R> {
    pub fn new(place: String, reader: R, source: &str, class: Option<&str>) -> Self {
        let (source, class) = (source.to_owned(), class.map(str::to_owned));
        let told = VecDeque::new();
        Self { place, reader, line: 0, source, class, open: None, lost: None, told, ended: false }
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let body = match open.refused {
            Some(error) => Err(error),
            None => {
                let body = Json::object()
                    .with("source", open.source)
                    .with("path", open.path)
                    .with("title", open.title)
                    .with("sections", Json::Array(open.sections));
                Ok(match &self.class {
                    Some(class) => body.with("class", class.as_str()),
                    None => body,
                })
            }
        };
        self.told.push_back(Text::new(format!("{}:{}", self.place, open.line), body));
    }

    fn line(&mut self) {
        let mut bytes = Vec::new();
        self.line += 1;
        match self.reader.by_ref().take(DOCUMENT_MAX_BYTES + 1).read_until(b'\n', &mut bytes) {
            Ok(0) => {
                self.ended = true;
                self.close();
            }
            Ok(_) if bytes.iter().all(u8::is_ascii_whitespace) => {}
            Ok(_) => match self.row(&bytes) {
                Ok(row) => self.take(row),
                Err(error) => self.broken(&bytes, error),
            },
            Err(error) => {
                let what = Error::invalid("import-unreadable", "the file cannot be read on").caused_by(error);
                if let Some(open) = &mut self.open {
                    open.refused = Some(incomplete(self.line));
                }
                self.ended = true;
                self.close();
                self.tell(what);
            }
        }
    }

    fn tell(&mut self, error: Error) {
        self.told.push_back(Text::new(format!("{}:{}", self.place, self.line), Err(error)));
    }

    fn take(&mut self, row: Row) {
        let lost = self.lost.take();
        if !self.open.as_ref().is_some_and(|open| open.is(Some(&row.source), &row.path)) {
            self.close();
            self.open = Some(Open::new(self.line, &row.source, &row.path, &row.title));
        } else if let (Some(open), Some(line)) = (&mut self.open, lost) {
            open.refused = Some(incomplete(line));
        }
        if let Some(open) = &mut self.open {
            open.push(row);
        }
    }

    /// It belongs to the document that its path names; without one, to the document before if that goes on after it.
    fn broken(&mut self, bytes: &[u8], error: Error) {
        self.tell(error);
        let Some(path) = named(bytes, "path") else {
            self.lost = Some(self.line);
            return;
        };
        let source = named(bytes, "source");
        if !self.open.as_ref().is_some_and(|open| open.is(source.as_deref(), &path)) {
            self.close();
            let source = source.unwrap_or_else(|| self.source.clone());
            self.open = Some(Open::new(self.line, &source, &path, &path));
        }
        if let Some(open) = &mut self.open {
            open.refused = Some(incomplete(self.line));
        }
    }

    fn row(&mut self, bytes: &[u8]) -> Result<Row> {
        if bytes.len() as u64 > DOCUMENT_MAX_BYTES {
            self.skip(bytes.last() == Some(&b'\n'));
            return Err(Error::invalid("import-too-large", "a row has at most 1 MiB; part it"));
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
        Ok(Row {
            source: field("source").unwrap_or(&self.source).to_owned(),
            path: path.to_owned(),
            title: field("title").unwrap_or(path).to_owned(),
            section,
            bytes: bytes.len() as u64,
        })
    }

    /// The rest of a line that is too long.
    fn skip(&mut self, mut ended: bool) {
        let mut rest = Vec::new();
        while !ended {
            rest.clear();
            let read = self.reader.by_ref().take(1 << 16).read_until(b'\n', &mut rest);
            ended = read.is_err() || rest.last().is_none_or(|last| *last == b'\n');
        }
    }
}

/// A member of a row that is no JSON any more, if it can be made out near the beginning.
fn named(bytes: &[u8], member: &str) -> Option<String> {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4_096)]);
    let (_, rest) = text.split_once(&format!("\"{member}\""))?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start();
    let inner = rest.strip_prefix('"')?;
    let ends = inner.char_indices().scan(false, |escaped, (at, c)| {
        let end = c == '"' && !*escaped;
        *escaped = c == '\\' && !*escaped;
        Some((at, end))
    });
    let end = ends.into_iter().find_map(|(at, end)| end.then_some(at))?;
    let value = model::json::parse(&rest.as_bytes()[..end + 2]).ok()?;
    value.as_str().filter(|value| !value.contains('\u{fffd}')).map(str::to_owned)
}

impl<R: BufRead + Send> Iterator for Passages<R> {
    type Item = Text;

    fn next(&mut self) -> Option<Text> {
        while self.told.is_empty() && !self.ended {
            self.line();
        }
        self.told.pop_front()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(rows: &[u8]) -> Vec<(String, Result<Json>)> {
        Passages::new("f".into(), rows, "mine", None).map(|text| (text.place, text.body)).collect()
    }

    fn told(rows: &[u8]) -> Vec<(String, String)> {
        let code = |body: Result<Json>| body.map_or_else(|error| error.code().to_owned(), |_| "read".to_owned());
        read(rows).into_iter().map(|(place, body)| (place, code(body))).collect()
    }

    fn shown(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(place, code)| ((*place).to_owned(), (*code).to_owned())).collect()
    }

    #[test]
    fn rows_of_one_path_are_one_document_and_a_broken_row_hides_no_other() {
        let rows = b"{\"path\":\"a.md\",\"title\":\"A\",\"section\":\"One\",\"text\":\"1\"}\n\
                    {\"path\":\"a.md\",\"section\":\"Two\",\"text\":\"2\"}\n\
                    {\"path\":\"\xff\"}\n\
                    {\"source\":\"s\",\"path\":\"b.md\",\"text\":\"3\"}\n";
        let found = read(&rows[..]);
        let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["f:3", "f:1", "f:4"]);
        assert!(found[0].1.is_err());
        let first = found[1].1.as_ref().unwrap();
        assert_eq!(first.get("sections").unwrap().as_array().unwrap().len(), 2);
        assert_eq!(first.get("source").unwrap().as_str(), Some("mine"));
        assert_eq!(found[2].1.as_ref().unwrap().get("source").unwrap().as_str(), Some("s"));
    }

    #[test]
    fn a_document_with_a_broken_row_is_refused_whole_and_named() {
        // In the middle, told by what stands around it; at the end, told by its own path; at the beginning likewise.
        let middle = b"{\"path\":\"a\",\"text\":\"1\"}\n{oops\n{\"path\":\"a\",\"text\":\"2\"}\n";
        assert_eq!(told(middle), shown(&[("f:2", "json-malformed"), ("f:1", "import-incomplete")]));
        let last = b"{\"path\":\"a\",\"text\":\"1\"}\n{\"path\":\"a\",\"text\":7}\n{\"path\":\"b\",\"text\":\"2\"}\n";
        assert_eq!(told(last), shown(&[("f:2", "attribute-missing"), ("f:1", "import-incomplete"), ("f:3", "read")]));
        let first = b"{\"path\": \"a\\\"b\",\"te\n{\"path\":\"a\\\"b\",\"text\":\"1\"}\n";
        assert_eq!(told(first), shown(&[("f:1", "json-malformed"), ("f:1", "import-incomplete")]));
        assert_eq!(read(first)[1].1.as_ref().unwrap_err().fact("line"), Some("1"));
    }

    #[test]
    fn rows_without_end_of_one_path_and_rows_too_long_take_no_more_than_a_document() {
        let row = format!("{{\"path\":\"a\",\"text\":\"{}\"}}\n", "x".repeat(700_000));
        let other = "{\"path\":\"b\",\"text\":\"2\"}\n";
        assert_eq!(
            told(format!("{}{other}", row.repeat(4)).as_bytes()),
            shown(&[("f:1", "import-too-large"), ("f:5", "read")])
        );
        let long = format!("{{\"text\":\"{}\"}}\n{other}", "x".repeat(3 << 20));
        assert_eq!(told(long.as_bytes()), shown(&[("f:1", "import-too-large"), ("f:2", "read")]));
    }
}
