//! The files of an open log, owned by the writer thread: segment, tree, tiles, checkpoint.

use crate::{
    counters::{Meters, add},
    note::{Checkpoint, PrivateKey},
    publish::{Publisher, unavailable},
    records::Records,
    segment::{self, ENTRIES, Header, OpenSegment},
    track::WriteTrack,
    tree::Tree,
};
use model::Result;
use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{self, SyncSender},
    },
    thread::JoinHandle,
};

pub(crate) struct Store {
    pub directory: PathBuf,
    pub key: PrivateKey,
    pub tree: Tree,
    pub segment: OpenSegment,
    pub publisher: Publisher,
    pub track: WriteTrack,
    pub meters: Arc<Meters>,
    pub sealer: Sealer,
}

impl Store {
    /// Writes a group behind the last entry, not yet durable. On failure the part that stands (up to a segment's end)
    /// stays; `track` always says what stands.
    pub(crate) fn write(&mut self, records: &Records) -> Result<u64> {
        let first = self.tree.size();
        let mut done = 0;
        while done < records.count() {
            if self.tree.is_full() {
                self.roll()?;
            }
            let room = usize::try_from(self.tree.base() + ENTRIES - self.tree.size()).unwrap_or(usize::MAX);
            let high = records.count().min(done.saturating_add(room));
            let written = self.segment.append(&records.segment(done, high));
            written.map_err(|error| unavailable(&self.directory, error))?;
            records.hashes(done, high).iter().for_each(|hash| self.tree.push(*hash));
            self.publisher.add(records.bundle(done, high), (high - done) as u64);
            for (_, step) in records.steps().iter().filter(|(index, _)| (done..high).contains(index)) {
                // Checked before the group was formed; the track takes the step in any case.
                let _ = self.track.take(*step);
            }
            done = high;
        }
        add(&self.meters.entries, records.count());
        Ok(first)
    }

    pub(crate) fn sync(&mut self) -> Result<()> {
        let synced = self.segment.sync().map_err(|error| unavailable(&self.directory, error))?;
        add(&self.meters.syncs, usize::from(synced));
        Ok(())
    }

    /// Full tiles of what is durable.
    pub(crate) fn settle(&mut self) -> Result<()> {
        self.publisher.settle(&self.tree).map_err(|error| unavailable(&self.directory, error))
    }

    pub(crate) fn publish(&mut self) -> Result<(Checkpoint, String)> {
        self.sync()?;
        if self.tree.is_full() {
            self.roll()?;
        }
        let published = self.publisher.publish(&self.tree, &self.key)?;
        add(&self.meters.syncs, 1);
        add(&self.meters.checkpoints, 1);
        Ok(published)
    }

    /// Begins the next segment. Whatever can fail comes first, so that a failed roll is simply tried again.
    fn roll(&mut self) -> Result<()> {
        self.sync()?;
        self.settle()?;
        let first = self.tree.base();
        let prepared = self
            .publisher
            .close_segment(&self.tree)
            .and_then(|()| OpenSegment::create(&self.directory, first + ENTRIES));
        self.segment = prepared.map_err(|error| unavailable(&self.directory, error))?;
        let root = self.tree.segment_root();
        self.tree.roll(root);
        self.sealer.seal(header(first, root, &self.track));
        Ok(())
    }
}

/// The track is that of the segment's end: `roll` runs before anything of the next segment is taken.
pub(crate) fn header(first: u64, root: crate::merkle::Hash, track: &WriteTrack) -> Header {
    let (writes, restored) = track.texts();
    Header { v: 1, first, entries: ENTRIES, root: hex::encode(root), bytes: 0, writes, restored }
}

/// Compresses full segments beside the writer; ends when it is dropped.
pub(crate) struct Sealer {
    queue: Option<SyncSender<Header>>,
    thread: Option<JoinHandle<()>>,
}

impl Sealer {
    pub(crate) fn start(directory: PathBuf, meters: Arc<Meters>) -> io::Result<Self> {
        // A writer that outruns the compression waits for it.
        let (queue, headers) = mpsc::sync_channel::<Header>(4);
        let thread = std::thread::Builder::new().name("audit-sealer".into()).spawn(move || {
            for header in headers {
                if let Err(error) = segment::seal(&directory, &header) {
                    add(&meters.failures, 1);
                    tracing::warn!(code = error.code(), "{error}");
                }
            }
        })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    pub(crate) fn seal(&self, header: Header) {
        if let Some(queue) = &self.queue {
            // It ends only with us.
            let _ = queue.send(header);
        }
    }
}

impl Drop for Sealer {
    fn drop(&mut self) {
        self.queue.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
