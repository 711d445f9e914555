//! The directory of the copy: one directory for each generation, and `current`, which names the one in use.

use model::{Error, Result};
use std::{
    fs::{self, DirBuilder, File},
    io::{self, ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

const CURRENT: &str = "current";

pub fn unusable(path: &Path, error: io::Error) -> Error {
    let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    let (code, what) = match full {
        true => ("disk-full", "there is no space left for the text index"),
        false => ("text-unusable", "a file of the text index cannot be used"),
    };
    Error::retry(code, what).with("path", path.display()).caused_by(error)
}

pub fn damaged(path: &Path, what: &str) -> Error {
    Error::corrupt("text-damaged", format!("{what}; nephkeep rebuild text")).with("path", path.display())
}

fn make(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| unusable(path, error))
}

#[derive(Debug, Clone)]
pub struct Generations {
    root: PathBuf,
}

impl Generations {
    /// Made where it is missing, and read by nobody else.
    pub fn make(root: &Path) -> Result<Self> {
        make(root)?;
        Ok(Self { root: root.into() })
    }

    pub fn place_of(&self, generation: u64) -> PathBuf {
        self.root.join(format!("generation-{generation}"))
    }

    /// The place of a new generation, behind every one that there is.
    pub fn next(&self) -> Result<u64> {
        let number = self.highest()? + 1;
        make(&self.place_of(number))?;
        self.sync()?;
        Ok(number)
    }

    /// The generation in use; `None` where there never was one. An error of the file system is neither.
    pub fn current(&self) -> Result<Option<u64>> {
        let pointer = self.root.join(CURRENT);
        match fs::read_to_string(&pointer) {
            Ok(text) => match text.trim().parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(damaged(&pointer, "the file that names the current text index is damaged")),
            },
            Err(error) if error.kind() == ErrorKind::NotFound && self.highest()? == 0 => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(damaged(&pointer, "the file that names the current text index is missing"))
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err(damaged(&pointer, "the file that names the current text index is damaged"))
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
        self.sync()
    }

    fn numbers(&self) -> Result<Vec<u64>> {
        let number = |name: &str| name.strip_prefix("generation-")?.parse::<u64>().ok();
        let listed = fs::read_dir(&self.root).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| number(&entry.file_name().to_string_lossy()))).collect()
        });
        let numbers: Vec<Option<u64>> = listed.map_err(|error| unusable(&self.root, error))?;
        Ok(numbers.into_iter().flatten().collect())
    }

    fn highest(&self) -> Result<u64> {
        Ok(self.numbers()?.into_iter().max().unwrap_or(0))
    }

    /// Removes every other generation than these.
    pub fn sweep(&self, keep: &[u64]) -> Result<()> {
        for number in self.numbers()?.into_iter().filter(|number| !keep.contains(number)) {
            let place = self.place_of(number);
            fs::remove_dir_all(&place).map_err(|error| unusable(&place, error))?;
        }
        self.sync()
    }

    fn sync(&self) -> Result<()> {
        let synced = File::open(&self.root).and_then(|directory| directory.sync_all());
        synced.map_err(|error| unusable(&self.root, error))
    }
}
