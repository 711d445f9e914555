//! Where the parts of a keystore lie.

use crate::{KeyId, files};
use model::{Error, Result};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// Where generations, slots and the host key lie. At least two directories and two slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub directories: Vec<PathBuf>,
    pub slots: Vec<PathBuf>,
    pub host_key: PathBuf,
}

/// What the caller knows about the keystore that must be found (RECORD 8: it is never rolled back).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expect {
    /// The keystore that the record names.
    pub keystore: Option<[u8; 16]>,
    /// The newest generation that a manifest or the record has seen.
    pub min_generation: u64,
}

/// What is still known of generations that are lost for good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lost {
    /// The newest of them.
    pub generation: u64,
    /// The newest key that was taken from them.
    pub newest_key: Option<KeyId>,
    pub destroyed: Vec<KeyId>,
}

impl Settings {
    /// Two directories and two slots under one root: `a/`, `b/`, `slot-a/epoch.slot`, `slot-b/epoch.slot`,
    /// `host/host.key`.
    #[must_use]
    pub fn under(root: &Path) -> Self {
        Self {
            directories: vec![root.join("a"), root.join("b")],
            slots: vec![root.join("slot-a/epoch.slot"), root.join("slot-b/epoch.slot")],
            host_key: root.join("host/host.key"),
        }
    }

    pub fn check(&self) -> Result<()> {
        check_places("directories", &self.directories)?;
        check_places("slots", &self.slots)
    }

    pub(crate) fn make_directories(&self) -> Result<()> {
        self.directories.iter().try_for_each(|directory| files::make_directory(directory))?;
        let files = self.slots.iter().chain([&self.host_key]);
        files.map(|file| files::parent_of(file)).try_for_each(|parent| files::make_directory(&parent))
    }
}

fn check_places(what: &'static str, places: &[PathBuf]) -> Result<()> {
    let distinct: BTreeSet<_> = places.iter().map(|place| place.components().collect::<PathBuf>()).collect();
    if distinct.len() >= 2 && distinct.len() == places.len() {
        return Ok(());
    }
    let words = format!("a keystore needs at least two different {what}: losing one must not lose everybody's data");
    Err(Error::invalid("keystore-settings", words).with("setting", what).with("given", places.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_or_the_same_place_twice_is_refused() {
        let good = Settings::under(Path::new("/k"));
        assert!(good.check().is_ok());
        for slots in [vec![], vec!["/s".into()], vec!["/s".into(), "/./s".into()]] {
            let settings = Settings { slots, ..good.clone() };
            assert!(settings.check().is_err_and(|error| error.code() == "keystore-settings"));
        }
    }
}
