//! The file system under the keystore: permissions, durable writes, overwriting in place, the lock.

use model::{Error, Result};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind as Io, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// No keystore file is longer; a longer one is not ours.
const READ_MAX_BYTES: u64 = 1 << 30;
const LOCK_NAME: &str = "lock";
const TEMPORARY_ENDING: &str = ".temporary";

pub fn unreadable(path: &Path, cause: std::io::Error) -> Error {
    Error::retry("keystore-unreadable", "a keystore path cannot be read: check that it is mounted and intact")
        .with("path", path.display())
        .caused_by(cause)
}

pub fn unwritable(path: &Path, cause: std::io::Error) -> Error {
    let (code, words) = match cause.kind() {
        Io::StorageFull | Io::QuotaExceeded => {
            ("disk-full", "there is no space left for the keystore: free some, it goes on by itself")
        }
        Io::ReadOnlyFilesystem => {
            ("keystore-unwritable", "a keystore path is mounted read-only: mount it writable, it goes on by itself")
        }
        _ => ("keystore-unwritable", "a keystore path cannot be written: check its disk, mount and permissions"),
    };
    Error::retry(code, words).with("path", path.display()).caused_by(cause)
}

/// Key files belong to the account that runs nephkeep, and nobody else may look.
fn check_private(path: &Path, metadata: &fs::Metadata) -> Result<()> {
    let (mode, owner, us) = (metadata.mode() & 0o7777, metadata.uid(), rustix::process::geteuid().as_raw());
    if mode & 0o077 == 0 && owner == us {
        return Ok(());
    }
    let wanted = if metadata.is_dir() { "0700" } else { "0600" };
    let words = format!("a keystore path is open to others: chmod {wanted} it and chown it to the account of nephkeep");
    Err(Error::refused("keystore-permissions", words)
        .with("path", path.display())
        .with("mode", format!("{mode:04o}"))
        .with("owner", owner)
        .with("expected-owner", us))
}

pub fn check_directory(path: &Path) -> Result<()> {
    let metadata = fs::metadata(path).map_err(|cause| unreadable(path, cause))?;
    if !metadata.is_dir() {
        return Err(unreadable(path, Io::NotADirectory.into()));
    }
    check_private(path, &metadata)
}

/// Makes it with mode 0700 unless it is there; parents too.
pub fn make_directory(path: &Path) -> Result<()> {
    if !path.is_dir() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|cause| unwritable(path, cause))?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_directory(parent)?;
        }
    }
    check_directory(path)
}

/// The parent of a slot or of the host key.
pub fn parent_of(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// `None` when there is no such file. Refuses one that is open to others.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    read_if(path, check_private)
}

/// As [`read`], for a copy on a foreign medium, where owner and mode say nothing.
pub fn read_copy(path: &Path) -> Result<Option<Vec<u8>>> {
    read_if(path, |_, _| Ok(()))
}

fn read_if(path: &Path, check: impl FnOnce(&Path, &fs::Metadata) -> Result<()>) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == Io::NotFound => return Ok(None),
        Err(cause) => return Err(unreadable(path, cause)),
    };
    let metadata = file.metadata().map_err(|cause| unreadable(path, cause))?;
    if !metadata.is_file() {
        return Err(unreadable(path, Io::InvalidInput.into()));
    }
    check(path, &metadata)?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(READ_MAX_BYTES)).unwrap_or(0));
    file.take(READ_MAX_BYTES).read_to_end(&mut bytes).map_err(|cause| unreadable(path, cause))?;
    Ok(Some(bytes))
}

pub fn sync_directory(path: &Path) -> Result<()> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|cause| unwritable(path, cause))
}

/// Whatever process wrote it last: from here on it survives a power cut.
pub fn sync_file(path: &Path) -> Result<()> {
    let synced = OpenOptions::new().write(true).open(path).and_then(|file| file.sync_all());
    synced.map_err(|cause| unwritable(path, cause))
}

/// Temporary file (0600), fsync, rename, fsync of the directory: afterwards the file is whole and durable.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = temporary_of(path);
    let written = write_new(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|cause| unwritable(path, cause))?;
    sync_directory(&parent_of(path))
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY_ENDING);
    name.into()
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    remove(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != Io::NotFound => Err(cause),
        _ => Ok(()),
    }
}

/// Writes a file that must not exist yet, durably, for the owner alone.
pub fn create_durably(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|cause| unwritable(path, cause))?;
    sync_directory(&parent_of(path))
}

/// Overwrites the very bytes that are there, so that the old ones are gone as far as the file system can promise
/// (a flash drive that remaps blocks keeps them for a while: docs/guide/keys.md).
pub fn overwrite(path: &Path, bytes: &[u8]) -> Result<()> {
    let overwritten = OpenOptions::new().write(true).open(path).and_then(|file| {
        file.write_all_at(bytes, 0)?;
        file.set_len(bytes.len() as u64)?;
        file.sync_all()
    });
    overwritten.map_err(|cause| unwritable(path, cause))
}

/// The names in a directory.
pub fn names(path: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(|cause| unreadable(path, cause))? {
        let entry = entry.map_err(|cause| unreadable(path, cause))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Removes what nobody needs; if that fails it is tried again at the next write.
pub fn discard(path: &Path) {
    if let Err(cause) = remove(path) {
        tracing::info!(path = %path.display(), %cause, "a superseded keystore file could not be removed yet");
    }
}

pub fn discard_temporaries(directory: &Path) {
    for name in names(directory).unwrap_or_default() {
        if name.ends_with(TEMPORARY_ENDING) {
            discard(&directory.join(name));
        }
    }
}

/// One writer at a time, across processes; released by the system when its holder dies.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// In the first of the directories that can be reached.
    pub fn take_first(directories: &[PathBuf]) -> Result<Self> {
        let mut failure = None;
        for directory in directories {
            match Self::take(directory) {
                Ok(lock) => return Ok(lock),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure.unwrap_or_else(|| Error::bug("a keystore without directories")))
    }

    fn take(directory: &Path) -> Result<Self> {
        let path = directory.join(LOCK_NAME);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        // Files are made in it, never the directory itself: it is not there, which says more than the failed write.
        let told = |cause: std::io::Error| match cause.kind() {
            Io::NotFound => unreadable(directory, cause),
            _ => unwritable(&path, cause),
        };
        let file = opened.map_err(told)?;
        let locked = rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive);
        locked.map_err(|cause| unwritable(&path, cause.into()))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn files_are_written_for_the_owner_alone_and_refused_otherwise() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        write_durably(&path, b"one").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        overwrite(&path, b"22").unwrap();
        assert_eq!(read(&path).unwrap().unwrap(), b"22");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = read(&path).unwrap_err();
        assert_eq!((refused.code(), refused.fact("mode")), ("keystore-permissions", Some("0640")));
    }

    #[test]
    fn a_file_that_must_be_new_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kit");
        create_durably(&path, b"one").unwrap();
        assert_eq!(create_durably(&path, b"two").unwrap_err().code(), "keystore-unwritable");
        assert_eq!(read(&path).unwrap().unwrap(), b"one");
    }
}
