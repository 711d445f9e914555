//! The files of one index, read by position and never mapped into memory: of a mapped file that others cut short a read
//! would end the process; here it is an error like any other.
//!
//! Small files that every search reads whole are kept in memory, once for all who have them open. The engine's list of
//! the files that it may remove is the directory itself, which holds nothing else: no list of its own is written (and
//! synced, with each file) beside it.

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
};
use tantivy::{
    Directory, HasLen,
    directory::{
        AntiCallToken, DirectoryLock, FileHandle, Lock, OwnedBytes, TerminatingWrite, WatchCallback, WatchHandle,
        WritePtr,
        error::{DeleteError, LockError, OpenReadError, OpenWriteError},
    },
};

/// Postings and stored rows are read piece by piece.
const LARGE: [&str; 2] = ["idx", "store"];
/// The engine's list of its files.
const LIST: &str = ".managed.json";

/// By path, as long as the engine holds them.
type Kept = HashMap<PathBuf, Weak<InMemory>>;

#[derive(Debug, Clone)]
pub struct Disk {
    root: PathBuf,
    kept: Option<Arc<Mutex<Kept>>>,
    full: Arc<AtomicBool>,
}

impl Disk {
    pub fn new(root: &Path) -> Self {
        Self { root: root.into(), kept: Some(Arc::default()), full: Arc::default() }
    }

    /// Everything is read from the disk each time: for who compares it with its checksums.
    pub fn afresh(root: &Path) -> Self {
        Self { kept: None, ..Self::new(root) }
    }

    /// Whether a write has failed for want of space since this was last asked.
    pub fn was_full(&self) -> bool {
        self.full.swap(false, Ordering::AcqRel)
    }

    fn listed(&self) -> io::Result<Vec<u8>> {
        let names: io::Result<Vec<PathBuf>> =
            fs::read_dir(&self.root)?.map(|entry| entry.map(|entry| entry.file_name().into())).collect();
        Ok(serde_json::to_vec(&names?)?)
    }

    fn noted<T>(&self, done: io::Result<T>) -> io::Result<T> {
        done.inspect_err(|error| note(&self.full, error))
    }

    fn in_memory(&self, path: &Path, file: &File, length: usize) -> io::Result<Arc<InMemory>> {
        let known = self.kept.as_ref().and_then(|kept| kept.lock().get(path).and_then(Weak::upgrade));
        if let Some(known) = known {
            return Ok(known);
        }
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0)?;
        let read = Arc::new(InMemory(OwnedBytes::new(bytes)));
        if let Some(kept) = &self.kept {
            let mut kept = kept.lock();
            kept.retain(|_, held| held.strong_count() > 0);
            kept.insert(path.into(), Arc::downgrade(&read));
        }
        Ok(read)
    }
}

fn note(full: &AtomicBool, error: &io::Error) {
    if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        full.store(true, Ordering::Release);
    }
}

fn no_read(path: &Path, error: io::Error) -> OpenReadError {
    match error.kind() {
        io::ErrorKind::NotFound => OpenReadError::FileDoesNotExist(path.into()),
        _ => OpenReadError::IoError { io_error: Arc::new(error), filepath: path.into() },
    }
}

impl Directory for Disk {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        let opened = || -> io::Result<Arc<dyn FileHandle>> {
            let file = File::open(self.root.join(path))?;
            let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
            match path.extension().and_then(|end| end.to_str()) {
                Some(end) if LARGE.contains(&end) => Ok(Arc::new(ByPosition { file, length })),
                _ => Ok(self.in_memory(path, &file, length)?),
            }
        };
        opened().map_err(|error| no_read(path, error))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        fs::remove_file(self.root.join(path)).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => DeleteError::FileDoesNotExist(path.into()),
            _ => DeleteError::IoError { io_error: Arc::new(error), filepath: path.into() },
        })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.root.join(path).try_exists().map_err(|error| no_read(path, error))
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.root.join(path));
        let file = self.noted(made).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => OpenWriteError::FileAlreadyExists(path.into()),
            _ => OpenWriteError::IoError { io_error: Arc::new(error), filepath: path.into() },
        })?;
        Ok(BufWriter::new(Box::new(Writing { file, full: Arc::clone(&self.full) })))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        if path == Path::new(LIST) {
            return self.listed().map_err(|error| no_read(path, error));
        }
        fs::read(self.root.join(path)).map_err(|error| no_read(path, error))
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        if path == Path::new(LIST) {
            return Ok(());
        }
        let (whole, fresh) = (self.root.join(path), self.root.join(format!("{}.new", path.display())));
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(data)?;
            file.sync_all()?;
            fs::rename(&fresh, &whole)
        };
        self.noted(write())
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.noted(File::open(&self.root).and_then(|directory| directory.sync_all()))
    }

    /// Locks of the system's own: they end with the process that has them.
    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        let broken = |error| LockError::IoError(Arc::new(error));
        let path = self.root.join(&lock.filepath);
        let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = opened.map_err(broken)?;
        if lock.is_blocking {
            file.lock().map_err(broken)?;
        } else {
            file.try_lock().map_err(|error| match error {
                fs::TryLockError::WouldBlock => LockError::LockBusy,
                fs::TryLockError::Error(error) => broken(error),
            })?;
        }
        Ok(DirectoryLock::from(Box::new(file)))
    }

    /// Readers are told by who writes.
    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

struct InMemory(OwnedBytes);

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InMemory({} bytes)", self.0.len())
    }
}

impl HasLen for InMemory {
    fn len(&self) -> usize {
        self.0.len()
    }
}

fn outside() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "beyond the end of a file of the text index")
}

impl FileHandle for InMemory {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        if range.start > range.end || range.end > self.0.len() {
            return Err(outside());
        }
        Ok(self.0.slice(range))
    }
}

#[derive(Debug)]
struct ByPosition {
    file: File,
    length: usize,
}

impl HasLen for ByPosition {
    fn len(&self) -> usize {
        self.length
    }
}

impl FileHandle for ByPosition {
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        if range.start > range.end || range.end > self.length {
            return Err(outside());
        }
        let mut bytes = vec![0; range.len()];
        self.file.read_exact_at(&mut bytes, range.start as u64)?;
        Ok(OwnedBytes::new(bytes))
    }
}

struct Writing {
    file: File,
    full: Arc<AtomicBool>,
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).inspect_err(|error| note(&self.full, error))
    }
    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl TerminatingWrite for Writing {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.file.sync_data().inspect_err(|error| note(&self.full, error))
    }
}
