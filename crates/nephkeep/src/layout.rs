//! Where things lie in a nephkeep directory. The record and the keystore decide nothing about names; this does.

use crate::exit::Outcome;
use model::Error;
use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The directory given, else `~/.local/share/nephkeep`; for root, whose home PostgreSQL's own account may not
    /// enter, `/var/lib/nephkeep`.
    pub fn find(given: Option<&Path>) -> Outcome<Self> {
        let root = match given {
            Some(path) => path.to_path_buf(),
            None if rustix::process::geteuid().is_root() => PathBuf::from("/var/lib/nephkeep"),
            None => home()?.join("nephkeep"),
        };
        let root = std::path::absolute(&root).map_err(|error| {
            Error::invalid("directory-unusable", "the directory has no absolute path").caused_by(error)
        })?;
        Ok(Self { root })
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.root.join("nephkeep.toml")
    }
    /// Who the command line is, towards the server of this directory.
    #[must_use]
    pub fn credential(&self) -> PathBuf {
        self.root.join("admin-credential")
    }
    /// Which keystore the record of this directory was sealed under.
    #[must_use]
    pub fn keystore_id(&self) -> PathBuf {
        self.root.join("keystore.id")
    }
    #[must_use]
    pub fn recovery_kit(&self) -> PathBuf {
        self.root.join("recovery-kit.txt")
    }
    /// Held with flock for as long as a server runs on this directory; its first line is the holder's pid.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("run/server.pid")
    }
    /// When that process began and where it listens.
    #[must_use]
    pub fn running(&self) -> PathBuf {
        self.root.join("run/server.json")
    }
    /// There while a new admin credential is ordered.
    #[must_use]
    pub fn recovery_order(&self) -> PathBuf {
        self.root.join("run/recover-admin")
    }
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log/server.log")
    }
    /// Whether a nephkeep ever began here.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.is_initialised() || self.lock().exists()
    }
    /// Whether a start has come so far that its admin exists.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.credential().exists()
    }
    /// Whether the verbs find this directory without being told.
    #[must_use]
    pub fn is_default(&self) -> bool {
        Self::find(None).is_ok_and(|default| default == *self)
    }
    /// Advice with this directory in it: `nephkeep up` as it must be typed here.
    #[must_use]
    pub fn spoken(&self, advice: &str) -> String {
        if self.is_default() {
            return advice.to_owned();
        }
        let root = self.root.display().to_string();
        let plain = root.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@".contains(c));
        let named = if plain { format!("nephkeep --dir {root} ") } else { format!("nephkeep --dir '{root}' ") };
        let mut spoken = String::new();
        let mut rest = advice;
        while let Some(at) = rest.find("nephkeep ") {
            let (before, after) = (&rest[..at], &rest[at + "nephkeep ".len()..]);
            let begins = before.chars().last().or(spoken.chars().last()).is_none_or(|c| c == '`' || c == '&');
            let begins = begins || before.ends_with("&& ") || before.ends_with(": ");
            // These need no directory, or have one.
            let bare = ["explain", "--dir", "completions", "man"].iter().any(|verb| after.starts_with(verb));
            spoken.push_str(before);
            spoken.push_str(if begins && !bare { &named } else { "nephkeep " });
            rest = after;
        }
        spoken + rest
    }
    #[must_use]
    pub fn is_initialised(&self) -> bool {
        self.settings().exists()
    }

    /// Makes the directory and those for locks and logs. As root the top is passable, because PostgreSQL runs under
    /// another account and its own directory lies inside; everything in it keeps its own, closed mode.
    pub fn create(&self) -> Outcome {
        let open = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
        if !self.root.exists() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(self.root.parent().unwrap_or(&self.root))
                .map_err(|e| self.unusable(e))?;
            fs::DirBuilder::new().mode(open).create(&self.root).map_err(|e| self.unusable(e))?;
        }
        for name in ["run", "log"] {
            private_directory(&self.root.join(name)).map_err(|e| self.unusable(e))?;
        }
        Ok(())
    }

    fn unusable(&self, error: io::Error) -> crate::exit::Failure {
        crate::exit::Failure::environment(io_error(
            "directory-unusable",
            "the directory cannot be used",
            &self.root,
            error,
        ))
    }
}

/// A full disk is named as such, whatever was being written.
pub fn io_error(code: &'static str, what: &str, path: &Path, error: io::Error) -> Error {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let (code, what) = if full { ("disk-full", "there is no space left to write") } else { (code, what) };
    Error::retry(code, what).with("path", path.display()).caused_by(error)
}

fn home() -> Outcome<PathBuf> {
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    data.or(home)
        .ok_or_else(|| Error::invalid("directory-unknown", "HOME is not set; say which directory with --dir").into())
}

pub fn private_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that only its owner may read, durable before this returns, never half of it.
pub fn write_private(path: &Path, contents: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let draft = directory.join(format!(".{name}.{}", std::process::id()));
    let written = write_durable(&draft, contents).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // What it holds may be secret: no half-written draft stays.
        let _absent = fs::remove_file(&draft);
    }
    written?;
    fs::File::open(directory)?.sync_all()
}

fn write_durable(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, contents)?;
    file.sync_all()
}

/// Whether others than the owner may read or change a file.
pub fn is_private(path: &Path) -> io::Result<bool> {
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 == 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_private_file_is_private_and_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        write_private(&path, b"one").unwrap();
        write_private(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(is_private(&path).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn advice_names_the_directory_it_is_about() {
        let layout = Layout::find(Some(Path::new("/srv/n"))).unwrap();
        assert_eq!(layout.spoken("nephkeep up"), "nephkeep --dir /srv/n up");
        let said = layout.spoken("Run `nephkeep up`, a nephkeep as any: `nephkeep explain bug`.");
        assert_eq!(said, "Run `nephkeep --dir /srv/n up`, a nephkeep as any: `nephkeep explain bug`.");
        assert_eq!(Layout::find(None).unwrap().spoken("nephkeep up"), "nephkeep up");
    }

    #[test]
    fn a_given_directory_becomes_absolute() {
        let layout = Layout::find(Some(Path::new("some/where"))).unwrap();
        assert!(layout.root().is_absolute());
        assert!(layout.settings().ends_with("some/where/nephkeep.toml"));
    }
}
