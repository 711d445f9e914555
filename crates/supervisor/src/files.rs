//! The files of a child's directory: its lock, its log, files replaced whole.

use crate::account::{Account, file_error};
use model::{Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

const LOG_MAX_BYTES: u64 = 8 << 20;

/// Takes the directory for this supervisor. Released by closing the file, also by our death; never inherited by a
/// child (close-on-exec). `message` tells who else may have it.
pub fn occupy(directory: &Path, message: &str) -> Result<File> {
    let path = directory.join("lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|e| file_error("open", &path, e))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        let _ = file.read_to_string(&mut holder);
        return Err(Error::refused("directory-in-use", message)
            .with("directory", directory.display())
            .with("held by pid", holder.trim()));
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|e| file_error("write", &path, e))?;
    Ok(file)
}

/// A child's log, opened to append: it stays valid for a child that outlives us.
#[derive(Debug, Clone)]
pub struct Log {
    path: PathBuf,
}

impl Log {
    #[must_use]
    pub fn of(directory: &Path) -> Self {
        Self { path: directory.join("log") }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn open(&self) -> Result<File> {
        let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&self.path);
        opened.map_err(|e| file_error("open", &self.path, e))
    }

    /// How long it is: where what a child writes from now on begins.
    #[must_use]
    pub fn end(&self) -> u64 {
        fs::metadata(&self.path).map(|meta| meta.len()).unwrap_or(0)
    }

    /// What was written since, a megabyte at most; nothing when it cannot be read.
    #[must_use]
    pub fn since(&self, from: u64) -> String {
        let mut text = Vec::new();
        if let Ok(mut log) = File::open(&self.path) {
            let _ = log.seek(SeekFrom::Start(from)).and_then(|_| log.take(1 << 20).read_to_end(&mut text));
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Keeps the log below twice its bound: copied aside and emptied (the child appends, so it goes on at 0).
    pub fn bound(&self) -> Result<()> {
        if self.end() < LOG_MAX_BYTES {
            return Ok(());
        }
        let aside = self.path.with_extension("1");
        fs::copy(&self.path, &aside).map_err(|e| file_error("copy", &self.path, e))?;
        let log = OpenOptions::new().write(true).open(&self.path);
        let log = log.map_err(|e| file_error("open", &self.path, e))?;
        log.set_len(0).map_err(|e| file_error("shorten", &self.path, e))
    }
}

/// A directory of the account's, 0700. One that somebody else put there first is refused (it may be a trap).
pub fn make_directory(path: &Path, account: &Account) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(file_error("create", path, e)),
        _ => {}
    }
    let meta = fs::symlink_metadata(path).map_err(|e| file_error("look at", path, e))?;
    let ours = meta.uid() == account.uid || meta.uid() == rustix::process::geteuid().as_raw();
    if !meta.is_dir() || !ours {
        let message = "this should be a directory of the child's account and is something else; remove it";
        return Err(Error::refused("directory-foreign", message).with("directory", path.display()));
    }
    account.own(path, 0o700)
}

/// Replaces a file of the account's by rename, so that a cut leaves the old or the new one.
pub fn replace(path: &Path, bytes: &[u8], account: &Account) -> Result<()> {
    let fresh = write_aside(path, bytes)?;
    account.own(&fresh, 0o600)?;
    fs::rename(&fresh, path).map_err(|e| file_error("replace", path, e))
}

pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let fresh = write_aside(path, bytes)?;
    fs::rename(&fresh, path).map_err(|e| file_error("replace", path, e))?;
    path.parent().map_or(Ok(()), sync_directory)
}

fn write_aside(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let _ = fs::remove_file(&fresh);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|e| file_error("write", &fresh, e))?;
    Ok(fresh)
}

pub fn sync_directory(path: &Path) -> Result<()> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| file_error("sync", path, e))
}
