//! Real Prometheus children for tests, and remote write's bodies by prost's encoder: a second opinion on our own.

use crate::skipped::skipped;
use bytes::Bytes;
use prost::Message;
use std::path::Path;
use stores::metrics::{Options, Place, Program, Retention, State, Tier};

/// Whether there is no program; then the test says that it is skipped.
#[must_use]
pub fn missing() -> bool {
    let missing = Program::find(None).is_err();
    if missing {
        skipped("engine missing: no prometheus program");
    }
    missing
}

#[must_use]
pub fn open(directory: &Path) -> Tier {
    Tier::open(&Place::Local(directory.join("metrics")), Options::default())
}

pub async fn ready(tier: &Tier) {
    for class in Retention::ALL {
        let mut state = tier.watch(class).unwrap();
        state.wait_for(|state| matches!(state, State::Ready { .. })).await.unwrap();
    }
}

#[must_use]
pub fn now_ms() -> i64 {
    crate::clock::wall().as_millisecond()
}

#[derive(Clone, PartialEq, Message)]
pub struct Label {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Sample {
    #[prost(double, tag = "1")]
    pub value: f64,
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Series1 {
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
}

/// A request of version 1.
#[derive(Clone, PartialEq, Message)]
pub struct Request1 {
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<Series1>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Series2 {
    #[prost(uint32, repeated, tag = "1")]
    pub labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
}

/// A request of version 2.
#[derive(Clone, PartialEq, Message)]
pub struct Request2 {
    #[prost(string, repeated, tag = "4")]
    pub symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    pub timeseries: Vec<Series2>,
}

/// Labels, value and time of the one sample of a series.
pub type Series<'s> = (&'s [(&'s str, &'s str)], f64, i64);

fn sample(value: f64, timestamp: i64) -> Vec<Sample> {
    vec![Sample { value, timestamp }]
}

/// A body of version 1.
#[must_use]
pub fn version_1(series: &[Series<'_>]) -> Bytes {
    let label = |(name, value): &(&str, &str)| Label { name: (*name).to_owned(), value: (*value).to_owned() };
    let one = |(labels, value, at): &Series<'_>| Series1 {
        labels: labels.iter().map(label).collect(),
        samples: sample(*value, *at),
    };
    packed(&Request1 { timeseries: series.iter().map(one).collect() }.encode_to_vec())
}

/// The same as version 2.
#[must_use]
pub fn version_2(series: &[Series<'_>]) -> Bytes {
    let mut symbols = vec![String::new()];
    let mut reference = |text: &str| {
        symbols.push(text.to_owned());
        u32::try_from(symbols.len() - 1).unwrap()
    };
    let mut timeseries = Vec::new();
    for (labels, value, at) in series {
        let labels_refs = labels.iter().flat_map(|(name, value)| [*name, *value]).map(&mut reference).collect();
        timeseries.push(Series2 { labels_refs, samples: sample(*value, *at) });
    }
    packed(&Request2 { symbols, timeseries }.encode_to_vec())
}

/// A snappy block.
#[must_use]
pub fn packed(message: &[u8]) -> Bytes {
    snap::raw::Encoder::new().compress_vec(message).unwrap().into()
}
