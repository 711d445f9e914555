//! Batches on their way to an engine, and what became of them.

use super::{Batch, Counts, Protocol, pack_small, pack_stored};
use crate::metrics::engine::Engine as Target;
use http::{StatusCode, header};
use model::{Error, Result};
use std::ops::Range;

/// Requests one bad batch may cost: enough to find some ten offenders among thousands. The runs left then are sent
/// whole, once each; what is refused of them is refused unsorted, and that is told.
const HALVINGS: usize = 64;
/// What repeating never makes good. Everything else is repeated: another status says something about the engine, the
/// way to it or our rights there, not about the samples.
const OF_SAMPLES: [StatusCode; 4] =
    [StatusCode::BAD_REQUEST, StatusCode::CONFLICT, StatusCode::PAYLOAD_TOO_LARGE, StatusCode::UNPROCESSABLE_ENTITY];
const STATED: [&str; 3] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
    "x-prometheus-remote-write-exemplars-written",
];

/// Words of engines that answer 500 for a sample no repetition will make good (2.42 does so for one too old).
const SAMPLE_FAULTS: [&str; 4] = ["too old sample", "out of bounds", "out of order sample", "duplicate sample"];

/// What an engine did with a batch.
#[derive(Debug, Default)]
pub struct Sent {
    pub written: Counts,
    /// Not stored, and sending it again will not help.
    pub refused: Counts,
    /// Of those: refused together with an offender, not found to be one.
    pub unsorted: Counts,
    /// The first thing the engine said about that.
    pub why: String,
}

enum Reply {
    Taken(Option<Counts>),
    Refused(Option<Counts>, String),
}

/// Sends a whole batch. An error means that the rest may be sent again: what was stored already is stored twice
/// without harm, being the same sample.
pub async fn send(target: &Target, batch: &Batch) -> Result<Sent> {
    let mut sent = Sent::default();
    let mut waiting: Vec<_> = std::iter::once(0..batch.len()).collect();
    let mut requests = 0;
    while let Some(run) = waiting.pop() {
        let counts = batch.counts(run.clone());
        requests += 1;
        match post(target, batch, run.clone()).await? {
            Reply::Taken(stated) => sent.written.add(stated.unwrap_or(counts)),
            // It says what it stored in spite of that: there is nothing to find.
            Reply::Refused(Some(stated), why) => {
                sent.written.add(stated);
                sent.refused.add(less(counts, stated));
                sent.note(why);
            }
            Reply::Refused(None, why) if run.len() == 1 => {
                sent.refused.add(counts);
                sent.note(why);
            }
            Reply::Refused(None, why) if requests > HALVINGS => {
                sent.refused.add(counts);
                sent.unsorted.add(counts);
                sent.note(why);
            }
            Reply::Refused(None, why) => {
                sent.note(why);
                let middle = run.start + run.len() / 2;
                waiting.push(middle..run.end);
                waiting.push(run.start..middle);
            }
        }
    }
    Ok(sent)
}

impl Sent {
    fn note(&mut self, why: String) {
        if self.why.is_empty() {
            self.why = why;
        }
    }
}

fn less(all: Counts, some: Counts) -> Counts {
    Counts {
        samples: all.samples.saturating_sub(some.samples),
        histograms: all.histograms.saturating_sub(some.histograms),
        exemplars: all.exemplars.saturating_sub(some.exemplars),
    }
}

async fn post(target: &Target, batch: &Batch, run: Range<usize>) -> Result<Reply> {
    let message = batch.message(run);
    let body = if target.is_local() { pack_stored(&message) } else { pack_small(&message)? };
    let request = target
        .post_write()
        .header(header::CONTENT_TYPE, batch.protocol.content_type())
        .header(header::CONTENT_ENCODING, "snappy")
        .header("x-prometheus-remote-write-version", batch.protocol.version())
        .body(body);
    let response = request.send().await.map_err(|error| target.unreachable(error))?;
    let (status, stated) = (response.status(), stated(&response, batch.protocol));
    if status.is_success() {
        return Ok(Reply::Taken(stated));
    }
    let words = first_line(&response.text().await.unwrap_or_default());
    let of_sample = SAMPLE_FAULTS.iter().any(|fault| words.contains(fault));
    if of_sample || OF_SAMPLES.contains(&status) {
        return Ok(Reply::Refused(stated, words));
    }
    let what = "the metrics engine could not store the samples; send them again";
    Err(Error::retry("metrics-engine-failed", what).with("status", status.as_u16()).with("said", words))
}

/// Only receivers of version 2 state what they wrote; all three headers or none.
fn stated(response: &reqwest::Response, protocol: Protocol) -> Option<Counts> {
    let number = |name: &str| response.headers().get(name)?.to_str().ok()?.parse().ok();
    let [samples, histograms, exemplars] = STATED.map(number);
    if protocol == Protocol::V1 && samples.is_none() {
        return None;
    }
    Some(Counts { samples: samples?, histograms: histograms.unwrap_or(0), exemplars: exemplars.unwrap_or(0) })
}

/// An engine's words name series and times, no values.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}
