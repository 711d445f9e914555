//! One conformance suite for every copy: what `Projection` promises, asked of a backend in files of its own.
//!
//! A rule gets an empty directory and says what is broken. The feeder is as weak as the weakest engine may be: it
//! delivers changes more than once, goes back, and mixes the keys' orders (but keeps each key's own). Development only.

mod embedder;
mod log;
mod rules;

pub use embedder::{EMBEDDER_RULES, embedder};
pub use log::{Log, SUBJECTS};
pub use rules::{RULES, Rule, kill_9_check, write_until_killed};

use crate::{Object, Projection};
use model::{Class, Result};
use std::{fmt, fs, path::Path, sync::Arc};

/// A copy under test: how it is opened in a directory, and what its objects are.
#[derive(Clone, Copy)]
pub struct Backend {
    pub name: &'static str,
    pub open: fn(&Path) -> Result<Arc<dyn Projection>>,
    /// Of a number: the same objects each time, others for another number, at least one.
    pub objects: fn(u64) -> Vec<Object>,
    /// Of the documents, by turns.
    pub classes: [Class; 2],
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a backend does not keep, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken(pub String);

impl From<model::Error> for Broken {
    fn from(error: model::Error) -> Self {
        Self(format!("an error: {error}"))
    }
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self(format!("an error of the file system: {error}"))
    }
}

/// Asks every rule, each in a directory of its own below `root`; the names of the broken ones with what is broken.
pub fn run(backend: &Backend, root: &Path) -> Result<Vec<(&'static str, Broken)>, std::io::Error> {
    let mut broken = Vec::new();
    for (name, rule) in RULES {
        let place = root.join(name.replace(' ', "-"));
        fs::create_dir_all(&place)?;
        if let Err(what) = rule(backend, &place) {
            broken.push((*name, what));
        }
    }
    Ok(broken)
}

fn that(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(otherwise())) }
}
