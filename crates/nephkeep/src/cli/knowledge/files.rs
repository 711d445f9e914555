//! Files as documents: a text or a PDF is one, and JSON Lines of passages are many.

use super::passages::Passages;
use crate::import::walk::{Found, Known, unreadable};
use model::{Error, Json, Result};
use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};
use texts::Format;

/// What the server takes as one document.
pub const DOCUMENT_MAX_BYTES: u64 = 1 << 20;

/// A document as the server takes it, or why there is none.
#[derive(Debug)]
pub struct Text {
    pub place: String,
    pub body: Result<Json>,
    /// Where its sections come from, if the body has none yet.
    pub pdf: Option<PathBuf>,
}

impl Text {
    pub fn new(place: String, body: Result<Json>) -> Self {
        Self { place, body, pdf: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text(Format),
    Pdf,
    Passages,
}

fn form(path: &Path) -> Option<Form> {
    Some(match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "md" | "markdown" => Form::Text(Format::Markdown),
        "rst" | "rest" => Form::Text(Format::Rst),
        "html" | "htm" | "xhtml" => Form::Text(Format::Html),
        "txt" | "text" => Form::Text(Format::Text),
        "pdf" => Form::Pdf,
        "jsonl" | "ndjson" => Form::Passages,
        _ => return None,
    })
}

pub const KNOWN: Known = Known {
    unknown: "text-form-unknown",
    what: "a text",
    endings: ".md, .markdown, .rst, .rest, .html, .htm, .xhtml, .txt, .text, .pdf, .jsonl or .ndjson",
    is: |path| form(path).is_some(),
};

/// The documents of a file.
pub fn texts(found: &Found, source: &str, class: Option<&str>) -> Box<dyn Iterator<Item = Text> + Send> {
    let (path, name) = (found.path.as_path(), found.name.as_str());
    let place = path.display().to_string();
    let body = || {
        let body = Json::object().with("source", source).with("path", name);
        class.map_or(body.clone(), |class| body.with("class", class))
    };
    let text = match form(path).unwrap_or(Form::Text(Format::Text)) {
        Form::Passages => match File::open(path) {
            Ok(file) => return Box::new(Passages::new(place, BufReader::new(file), source, class)),
            Err(error) => Text::new(place, Err(unreadable(path, error))),
        },
        Form::Pdf => Text { place, body: Ok(body()), pdf: Some(path.to_owned()) },
        Form::Text(format) => {
            let text = whole(path, format);
            Text::new(place, text.map(|text| body().with("format", format.as_str()).with("text", text)))
        }
    };
    Box::new(std::iter::once(text))
}

fn whole(path: &Path, format: Format) -> Result<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    file.take(DOCUMENT_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
    if bytes.len() as u64 > DOCUMENT_MAX_BYTES {
        let what = "a text to import has at most 1 MiB; part it";
        return Err(Error::invalid("import-too-large", what).with("limit-bytes", DOCUMENT_MAX_BYTES));
    }
    texts::decoded(&bytes, format == Format::Html)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::import::walk;
    use std::{ffi::OsStr, fs};

    #[test]
    fn directories_are_searched_for_known_forms() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("b")).unwrap();
        fs::create_dir(directory.path().join(".git")).unwrap();
        for name in ["b/2.md", "1.txt", "picture.png", ".git/3.md"] {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        let found = walk::files(&[directory.path().into()], KNOWN).unwrap();
        let names: Vec<String> = found.found.into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["1.txt", "b/2.md"]);
        let others: Vec<_> = found.others.iter().map(|other| (other.path.file_name().unwrap(), other.why)).collect();
        assert_eq!(others, [(OsStr::new(".git"), "hidden"), (OsStr::new("picture.png"), "not a document")]);
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
