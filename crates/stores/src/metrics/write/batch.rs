//! Series for one engine, encoded one after the other, so that any run of them is a message.

use super::{DECODED_BYTES, Protocol, labels::Labels};
use crate::metrics::{contract::Retention, wire};
use model::{Error, Result};
use std::{collections::BTreeMap, ops::Range};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub samples: u64,
    pub histograms: u64,
    pub exemplars: u64,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.samples += other.samples;
        self.histograms += other.histograms;
        self.exemplars += other.exemplars;
    }

    #[must_use]
    pub fn all(self) -> u64 {
        self.samples + self.histograms + self.exemplars
    }
}

/// Why series were not even sent on: how many, and the first reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    pub series: u64,
    pub counts: Counts,
    pub first: String,
}

/// What a sender says about a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub family: String,
    pub kind: u64,
    pub help: String,
    pub unit: String,
}

#[derive(Debug)]
pub struct Batch {
    pub protocol: Protocol,
    /// Before every run of series: the symbols of version 2.
    head: Vec<u8>,
    body: Vec<u8>,
    /// Where each series ends, and what it holds.
    series: Vec<(usize, Counts)>,
}

/// One body, taken apart.
#[derive(Debug)]
pub struct Batches {
    protocol: Protocol,
    pub by_class: BTreeMap<Retention, Batch>,
    pub refused: Refusal,
    pub described: Vec<Described>,
    /// What references into the table of symbols came to, written out.
    unfolded: usize,
}

impl Batches {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self { protocol, by_class: BTreeMap::new(), refused: Refusal::default(), described: Vec::new(), unfolded: 0 }
    }

    pub(super) fn of(&mut self, class: Retention, head: impl FnOnce() -> Vec<u8>) -> &mut Batch {
        let protocol = self.protocol;
        self.by_class.entry(class).or_insert_with(|| Batch {
            protocol,
            head: head(),
            body: Vec::new(),
            series: Vec::new(),
        })
    }

    /// A symbol costs its sender two bytes each time, and us its length: no body becomes more than a body of version 1
    /// may be.
    pub(super) fn unfold(&mut self, bytes: usize) -> Result<()> {
        self.unfolded = self.unfolded.saturating_add(bytes);
        if self.unfolded > DECODED_BYTES {
            let what = "the labels of this body are too large when they are written out; send smaller batches";
            return Err(Error::invalid("body-too-large", what).with("limit", DECODED_BYTES));
        }
        Ok(())
    }

    pub(super) fn refuse_exemplars(&mut self, count: u64) {
        if count > 0 && self.refused.first.is_empty() {
            "the labels of an exemplar are too long".clone_into(&mut self.refused.first);
        }
        self.refused.counts.exemplars += count;
    }

    pub(super) fn refuse(&mut self, labels: &Labels<'_>, counts: Counts, why: &'static str) {
        if self.refused.first.is_empty() {
            self.refused.first = format!("{}: {why}", labels.shown());
        }
        self.refused.series += 1;
        self.refused.counts.add(counts);
    }
}

impl Batch {
    /// Appends one series: its labels in the batch's version, then its other fields.
    pub(super) fn push(&mut self, labels: &[u8], rest: &[u8], counts: Counts) {
        let number = if self.protocol == Protocol::V1 { 1 } else { 5 };
        wire::put_head(&mut self.body, number, labels.len() + rest.len());
        self.body.extend_from_slice(labels);
        self.body.extend_from_slice(rest);
        self.series.push((self.body.len(), counts));
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The message of a run of series.
    #[must_use]
    pub fn message(&self, run: Range<usize>) -> Vec<u8> {
        let begin = run.start.checked_sub(1).map_or(0, |before| self.series[before].0);
        let end = run.end.checked_sub(1).map_or(0, |last| self.series[last].0);
        let mut message = Vec::with_capacity(self.head.len() + end - begin);
        message.extend_from_slice(&self.head);
        message.extend_from_slice(&self.body[begin..end]);
        message
    }

    #[must_use]
    pub fn counts(&self, run: Range<usize>) -> Counts {
        let mut counts = Counts::default();
        self.series[run].iter().for_each(|(_, held)| counts.add(*held));
        counts
    }
}
