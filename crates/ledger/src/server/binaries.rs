//! Finding PostgreSQL: `NEPHKEEP_PG_BIN`, the search path, Debian, Red Hat and Homebrew locations.

use model::{Error, Result};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Older ones lack what the committer's statement and the supervisor use.
pub const OLDEST_MAJOR: u32 = 15;
const OVERRIDE: &str = "NEPHKEEP_PG_BIN";

/// One installation's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    pub directory: PathBuf,
    pub major: u32,
    /// As the server prints it, for example `15.18`.
    pub version: String,
}

impl Binaries {
    /// The newest installation; with `major`, the newest of exactly that version (an existing data directory needs it).
    pub fn find(major: Option<u32>) -> Result<Self> {
        let (places, origin) = match std::env::var_os(OVERRIDE) {
            Some(place) => (vec![PathBuf::from(place)], OVERRIDE),
            None => (places(), "the search path and the usual places"),
        };
        Self::choose(places.iter().filter_map(|place| Self::at(place)), major, origin)
    }

    /// The installation in the directory that the settings name, and no other.
    pub fn only_at(directory: &Path, major: Option<u32>) -> Result<Self> {
        Self::choose(Self::at(directory).into_iter(), major, &directory.display().to_string())
    }

    /// The installation in one directory, if `postgres` and `initdb` are there and answer.
    #[must_use]
    pub fn at(directory: &Path) -> Option<Self> {
        if !directory.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(directory.join("postgres")).arg("--version").env_clear().output().ok()?;
        let (major, version) = parse_version(&String::from_utf8_lossy(&output.stdout))?;
        Some(Self { directory: directory.to_owned(), major, version })
    }

    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Whether a library that PostgreSQL can load at its start is there.
    #[must_use]
    pub fn has_library(&self, name: &str) -> bool {
        let told = Command::new(self.program("pg_config")).arg("--pkglibdir").env_clear().output().ok();
        let told = told.filter(|output| output.status.success());
        let told = told.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        let usual = ["../lib", "../lib/postgresql", "../lib64", "../lib64/pgsql"].map(|at| self.directory.join(at));
        let endings = ["so", "dylib"];
        let mut places = told.into_iter().chain(usual);
        places.any(|place| endings.iter().any(|ending| place.join(format!("{name}.{ending}")).is_file()))
    }

    fn choose(found: impl Iterator<Item = Self>, major: Option<u32>, origin: &str) -> Result<Self> {
        let mut found: Vec<_> = found.collect();
        // Stable: of one version, the first place wins (the search path before the usual places).
        found.sort_by_key(|b| std::cmp::Reverse(b.major));
        let Some(newest) = found.first() else {
            let message = format!(
                "no PostgreSQL server programs (postgres, initdb) in {origin}; install PostgreSQL {OLDEST_MAJOR} or newer, or set {OVERRIDE} to the directory that holds them"
            );
            return Err(Error::refused("postgresql-missing", message));
        };
        if newest.major < OLDEST_MAJOR {
            let message = format!("PostgreSQL {OLDEST_MAJOR} or newer is needed; the newest in {origin} is older");
            return Err(Error::refused("postgresql-too-old", message)
                .with("version", &newest.version)
                .with("directory", newest.directory.display()));
        }
        let Some(wanted) = major else { return Ok(newest.clone()) };
        let newest = newest.version.clone();
        found.into_iter().find(|b| b.major == wanted).ok_or_else(|| {
            let message = "the data directory was written by another version of PostgreSQL than the installed ones; install that version, or upgrade the directory with pg_upgrade";
            Error::refused("postgresql-version-mismatch", message).with("needs", wanted).with("newest installed", newest)
        })
    }
}

fn places() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).filter(|p| p.is_absolute()).collect();
    for (parent, prefix, tail) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/usr/local", "pgsql", "bin"),
        ("/opt/homebrew/opt", "postgresql", "bin"),
        ("/usr/local/opt", "postgresql", "bin"),
    ] {
        let Ok(entries) = std::fs::read_dir(parent) else { continue };
        let named = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(prefix));
        places.extend(named.map(|entry| entry.path().join(tail)));
    }
    places
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` → 15, `15.18`; betas read `18beta1`.
fn parse_version(line: &str) -> Option<(u32, String)> {
    let version = line.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    Some((digits.parse().ok()?, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(version: &str) -> Binaries {
        let (major, version) = parse_version(&format!("postgres (PostgreSQL) {version} (x)\n")).unwrap_or_default();
        Binaries { directory: format!("/pg/{version}").into(), major, version }
    }

    #[test]
    fn the_newest_wins_unless_a_data_directory_needs_another() {
        let all = || ["14.2", "16.1", "17beta1", "15.18"].map(installed).into_iter();
        assert_eq!(Binaries::choose(all(), None, "x").map(|b| b.version).ok().as_deref(), Some("17beta1"));
        assert_eq!(Binaries::choose(all(), Some(15), "x").map(|b| b.version).ok().as_deref(), Some("15.18"));
        assert_eq!(Binaries::choose(all(), Some(18), "x").err().map(|e| e.code()), Some("postgresql-version-mismatch"));
    }

    #[test]
    fn none_and_only_old_ones_are_refused_by_name() {
        assert_eq!(Binaries::choose(std::iter::empty(), None, "x").err().map(|e| e.code()), Some("postgresql-missing"));
        let old = [installed("13.4"), installed("14.9")].into_iter();
        let refused = Binaries::choose(old, None, "x").err();
        assert_eq!(refused.as_ref().map(Error::code), Some("postgresql-too-old"));
        assert_eq!(refused.as_ref().and_then(|e| e.fact("version")), Some("14.9"));
    }

    #[test]
    fn words_that_are_no_version_are_no_installation() {
        for line in ["", "postgres", "postgres (PostgreSQL)", "postgres (PostgreSQL) devel", "mysqld 8"] {
            assert_eq!(parse_version(line), None, "{line}");
        }
    }
}
