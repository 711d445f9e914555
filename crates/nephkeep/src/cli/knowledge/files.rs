//! Files as documents: Markdown and plain text, one a file, and JSON Lines of passages.

use super::passages::Passages;
use crate::import::walk::{Found, Known, unreadable};
use model::{Error, Json, Result};
use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

/// What the server takes as one document.
pub const DOCUMENT_MAX_BYTES: u64 = 1 << 20;

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
    unknown: "text-form-unknown",
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
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    file.take(DOCUMENT_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
    if bytes.len() as u64 > DOCUMENT_MAX_BYTES {
        return Err(Error::invalid("import-too-large", "a text to import has at most 1 MiB; part it"));
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid("import-not-utf8", "the file is not UTF-8"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::import::walk;
    use std::fs;

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
            "text-form-unknown"
        );
    }

    #[test]
    fn a_file_of_more_than_a_document_or_that_is_not_there_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let of = |name: &str| {
            let found = Found { path: directory.path().join(name), name: name.to_owned() };
            texts(&found, "s", None).next().unwrap().body.unwrap_err().code().to_owned()
        };
        fs::write(directory.path().join("a.md"), vec![b'x'; (1 << 20) + 1]).unwrap();
        fs::write(directory.path().join("b.md"), b"\xff").unwrap();
        assert_eq!(["a.md", "b.md", "c.md"].map(of), ["import-too-large", "import-not-utf8", "import-unreadable"]);
    }
}
