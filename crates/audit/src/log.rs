//! The handle everybody else holds: open, append, note reads, ask.

use crate::{
    counters::{Counters, Meters},
    entry::{AccessNote, Entry},
    identity,
    inbox::{Append, Flush, Inbox, Stage, closed},
    note::{Checkpoint, PublicKey},
    publish::unavailable,
    records::Records,
    recovery,
    writer::{Status, Writer},
};
use model::{Error, Position, Result, Shard};
use parking_lot::{Mutex, RwLock};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::{Semaphore, oneshot, watch};

/// Bytes of appends that may wait for the writer.
const WAITING_BYTES: u32 = 8 << 20;

/// Where a log lives and what it is called.
#[derive(Debug, Clone)]
pub struct Options {
    /// Segments, tiles, checkpoint.
    pub directory: PathBuf,
    /// `log.key` (0600) and `log.pub`, made on first open; better not inside `directory`.
    pub keys: PathBuf,
    /// The origin of a new log (schema-less, no spaces or plus); `None`: a random one. An existing log keeps its own.
    pub name: Option<String>,
}

impl Options {
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), keys: directory.to_owned(), name: None }
    }
}

/// The transparency log of one installation. Closing (or dropping) it publishes a last checkpoint.
pub struct TransparencyLog {
    directory: PathBuf,
    public: PublicKey,
    inbox: Arc<Inbox>,
    status: Arc<Status>,
    meters: Arc<Meters>,
    room: Arc<Semaphore>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held until the writer has ended.
    _lock: File,
}

impl std::fmt::Debug for TransparencyLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransparencyLog").field("directory", &self.directory).field("size", &self.size()).finish()
    }
}

/// A noted read; its answer may be released once `released` returns.
#[must_use = "a read is released only after its entry"]
#[derive(Debug)]
pub struct Noted(Option<(Arc<Flush>, Stage)>);

impl Noted {
    /// Nothing was read.
    pub fn nothing() -> Self {
        Self(None)
    }

    pub async fn released(self) -> Result<()> {
        match self.0 {
            Some((flush, stage)) => flush.wait(stage).await,
            None => Ok(()),
        }
    }
}

fn lock(directory: &Path) -> Result<File> {
    let open = File::options().create(true).truncate(false).write(true).open(directory.join("lock"));
    let file = open.map_err(|error| unavailable(directory, error))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        let message = "the audit log is open in another process; stop that one first";
        Error::conflict("audit-log-locked", message).with("directory", directory.display()).caused_by(error)
    })?;
    Ok(file)
}

impl TransparencyLog {
    /// Opens or creates the log in a directory, its keys beside it; repairs a torn tail, refuses one shorter than its
    /// last checkpoint.
    pub fn open(directory: &Path) -> Result<Self> {
        Self::open_with(&Options::new(directory))
    }

    pub fn open_with(options: &Options) -> Result<Self> {
        let directory = options.directory.as_path();
        fs::create_dir_all(directory).map_err(|error| unavailable(directory, error))?;
        let held = lock(directory)?;
        let (key, checkpoint) = identity::load_or_create(options)?;
        let folder = crate::segment::folder(directory);
        fs::create_dir_all(folder).map_err(|error| unavailable(directory, error))?;
        let meters = Arc::new(Meters::default());
        let public = key.public().clone();
        let mut store = recovery::open(directory, key, &checkpoint, Arc::clone(&meters))?;
        let published = store.publish()?;
        let size = store.tree.size();
        let status = Arc::new(Status {
            size: AtomicU64::new(size),
            grown: watch::Sender::new(size),
            track: Mutex::new(store.track.clone()),
            checkpoint: RwLock::new(published),
            failing: Mutex::default(),
        });
        let inbox = Arc::new(Inbox::new(Arc::clone(&meters)));
        let writer = Writer {
            store,
            inbox: Arc::clone(&inbox),
            status: Arc::clone(&status),
            meters: Arc::clone(&meters),
            failing: false,
        };
        let thread = std::thread::Builder::new().name("audit-writer".into()).spawn(move || writer.run());
        let thread = Mutex::new(Some(thread.map_err(|error| unavailable(directory, error))?));
        let room = Arc::new(Semaphore::new(WAITING_BYTES as usize));
        Ok(Self { directory: directory.to_owned(), public, inbox, status, meters, room, thread, _lock: held })
    }

    /// Appends and waits until the entries are durable (one fdatasync serves all who wait). Returns the first index.
    ///
    /// A write that does not follow the last one of its shard is refused (`audit-write-gap`), the whole call with it.
    /// After any other error a part may stand in the log: resume from `last_write`.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<u64> {
        let records = Records::encode(&entries)?;
        let bytes = u32::try_from(records.bytes()).unwrap_or(u32::MAX).min(WAITING_BYTES);
        let permit = Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| closed())?;
        let (done, outcome) = oneshot::channel();
        self.inbox.append(Append { records, done, permit })?;
        outcome.await.map_err(|_| closed())?
    }

    /// Notes reads. Confidential and above: returns when the entry is durable. Internal: when it is written. Public:
    /// counted.
    pub async fn access(&self, notes: Vec<AccessNote>) -> Result<()> {
        self.note(notes)?.released().await
    }

    /// The same in two steps, without a vector: note now, await `released` before the answer goes out.
    pub fn note(&self, notes: impl IntoIterator<Item = AccessNote>) -> Result<Noted> {
        self.inbox.note(notes).map(Noted)
    }

    /// The last failure to write, when it is younger than this and nothing was written since.
    #[must_use]
    pub fn failing(&self, within: Duration) -> Option<Error> {
        let failing = self.status.failing.lock();
        let (_, code, message) = failing.as_ref().filter(|(at, _, _)| at.elapsed() < within)?;
        Some(Error::retry(code, message.clone()))
    }

    /// The position of the last durable `Write` leaf of a shard: where its sequencer resumes.
    #[must_use]
    pub fn last_write(&self, shard: Shard) -> Option<Position> {
        self.status.track.lock().last(shard)
    }

    /// Waits until the write leaf of this position (or a later one of its shard) is durable.
    pub async fn wait_for_write(&self, position: Position) -> Result<()> {
        let mut grown = self.status.grown.subscribe();
        let stands = |last: Position| {
            last.incarnation.ordinal > position.incarnation.ordinal
                || (last.incarnation == position.incarnation && last.n >= position.n)
        };
        while !self.last_write(position.shard).is_some_and(stands) {
            grown.changed().await.map_err(|_| closed())?;
        }
        Ok(())
    }

    /// Waits until this many entries are durable.
    pub async fn wait_for_size(&self, size: u64) -> Result<()> {
        let mut grown = self.status.grown.subscribe();
        grown.wait_for(|durable| *durable >= size).await.map(|_| ()).map_err(|_| closed())
    }

    /// Durable entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.status.size.load(Ordering::Acquire)
    }

    /// The last published checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        self.status.checkpoint.read().0.clone()
    }

    /// The same as the signed note that stands in the file.
    #[must_use]
    pub fn checkpoint_text(&self) -> String {
        self.status.checkpoint.read().1.clone()
    }

    /// Publishes a checkpoint over everything appended before this call.
    pub async fn publish(&self) -> Result<Checkpoint> {
        let (done, outcome) = oneshot::channel();
        self.inbox.publish(done)?;
        outcome.await.map_err(|_| closed())?
    }

    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    #[must_use]
    pub fn counters(&self) -> Counters {
        self.meters.read()
    }

    /// Writes what waits, publishes a last checkpoint and ends the writer. Later calls are refused.
    pub fn close(&self) {
        self.inbox.close();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl Drop for TransparencyLog {
    fn drop(&mut self) {
        self.close();
    }
}
