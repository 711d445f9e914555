//! The directory of the index: one file for each generation, and `current`, which names the one in use.

use super::file::{sync_directory, unusable};
use model::{Error, Result};
use std::{
    fs::{self, DirBuilder, File},
    io::{ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

const CURRENT: &str = "current";

#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// Made where it is missing, and read by nobody else.
    pub fn make(root: &Path) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(root);
        made.map_err(|error| unusable(root, error))?;
        Ok(Self { root: root.into() })
    }

    pub fn file_of(&self, generation: u64) -> PathBuf {
        self.root.join(format!("generation-{generation}.vectors"))
    }

    fn damaged(&self, what: &str) -> Error {
        let error = Error::corrupt("vectors-damaged", format!("{what}; nephkeep rebuild vectors"));
        error.with("path", self.root.join(CURRENT).display())
    }

    /// The generation in use; `None` where there never was one. An error of the file system is neither.
    pub fn current(&self) -> Result<Option<u64>> {
        let pointer = self.root.join(CURRENT);
        match fs::read_to_string(&pointer) {
            Ok(text) => match text.trim().parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(self.damaged("the file that names the current vector index is damaged")),
            },
            Err(error) if error.kind() == ErrorKind::NotFound && self.highest()? == 0 => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(self.damaged("the file that names the current vector index is missing"))
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err(self.damaged("the file that names the current vector index is damaged"))
            }
            Err(error) => Err(unusable(&pointer, error)),
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
        written.map_err(|error| unusable(&pointer, error))?;
        sync_directory(&self.root)
    }

    fn names(&self) -> Result<Vec<String>> {
        let listed = fs::read_dir(&self.root).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned())).collect()
        });
        listed.map_err(|error| unusable(&self.root, error))
    }

    /// The highest number of a generation that has a file, in use or not.
    pub fn highest(&self) -> Result<u64> {
        let number = |name: &String| name.strip_prefix("generation-")?.split('.').next()?.parse::<u64>().ok();
        Ok(self.names()?.iter().filter_map(number).max().unwrap_or(0))
    }

    /// Removes every file of other generations than these, and what a rewriting that did not end has left.
    pub fn sweep(&self, keep: &[u64]) -> Result<()> {
        let keep: Vec<PathBuf> = keep.iter().map(|generation| self.file_of(*generation)).collect();
        let others = self.names()?.into_iter().filter(|name| name.starts_with("generation-"));
        for path in others.map(|name| self.root.join(name)).filter(|path| !keep.contains(path)) {
            fs::remove_file(&path).map_err(|error| unusable(&path, error))?;
        }
        self.sync()
    }

    pub fn sync(&self) -> Result<()> {
        sync_directory(&self.root)
    }
}
