//! Writing to a generation: a batch is one commit, with the position in it; segments are put together here, in turn with
//! the batches, so that an erasure knows when the last file with a removed row is gone.

use super::{NAMING, index::TextIndex, rows::Held};
use crate::{
    change::{ChangeBatch, CopyChange, last_of_each},
    digest,
};
use model::{Class, Error, Position, Result, Subject};
use std::sync::atomic::Ordering;
use tantivy::{
    IndexWriter,
    indexer::{IndexWriterOptions, LogMergePolicy, MergeCandidate, MergePolicy, NoMergePolicy},
};

/// Of words that are gathered before they are written out.
const GATHERED_BYTES: usize = 32 << 20;
/// Removed keys that are remembered, the latest ones, with room to forget many at once.
const REMOVED_KEPT: usize = 1 << 16;
const REMOVED_MOST: usize = REMOVED_KEPT + REMOVED_KEPT / 4;
/// Segments of fewer rows count as equally small.
const SMALL_ROWS: u32 = 2_000;
/// Removed rows of a segment, as a share, from which on it is written anew.
const REMOVED_SHARE: f32 = 0.3;

impl TextIndex {
    pub(super) fn write(&self, batch: &ChangeBatch) -> Result<()> {
        let mut slot = self.writing.lock();
        let (due, at) = {
            let contents = self.contents.read();
            let after = |change: &&CopyChange| contents.is_after(digest::place(&change.key), change.position);
            let due: Vec<&CopyChange> =
                last_of_each(&batch.changes).into_iter().filter(|change| !after(change)).collect();
            (due, contents.position)
        };
        let further = at.is_none_or(|at| batch.through.order() > at.order());
        if due.is_empty() && !further {
            return Ok(());
        }
        let position = if further { batch.through } else { at.unwrap_or(batch.through) };
        // Taken: after a failure nobody knows what it still holds, and the next batch makes another.
        let mut writer = self.writer(slot.take())?;
        // Before the rows of this batch: what is forgotten may come back in it.
        let forgotten = self.forgotten();
        for place in &forgotten {
            writer.delete_term(self.fields.at(*place));
        }
        let mut held = Vec::with_capacity(due.len());
        for change in &due {
            held.push(self.put(&writer, change)?);
        }
        self.commit(&mut writer, Some(position))?;
        let mut contents = self.contents.write();
        contents.position = Some(position);
        for place in forgotten {
            contents.removed.remove(&place);
        }
        let raised = |change: &&CopyChange| {
            change.class >= Class::Confidential && contents.keys.contains_key(&digest::place(&change.key))
        };
        if due.iter().any(raised) {
            self.unclean.store(true, Ordering::Release);
        }
        for (change, held) in due.iter().zip(held) {
            let place = digest::place(&change.key);
            self.unreadable.lock().remove(&place);
            match held {
                Some(held) => contents.put(place, held),
                None => contents.remove(place, change.position),
            }
        }
        contents.reader.reload().map_err(|error| self.failed(error))?;
        drop(contents);
        if self.unclean.load(Ordering::Acquire) {
            self.purge(&mut writer)?;
            self.unclean.store(false, Ordering::Release);
        }
        *slot = self.merged(writer);
        Ok(())
    }

    fn writer(&self, kept: Option<IndexWriter>) -> Result<IndexWriter> {
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .memory_budget_per_thread(GATHERED_BYTES)
            .num_merge_threads(1)
            .build();
        let writer: IndexWriter = self.index.writer_with_options(options).map_err(|error| self.failed(error))?;
        writer.set_merge_policy(Box::new(NoMergePolicy));
        Ok(writer)
    }

    /// The rows of a state in the place of those that there are of the key.
    fn put(&self, writer: &IndexWriter, change: &CopyChange) -> Result<Option<Held>> {
        let place = digest::place(&change.key);
        writer.delete_term(self.fields.at(place));
        let (rows, held) = if change.objects.is_empty() {
            (vec![self.fields.removed(place, change.position)?], None)
        } else {
            if change.class >= Class::Confidential {
                let what = "a confidential text came to the text copy, which holds texts in clear";
                return Err(Error::bug(what).with("id", &change.key.id));
            }
            let (rows, words) = self.fields.of(change)?;
            (rows, Some(Held::of(change, words)))
        };
        for row in rows {
            writer.add_document(row).map_err(|error| self.failed(error))?;
        }
        Ok(held)
    }

    /// Places of removed keys that need not be remembered any longer.
    fn forgotten(&self) -> Vec<u64> {
        let contents = self.contents.read();
        if contents.removed.len() < REMOVED_MOST {
            return Vec::new();
        }
        let mut removed: Vec<_> =
            contents.removed.iter().map(|(place, at)| (at.incarnation.ordinal, at.n, *place)).collect();
        removed.sort_unstable();
        removed.iter().take(removed.len() - REMOVED_KEPT).map(|(.., place)| *place).collect()
    }

    /// Durable when it returns: the engine syncs its files, and the directory before the last of them is renamed.
    fn commit(&self, writer: &mut IndexWriter, position: Option<Position>) -> Result<()> {
        let mut commit = writer.prepare_commit().map_err(|error| self.failed(error))?;
        if let Some(position) = position {
            commit.set_payload(&position.to_string());
        }
        commit.commit().map_err(|error| self.failed(error))?;
        self.sync()
    }

    fn sync(&self) -> Result<()> {
        NAMING.sync(&self.place())
    }

    /// Puts small segments together. What was applied is durable without it: a failure is told and nothing more.
    fn merged(&self, mut writer: IndexWriter) -> Option<IndexWriter> {
        match self.merge_due(&mut writer) {
            Ok(()) => Some(writer),
            Err(error) => {
                tracing::warn!(code = error.code(), "parts of the text index were not put together: {error}");
                None
            }
        }
    }

    fn merge_due(&self, writer: &mut IndexWriter) -> Result<()> {
        let mut policy = LogMergePolicy::default();
        policy.set_min_layer_size(SMALL_ROWS);
        policy.set_del_docs_ratio_before_merge(REMOVED_SHARE);
        let mut segments = self.index.searchable_segment_metas().map_err(|error| self.failed(error))?;
        let damage = self.damage.read().clone();
        segments.retain(|segment| {
            let id = segment.id();
            !damage.searched.contains(&id) && !damage.stored.contains(&id)
        });
        let due = policy.compute_merge_candidates(&segments);
        drop(segments);
        if due.is_empty() {
            return Ok(());
        }
        for MergeCandidate(segments) in due {
            writer.merge(&segments).wait().map_err(|error| self.failed(error))?;
        }
        self.contents.write().reader.reload().map_err(|error| self.failed(error))
    }

    /// Out of every search first; then every segment that holds a removed row is written anew, whoever it was of, and
    /// the files before it are removed. How many keys the subject had.
    pub(super) fn wipe(&self, subject: &Subject) -> Result<u64> {
        let mut slot = self.writing.lock();
        let (due, at) = {
            let contents = self.contents.read();
            let of = contents.keys.iter().filter(|(_, held)| held.subject == *subject);
            let due: Vec<(u64, Position)> = of.map(|(place, held)| (*place, held.position)).collect();
            (due, contents.position)
        };
        let mut writer = self.writer(slot.take())?;
        for (place, position) in &due {
            writer.delete_term(self.fields.at(*place));
            let row = self.fields.removed(*place, *position)?;
            writer.add_document(row).map_err(|error| self.failed(error))?;
        }
        if !due.is_empty() {
            self.commit(&mut writer, at)?;
            let mut contents = self.contents.write();
            due.iter().for_each(|(place, position)| contents.remove(*place, *position));
            contents.reader.reload().map_err(|error| self.failed(error))?;
        }
        self.purge(&mut writer)?;
        *slot = Some(writer);
        Ok(due.len() as u64)
    }

    /// Writes every segment with a removed row anew: until then its files hold what the row was.
    fn purge(&self, writer: &mut IndexWriter) -> Result<()> {
        let segments = self.index.searchable_segment_metas().map_err(|error| self.failed(error))?;
        let with_removed = segments.iter().filter(|segment| segment.num_deleted_docs() > 0);
        let with_removed: Vec<_> = with_removed.map(tantivy::index::SegmentMeta::id).collect();
        drop(segments);
        for segment in with_removed {
            writer.merge(&[segment]).wait().map_err(|error| self.failed(error))?;
        }
        // Nobody reads the files from before now: searches hold this lock while they read.
        self.contents.write().reader.reload().map_err(|error| self.failed(error))?;
        writer.garbage_collect_files().wait().map_err(|error| self.failed(error))?;
        self.sync()
    }
}
