//! PDF files, each read in a process of its own: this program once more, with a limit of time and of memory.
//!
//! A reader of PDF fails in more ways than with an error: it panics, turns in a circle, or unpacks a small file to
//! gigabytes. Whatever it does, it ends here as one refused file, and the import goes on.

use crate::{exit::Outcome, import::walk::unreadable, output};
use clap::Args;
use model::{Error, Json, Result, json::Limits};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    fs::File,
    io::Read,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    thread,
};
use tokio::{process::Command, sync::Semaphore};

pub const FILE_MAX_BYTES: u64 = 64 << 20;
/// Of a processor; a file at its limit takes a few.
const SECONDS: u64 = 60;
/// Of address space, most of which is never touched.
const MEMORY: u64 = 8 << 30;
pub const VERB: &str = "pdf-sections";
/// What the process that reads can say.
const CODES: [&str; 6] = [
    "pdf-unreadable",
    "pdf-encrypted",
    "pdf-without-text",
    "document-too-large",
    "import-too-large",
    "import-unreadable",
];

/// As many readers as processors.
#[derive(Debug)]
pub struct Readers(Semaphore);

impl Default for Readers {
    fn default() -> Self {
        Self(Semaphore::new(thread::available_parallelism().map_or(1, usize::from)))
    }
}

impl Readers {
    /// The title and the sections of a file, put into the body of its document.
    pub async fn read(&self, path: &Path, body: Json) -> Result<Json> {
        let failed =
            |error| Error::retry("import-unreadable", "the process that reads PDF cannot run").caused_by(error);
        let _place = self.0.acquire().await.map_err(|_| Error::bug("readers that are closed"))?;
        let program = std::env::current_exe().map_err(failed)?;
        let mut reader = Command::new(program);
        reader.args(["knowledge", VERB]).arg(path).stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let output = reader.output().await.map_err(failed)?;
        if !output.status.success() {
            return Err(died(output.status));
        }
        let told = model::json::parse(output.stdout.trim_ascii())?;
        let text = |name: &str| told.get(name).and_then(Json::as_str);
        if let Some(code) = text("code") {
            let code = CODES.into_iter().find(|known| *known == code).unwrap_or("pdf-unreadable");
            return Err(Error::invalid(code, text("reason").unwrap_or_default()));
        }
        let body = text("title").map_or(body.clone(), |title| body.with("title", title));
        let sections = told.get("sections").cloned();
        Ok(body.with("sections", sections.ok_or_else(|| Error::bug("a reader of PDF without sections"))?))
    }
}

fn died(status: ExitStatus) -> Error {
    let what = format!(
        "reading the PDF failed, or took more than {SECONDS} s or more memory than it may; open and save it anew, or \
         import its text"
    );
    match status.signal() {
        Some(signal) => Error::invalid("pdf-unreadable", what).with("signal", signal),
        None => Error::invalid("pdf-unreadable", what).with("exit", status.code().unwrap_or_default()),
    }
}

/// Read a PDF for `knowledge import`, in a process that may fail
#[derive(Debug, Args)]
pub struct Sections {
    /// The file to read
    path: PathBuf,
}

/// In the process of its own.
pub fn run(verb: &Sections) -> Outcome {
    for (resource, limit) in [(Resource::Cpu, SECONDS), (Resource::As, MEMORY), (Resource::Core, 0)] {
        // Where less is allowed already, that stays.
        let limit = getrlimit(resource).maximum.map_or(limit, |most| most.min(limit));
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })
            .map_err(|error| Error::retry("import-unreadable", "a limit cannot be set").caused_by(error))?;
    }
    let told = whole(&verb.path).and_then(|bytes| texts::pdf::sections(&bytes)).and_then(|(title, sections)| {
        let section = |section: texts::Section| {
            let blocks: Vec<String> = section.blocks.into_iter().map(|block| block.text).collect();
            Json::object().with("heading", section.heading).with("text", blocks.join("\n\n"))
        };
        let told = Json::object().with("sections", sections.into_iter().map(section).collect::<Vec<_>>());
        let told = title.map_or(told.clone(), |title| told.with("title", title));
        let bytes = told.to_bytes().len();
        if bytes > Limits::default().bytes { Err(model::knowledge::too_large(bytes)) } else { Ok(told) }
    });
    let told = told.unwrap_or_else(|error| Json::object().with("code", error.code()).with("reason", error.to_string()));
    output::data(&String::from_utf8_lossy(&told.to_bytes()));
    Ok(())
}

fn whole(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| unreadable(path, error))?;
    file.take(FILE_MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, error))?;
    if bytes.len() as u64 > FILE_MAX_BYTES {
        let what = "a PDF to import has at most 64 MiB; part it";
        return Err(Error::invalid("import-too-large", what).with("limit-bytes", FILE_MAX_BYTES));
    }
    Ok(bytes)
}
