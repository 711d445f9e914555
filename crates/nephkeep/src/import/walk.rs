//! Which files an import takes: those named, and those of known forms below the directories named.

use crate::{layout, output::printable};
use model::{Error, Result};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// What an import knows how to read.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The error for a file of another form.
    pub unknown: &'static str,
    /// `a file`, `a text`.
    pub what: &'static str,
    /// As messages list them.
    pub endings: &'static str,
    pub is: fn(&Path) -> bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub path: PathBuf,
    /// Below the directory named; of a file named itself, its name.
    pub name: String,
}

/// What stands below directories and is no document, and why.
#[derive(Debug)]
pub struct Other {
    pub path: PathBuf,
    pub why: &'static str,
}

#[derive(Debug, Default)]
pub struct Files {
    /// In the order of their names.
    pub found: Vec<Found>,
    /// Of other forms, links, hidden: told, and never a reason to fail.
    pub others: Vec<Other>,
    /// Directories that cannot be searched: whatever is in them is missing.
    pub unread: Vec<(PathBuf, Error)>,
}

pub fn files(paths: &[PathBuf], known: Known) -> Result<Files> {
    let mut files = Files::default();
    for path in paths {
        if path == Path::new("-") {
            let what = "an import reads files, so that each refusal has a place and a repetition is recognised; \
                        `nephkeep intent create -` takes one document from standard input";
            return Err(Error::invalid(known.unknown, what));
        }
        let meta = fs::metadata(path).map_err(|error| unreadable(path, error))?;
        if meta.is_dir() {
            files.below(path, path, known);
        } else if (known.is)(path) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.found.push(Found { path: path.clone(), name });
        } else {
            let what = format!("{} to import must end in {}", known.what, known.endings);
            return Err(Error::invalid(known.unknown, what).with("path", path.display()));
        }
    }
    if files.found.is_empty() && files.unread.is_empty() {
        let what = format!("there is nothing to import: no file ends in {}", known.endings);
        return Err(Error::invalid("import-nothing", what).with("passed-over", files.others.len()));
    }
    Ok(files)
}

/// So many of a reason are named, the others counted.
const NAMED: usize = 20;

impl Files {
    /// Lines that name what was passed over.
    #[must_use]
    pub fn others_told(&self) -> Vec<String> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let mut lines = Vec::new();
        for other in &self.others {
            let count = counts.entry(other.why).or_default();
            *count += 1;
            if *count <= NAMED {
                lines.push(format!("{}: passed over, {}", printable(&other.path.display().to_string()), other.why));
            }
        }
        let more = counts.iter().filter(|(_, count)| **count > NAMED);
        lines.extend(more.map(|(why, count)| format!("… and {} more: passed over, {why}", count - NAMED)));
        lines
    }

    /// Links are not followed: a directory that holds itself would never end.
    fn below(&mut self, root: &Path, directory: &Path, known: Known) {
        let entries = fs::read_dir(directory).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.unread.push((directory.to_owned(), unreadable(directory, error))),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            match entry.file_type() {
                Err(error) => self.unread.push((path.clone(), unreadable(&path, error))),
                Ok(_) if entry.file_name().as_encoded_bytes().starts_with(b".") => self.other(path, "hidden"),
                Ok(kind) if kind.is_dir() => self.below(root, &path, known),
                Ok(kind) if kind.is_symlink() => self.other(path, "a link"),
                Ok(kind) if !kind.is_file() => self.other(path, "no file"),
                Ok(_) if !(known.is)(&path) => self.other(path, "not a document"),
                Ok(_) => {
                    let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
                    self.found.push(Found { path, name });
                }
            }
        }
    }

    fn other(&mut self, path: PathBuf, why: &'static str) {
        self.others.push(Other { path, why });
    }
}

pub fn unreadable(path: &Path, error: io::Error) -> Error {
    layout::io_error("import-unreadable", "what should be imported cannot be read", path, error)
}
