//! Two vector copies of two models, side by side: where each lies, and which one is searched.
//!
//! The first lies in the directory itself, the second in `second/` below it. The file `slots` says what models they are of
//! and which is searched; it is written before anything changes in memory. Without it there is one copy.

use model::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    fs::{self, File},
    io::{ErrorKind as Io, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use stores::{Projection, embed::Embedder};

const FILE: &str = "slots";
const SECOND: &str = "second";

/// Makes the copy of an embedder in a directory; the binary knows the engine.
pub type Engine = Arc<dyn Fn(&Path, &dyn Embedder) -> Arc<dyn Projection> + Send + Sync>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Slot {
    First,
    Second,
}

impl Slot {
    pub fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// As the file says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub searched: Slot,
    /// The other one was searched before: it waits for a return, not for its turn.
    #[serde(default)]
    pub turned: bool,
    pub first: Option<String>,
    pub second: Option<String>,
}

impl State {
    pub fn model(&self, slot: Slot) -> Option<&str> {
        match slot {
            Slot::First => self.first.as_deref(),
            Slot::Second => self.second.as_deref(),
        }
    }

    pub fn set(&mut self, slot: Slot, model: Option<&str>) {
        let place = match slot {
            Slot::First => &mut self.first,
            Slot::Second => &mut self.second,
        };
        *place = model.map(str::to_owned);
    }
}

pub struct Slots {
    root: PathBuf,
    engine: Engine,
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("root", &self.root).finish_non_exhaustive()
    }
}

fn unusable(path: &Path, error: std::io::Error) -> Error {
    let what = "the directory of the vector index cannot be used";
    Error::retry("vectors-unusable", what).with("path", path.display()).caused_by(error)
}

impl Slots {
    #[must_use]
    pub fn new(root: &Path, engine: Engine) -> Self {
        Self { root: root.into(), engine }
    }

    fn directory(&self, slot: Slot) -> PathBuf {
        match slot {
            Slot::First => self.root.clone(),
            Slot::Second => self.root.join(SECOND),
        }
    }

    pub fn copy(&self, slot: Slot, embedder: &dyn Embedder) -> Arc<dyn Projection> {
        (self.engine)(&self.directory(slot), embedder)
    }

    /// `None`: nothing was ever said. What cannot be read is as nothing: the copies are made from the record anyway.
    pub fn read(&self) -> Option<State> {
        let path = self.root.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text)
                .inspect_err(|error| tracing::error!(path = %path.display(), "which vectors are searched cannot be read: {error}"))
                .ok(),
            Err(error) if error.kind() == Io::NotFound => None,
            Err(error) => {
                tracing::error!(path = %path.display(), "which vectors are searched cannot be read: {error}");
                None
            }
        }
    }

    /// Durable when this returns.
    pub fn write(&self, state: &State) -> Result<()> {
        let text = toml::to_string(state).map_err(|error| Error::bug("a state cannot be written").caused_by(error))?;
        let (path, temporary) = (self.root.join(FILE), self.root.join("slots.new"));
        let written = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).and_then(|()| {
            let mut file = File::create(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.root)?.sync_all()
        });
        written.map_err(|error| unusable(&path, error))
    }

    /// Removes a slot's files; who still reads them holds them open.
    pub fn clear(&self, slot: Slot) -> Result<()> {
        let directory = self.directory(slot);
        let removed = match slot {
            Slot::Second => fs::remove_dir_all(&directory),
            Slot::First => files(&directory).and_then(|files| files.iter().try_for_each(fs::remove_file)),
        };
        match removed {
            Err(error) if error.kind() != Io::NotFound => Err(unusable(&directory, error)),
            _ => Ok(()),
        }
    }
}

/// Of the index, not of what lies beside it.
fn files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name() != FILE {
            found.push(entry.path());
        }
    }
    Ok(found)
}
