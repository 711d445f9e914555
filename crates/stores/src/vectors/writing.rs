//! Writing to a generation: batches are appended and synced, erasures overwrite in place, and a file of which more is
//! dead than alive is written anew.

use super::{
    contents::{Contents, Standing, Waste, remembered},
    file::unusable,
    frame::{self, HEAD, Head, Span, Stored},
    index::VectorIndex,
    table::{Entry, Table},
};
use crate::{
    change::{Body, ChangeBatch, CopyChange, Object, last_of_each},
    digest,
};
use model::{Error, Result, Subject};
use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

/// Dead bytes from which on it is worth it to write the file anew.
const COMPACT_FROM: u64 = 1 << 20;
const BUFFER: usize = 8 << 20;
/// No longer piece is overwritten in place: more than any frame.
const BLANK_MAX: u32 = 256 << 20;

#[derive(Debug, Default)]
pub struct Writer {
    /// A write failed, and what it left at the end could not be cut off.
    torn: bool,
    /// A compaction failed: the next one waits for so many dead bytes.
    compact_from: u64,
}

impl VectorIndex {
    pub(super) fn write(&self, batch: &ChangeBatch) -> Result<()> {
        let mut writer = self.writing.lock();
        // Shaping into frames, sealing and coding take time: nobody waits for a lock meanwhile.
        let (mut frames, mut entries) = self.prepared(batch)?;
        let position = self.contents.read().position;
        let further = position.is_none_or(|at| at.order() < batch.through.order());
        if entries.is_empty() && !further {
            return Ok(());
        }
        // The last frame of every batch: what stands before it is whole.
        frame::put_reached(&mut frames, if further { batch.through } else { position.unwrap_or(batch.through) });
        let begins = self.append(&mut writer, &frames)?;
        let mut contents = self.contents.write();
        contents.end = begins + frames.len() as u64;
        contents.reached(batch.through);
        let mut unreadable = self.unreadable.lock();
        for mut entry in entries.drain(..) {
            entry.span.at += begins;
            entry.objects_at += begins;
            unreadable.remove(&entry.place);
            contents.put(entry);
        }
        drop((contents, unreadable));
        self.compact_if_due(&mut writer);
        Ok(())
    }

    /// The frames of what is new in a batch, and the entries they make, counted from the first of them.
    fn prepared(&self, batch: &ChangeBatch) -> Result<(Vec<u8>, Vec<Entry>)> {
        let (mut frames, mut entries) = (Vec::new(), Vec::new());
        for change in last_of_each(&batch.changes) {
            let (stored, vectors) = self.checked(change)?;
            let place = digest::place(&change.key);
            let standing = self.contents.read().standing(&change.key, place, change.position);
            let known = match standing {
                Standing::Before => false,
                Standing::After => true,
                Standing::Same(span) => self.holds(span, place, &stored, &vectors)?,
            };
            if known {
                continue;
            }
            let at = frames.len() as u64;
            let put = frame::put_key(&mut frames, &self.seal, place, &stored, &vectors)?;
            let (span, objects_at) = (Span { at, length: put.length }, at + put.objects);
            let mut entry = Entry { stored, place, span, objects_at, codes: Vec::new(), factors: Vec::new() };
            entry.encode(&self.rotation, vectors.into_iter());
            entries.push(entry);
        }
        Ok((frames, entries))
    }

    /// The same change again does nothing, unless what the file has of it is not the same: then this mends it.
    fn holds(&self, span: Option<Span>, place: u64, stored: &Stored, vectors: &[&[f32]]) -> Result<bool> {
        let Some(span) = span else { return Ok(stored.ordinals.is_empty()) };
        let bytes = frame_at(&self.contents.read().file, span).map_err(|error| self.unusable(error))?;
        let key = bytes.and_then(|bytes| frame::key(&bytes[HEAD..], place, self.header.dimensions, &self.seal));
        let same = |key: frame::Key| key.stored == *stored && key.vectors.iter().eq(vectors.iter().copied().flatten());
        Ok(key.is_some_and(same))
    }

    fn checked<'c>(&self, change: &'c CopyChange) -> Result<(Stored, Vec<&'c [f32]>)> {
        let (mut ordinals, mut vectors, mut source) = (Vec::new(), Vec::new(), Arc::from(""));
        for Object { ordinal, body } in &change.objects {
            let Body::Vector { model, source: of, values } = body else {
                return Err(
                    Error::bug("an object that is no vector came to the vector copy").with("id", &change.key.id)
                );
            };
            self.check(model, values).map_err(|error| error.with("id", &change.key.id).with("chunk", ordinal))?;
            ordinals.push(*ordinal);
            vectors.push(&**values);
            source = Arc::clone(of);
        }
        let CopyChange { position, version, class, .. } = *change;
        let (key, subject) = (change.key.clone(), change.subject.clone());
        Ok((Stored { key, position, version, class, subject, source, ordinals }, vectors))
    }

    pub(super) fn check(&self, model: &str, values: &[f32]) -> Result<()> {
        if *model != *self.header.model {
            let what = "a vector of another embedding model; this index holds one model only";
            return Err(Error::invalid("vector-other-model", what).with("model", model));
        }
        if values.len() != self.header.dimensions {
            let what = format!("a vector has {} dimensions here", self.header.dimensions);
            return Err(Error::invalid("vector-dimensions", what).with("given", values.len()));
        }
        let length: f32 = values.iter().map(|value| value * value).sum();
        if !length.is_finite() || (length - 1.0).abs() > 1e-3 {
            let what = "a vector has length 1; this one has not, or holds what is no number";
            return Err(Error::invalid("vector-malformed", what));
        }
        Ok(())
    }

    /// Appends and syncs; what is not durable is in no table.
    fn append(&self, writer: &mut Writer, frames: &[u8]) -> Result<u64> {
        let (file, end) = self.file()?;
        if writer.torn {
            file.set_len(end).map_err(|error| self.unusable(error))?;
            writer.torn = false;
        }
        if let Err(error) = file.write_all_at(frames, end).and_then(|()| file.sync_data()) {
            writer.torn = file.set_len(end).is_err();
            return Err(self.unusable(error));
        }
        Ok(end)
    }

    fn file(&self) -> Result<(File, u64)> {
        let contents = self.contents.read();
        let file = contents.file.try_clone().map_err(|error| self.unusable(error))?;
        Ok((file, contents.end))
    }

    /// Out of the tables first: no search finds it from here on. Then every frame of it, and all damage (which may be
    /// of it), is overwritten in place and synced; how many keys it had.
    pub(super) fn wipe(&self, subject: &Subject) -> Result<u64> {
        let mut writer = self.writing.lock();
        let erased = {
            let mut contents = self.contents.write();
            contents.subjects.remove(subject);
            contents.remove(|document| document.stored.subject == *subject)
        };
        let of = |waste: &Waste| waste.subject.as_ref().is_none_or(|of| of == subject);
        let fits = |waste: &Waste| (HEAD as u32..=BLANK_MAX).contains(&waste.span.length);
        let (due, damage, fit) = {
            let contents = self.contents.read();
            let due: Vec<(Span, u64)> =
                contents.waste.iter().filter(|waste| of(waste)).map(|waste| (waste.span, waste.place)).collect();
            let damage = contents.waste.iter().any(|waste| waste.subject.is_none());
            (due, damage, contents.waste.iter().filter(|waste| of(waste)).all(fits))
        };
        if !fit {
            self.compact()?;
            return Ok(erased);
        }
        if damage {
            // What is known of damaged keys goes with their frames: it is said again. What was lost before a frame says
            // already, and it stays: only what goes now is added to it.
            let told = {
                let contents = self.contents.read();
                let nameless = contents.waste.iter().filter(|waste| waste.subject.is_none() && waste.place == 0);
                remembered(&contents.removed_kept(), &contents.missing, nameless.count() as u64)
            };
            let begins = self.append(&mut writer, &told)?;
            self.contents.write().end = begins + told.len() as u64;
        }
        let (file, _) = self.file()?;
        let blanked = due
            .iter()
            .try_for_each(|(span, place)| file.write_all_at(&frame::blank(*place, span.length), span.at))
            .and_then(|()| file.sync_data());
        blanked.map_err(|error| self.unusable(error))?;
        self.contents.write().waste.retain(|waste| !of(waste));
        self.compact_if_due(&mut writer);
        Ok(erased)
    }

    /// What was applied is durable without it: a failure is told and nothing more, and tried again later.
    fn compact_if_due(&self, writer: &mut Writer) {
        let (dead, live) = {
            let contents = self.contents.read();
            (contents.dead(), contents.live)
        };
        if dead <= live || dead <= writer.compact_from.max(COMPACT_FROM) {
            return;
        }
        writer.compact_from = match self.compact() {
            Ok(()) => 0,
            Err(error) => {
                tracing::warn!(code = error.code(), "the vector index could not be written anew: {error}");
                dead + COMPACT_FROM
            }
        };
    }

    /// Writes what lives into a new file in the place of the old one.
    fn compact(&self) -> Result<()> {
        let path = self.path();
        let temporary = path.with_extension("compacting");
        let written = self.rewritten(&temporary).and_then(|fresh| {
            fs::rename(&temporary, &path).map_err(|error| unusable(&path, error))?;
            Ok(fresh)
        });
        match written {
            Ok(fresh) => *self.contents.write() = fresh,
            Err(error) => {
                let _gone = fs::remove_file(&temporary);
                return Err(error);
            }
        }
        self.directory.sync()
    }

    /// Frames are copied as they are; one that is damaged is not, and its key is missing from then on.
    fn rewritten(&self, path: &Path) -> Result<Contents> {
        let failed = |error| unusable(path, error);
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let mut out = Out { file: self.header.create(path)?, bytes: Vec::new(), end: self.header.length() };
        let contents = self.contents.read();
        let (mut moved, mut missing, mut live) = (HashMap::new(), contents.missing.clone(), 0);
        for document in contents.documents() {
            match frame_at(&contents.file, document.span).map_err(|error| self.unusable(error))? {
                Some(bytes) => {
                    moved.insert(document.place, out.end);
                    live += bytes.len() as u64;
                    out.put(&bytes).map_err(failed)?;
                }
                None => {
                    tracing::error!(id = %document.stored.key.id, "a frame of the vector index is damaged; its key is missing");
                    missing.insert(document.place);
                }
            }
        }
        let removed = contents.removed_kept();
        let told = remembered(&removed, &missing, contents.lost);
        out.put(&told).map_err(failed)?;
        let kept = self.header.length() + told.len() as u64;
        if let Some(position) = contents.position {
            let mut reached = Vec::new();
            frame::put_reached(&mut reached, position);
            out.put(&reached).map_err(failed)?;
        }
        let (file, end) = out.end().map_err(failed)?;
        let compacted = |table: &Table| table.compacted(|document| moved.get(&document.place).copied());
        let tables = contents.tables.iter().map(|(tenant, table)| (tenant.clone(), compacted(table))).collect();
        let (position, lost, subjects) = (contents.position, contents.lost, contents.subjects.clone());
        Ok(Contents { file, end, tables, subjects, position, removed, missing, lost, waste: Vec::new(), live, kept })
    }
}

/// A frame as it lies in the file; `None`: it is not what was written there.
fn frame_at(file: &File, span: Span) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; span.length as usize];
    match file.read_exact_at(&mut bytes, span.at) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let whole = Head::read(&bytes).is_some_and(|head| {
        head.whole() == span.length && frame::checksum(bytes.get(HEAD..).unwrap_or_default()) == head.check
    });
    Ok(whole.then_some(bytes))
}

/// A file that is written from its beginning to its end.
struct Out {
    file: File,
    bytes: Vec<u8>,
    end: u64,
}

impl Out {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes.extend(bytes);
        self.end += bytes.len() as u64;
        if self.bytes.len() > BUFFER {
            self.file.write_all(&self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }

    fn end(mut self) -> io::Result<(File, u64)> {
        self.file.write_all(&self.bytes)?;
        self.file.sync_all()?;
        Ok((self.file, self.end))
    }
}
