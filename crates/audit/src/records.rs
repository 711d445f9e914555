//! A group of encoded entries on its way to the segment: encoded and hashed by whoever appends, not by the writer.

use crate::{
    codec,
    entry::Entry,
    merkle::{Hash, leaf_hash},
    segment,
    track::Step,
};
use model::Result;

/// Entries in bundle form (u16 length, bytes), with their ends, leaf hashes and what concerns the write track.
#[derive(Debug, Default)]
pub(crate) struct Records {
    bundle: Vec<u8>,
    ends: Vec<usize>,
    hashes: Vec<Hash>,
    steps: Vec<(usize, Step)>,
}

impl Records {
    pub(crate) fn encode(entries: &[Entry]) -> Result<Self> {
        let mut records = Self::default();
        for entry in entries {
            records.push(|out| codec::encode_into(out, entry))?;
            if let Some(step) = Step::of(entry) {
                records.steps.push((records.count() - 1, step));
            }
        }
        Ok(records)
    }

    pub(crate) fn push(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        let start = self.bundle.len();
        self.bundle.extend_from_slice(&[0, 0]);
        if let Err(error) = encode(&mut self.bundle) {
            self.bundle.truncate(start);
            return Err(error);
        }
        let length = u16::try_from(self.bundle.len() - start - 2).unwrap_or(u16::MAX);
        self.bundle[start..start + 2].copy_from_slice(&length.to_be_bytes());
        self.hashes.push(leaf_hash(&self.bundle[start + 2..]));
        self.ends.push(self.bundle.len());
        Ok(())
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        let (offset, count) = (self.bundle.len(), self.count());
        self.bundle.extend_from_slice(&other.bundle);
        self.ends.extend(other.ends.iter().map(|end| end + offset));
        self.hashes.extend_from_slice(&other.hashes);
        self.steps.extend(other.steps.iter().map(|(index, step)| (index + count, *step)));
    }

    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bundle.len()
    }

    pub(crate) fn steps(&self) -> &[(usize, Step)] {
        &self.steps
    }

    pub(crate) fn hashes(&self, low: usize, high: usize) -> &[Hash] {
        &self.hashes[low..high]
    }

    fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.ends[index - 1] }
    }

    /// Entries `low..high` in bundle form.
    pub(crate) fn bundle(&self, low: usize, high: usize) -> &[u8] {
        &self.bundle[self.start(low)..self.start(high)]
    }

    /// Entries `low..high` as segment records.
    pub(crate) fn segment(&self, low: usize, high: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bundle(low, high).len() + 4 * (high - low));
        for index in low..high {
            segment::put_record(&mut out, &self.bundle[self.start(index) + 2..self.ends[index]], &self.hashes[index]);
        }
        out
    }
}
