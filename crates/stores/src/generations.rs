//! The directory of an index: one place for each generation, a file or a directory, and `current`, which names the one
//! in use.

use model::{Error, Result};
use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

const CURRENT: &str = "current";

/// What an index is called where something is wrong with it, and how the places of its generations end.
#[derive(Debug)]
pub struct Naming {
    pub index: &'static str,
    pub ending: &'static str,
    /// Codes of errors.
    pub unusable: &'static str,
    pub damaged: &'static str,
    /// What mends damage.
    pub remedy: &'static str,
}

impl Naming {
    pub fn unusable(&self, path: &Path, error: io::Error) -> Error {
        let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        let (code, what) = match full {
            true => ("disk-full", format!("there is no space left for the {}", self.index)),
            false => (self.unusable, format!("a file of the {} cannot be used", self.index)),
        };
        Error::retry(code, what).with("path", path.display()).caused_by(error)
    }

    pub fn damaged(&self, path: &Path, what: &str) -> Error {
        Error::corrupt(self.damaged, format!("{what}; {}", self.remedy)).with("path", path.display())
    }

    /// A directory's entries are durable once it is synced itself.
    pub fn sync(&self, directory: &Path) -> Result<()> {
        File::open(directory).and_then(|open| open.sync_all()).map_err(|error| self.unusable(directory, error))
    }

    fn make(&self, path: &Path) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| self.unusable(path, error))
    }
}

#[derive(Debug, Clone)]
pub struct Generations {
    root: PathBuf,
    naming: &'static Naming,
}

impl Generations {
    /// Made where it is missing, and read by nobody else.
    pub fn make(root: &Path, naming: &'static Naming) -> Result<Self> {
        naming.make(root)?;
        Ok(Self { root: root.into(), naming })
    }

    pub fn place_of(&self, generation: u64) -> PathBuf {
        self.root.join(format!("generation-{generation}{}", self.naming.ending))
    }

    /// A new generation behind every one that there is, which is a directory.
    pub fn make_next(&self) -> Result<u64> {
        let number = self.highest()? + 1;
        self.naming.make(&self.place_of(number))?;
        self.sync()?;
        Ok(number)
    }

    /// The generation in use; `None` where there never was one. An error of the file system is neither.
    pub fn current(&self) -> Result<Option<u64>> {
        let pointer = self.root.join(CURRENT);
        let damaged = |how: &str| {
            self.naming.damaged(&pointer, &format!("the file that names the current {} is {how}", self.naming.index))
        };
        match fs::read_to_string(&pointer) {
            Ok(text) => text.trim().parse().map(Some).map_err(|_| damaged("damaged")),
            Err(error) if error.kind() == ErrorKind::NotFound && self.highest()? == 0 => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(damaged("missing")),
            Err(error) if error.kind() == ErrorKind::InvalidData => Err(damaged("damaged")),
            Err(error) => Err(self.naming.unusable(&pointer, error)),
        }
    }

    /// Makes a generation the current one.
    pub fn point(&self, generation: u64) -> Result<()> {
        let (temporary, pointer) = (self.root.join("current.new"), self.root.join(CURRENT));
        let written = File::create(&temporary).and_then(|mut file| {
            file.write_all(format!("{generation}\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &pointer)
        });
        written.map_err(|error| self.naming.unusable(&pointer, error))?;
        self.sync()
    }

    fn names(&self) -> Result<Vec<String>> {
        let listed = fs::read_dir(&self.root).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned())).collect()
        });
        listed.map_err(|error| self.naming.unusable(&self.root, error))
    }

    /// The highest number of a generation that has a place, in use or not.
    pub fn highest(&self) -> Result<u64> {
        let number = |name: &String| name.strip_prefix("generation-")?.split('.').next()?.parse::<u64>().ok();
        Ok(self.names()?.iter().filter_map(number).max().unwrap_or(0))
    }

    /// Removes every other generation than these, and what a rewriting that did not end has left.
    pub fn sweep(&self, keep: &[u64]) -> Result<()> {
        let keep: Vec<PathBuf> = keep.iter().map(|generation| self.place_of(*generation)).collect();
        let others = self.names()?.into_iter().filter(|name| name.starts_with("generation-"));
        for path in others.map(|name| self.root.join(name)).filter(|path| !keep.contains(path)) {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(|error| self.naming.unusable(&path, error))?;
        }
        self.sync()
    }

    pub fn sync(&self) -> Result<()> {
        self.naming.sync(&self.root)
    }
}
