//! Which files an import takes: those named, and those of known forms below the directories named.

use crate::layout;
use model::{Error, Result};
use std::{
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

/// In the order of their names.
pub fn files(paths: &[PathBuf], known: Known) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for path in paths {
        if path == Path::new("-") {
            let what = "an import reads files, so that each refusal has a place and a repetition is recognised; \
                        `nephkeep intent create -` takes one document from standard input";
            return Err(Error::invalid(known.unknown, what));
        }
        let meta = fs::metadata(path).map_err(|error| unreadable(path, error))?;
        if meta.is_dir() {
            below(path, path, known, &mut found)?;
        } else if (known.is)(path) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push(Found { path: path.clone(), name });
        } else {
            let what = format!("{} to import must end in {}", known.what, known.endings);
            return Err(Error::invalid(known.unknown, what).with("path", path.display()));
        }
    }
    if found.is_empty() {
        let what = format!("there is nothing to import: no file ends in {}", known.endings);
        return Err(Error::invalid("import-nothing", what));
    }
    Ok(found)
}

/// Links are not followed: a directory that holds itself would never end.
fn below(root: &Path, directory: &Path, known: Known, found: &mut Vec<Found>) -> Result<()> {
    let entries = fs::read_dir(directory).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let mut entries = entries.map_err(|error| unreadable(directory, error))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type().map_err(|error| unreadable(directory, error))?);
        if kind.is_dir() {
            below(root, &path, known, found)?;
        } else if kind.is_file() && (known.is)(&path) {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            found.push(Found { path, name });
        }
    }
    Ok(())
}

pub fn unreadable(path: &Path, error: io::Error) -> Error {
    layout::io_error("import-unreadable", "what should be imported cannot be read", path, error)
}
