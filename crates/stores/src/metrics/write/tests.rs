//! Both messages, written by prost's encoder (a second opinion on ours) and read by it again.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::metrics::contract::Retention;
use proptest::prelude::*;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}
#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}
#[derive(Clone, PartialEq, Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}
#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(int64, tag = "15")]
    timestamp: i64,
}
#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<Exemplar>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Histogram>,
}
#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    family: String,
    #[prost(string, tag = "4")]
    help: String,
}
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<Series>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Metadata>,
}
#[derive(Clone, PartialEq, Message)]
struct Exemplar2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}
#[derive(Clone, Copy, PartialEq, Message)]
struct Metadata2 {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, tag = "3")]
    help_ref: u32,
    #[prost(uint32, tag = "4")]
    unit_ref: u32,
}
#[derive(Clone, PartialEq, Message)]
struct Series2 {
    #[prost(uint32, repeated, tag = "1")]
    labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<Histogram>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<Exemplar2>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Metadata2>,
}
#[derive(Clone, PartialEq, Message)]
struct Request2 {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<Series2>,
}

const OLD: Engine = Engine { protocol: Protocol::V1, any_names: false };
const NEW: Engine = Engine { protocol: Protocol::V2, any_names: true };

fn tenant() -> Tenant {
    Tenant::new("a").unwrap()
}

fn packed(message: &impl Message) -> Vec<u8> {
    pack_small(&message.encode_to_vec()).unwrap()
}

fn series(labels: &[(&str, &str)]) -> Series {
    let labels = labels.iter().map(|(name, value)| Label { name: (*name).into(), value: (*value).into() });
    Series { labels: labels.collect(), samples: vec![Sample { value: 1.5, timestamp: 7 }], ..Series::default() }
}

fn v1(batches: &Batches, class: Retention) -> WriteRequest {
    let batch = &batches.by_class[&class];
    WriteRequest::decode(&batch.message(0..batch.len())[..]).unwrap()
}

fn pairs(series: &Series) -> Vec<(&str, &str)> {
    series.labels.iter().map(|label| (label.name.as_str(), label.value.as_str())).collect()
}

/// `up{job, tenant=b}` with everything a series can hold, in version 2.
fn everything() -> Request2 {
    let symbols = ["", "__name__", "up", "job", "x", "tenant", "b", "trace", "t1", "Whether it answers", "bytes"];
    Request2 {
        symbols: symbols.map(str::to_owned).to_vec(),
        timeseries: vec![Series2 {
            labels_refs: vec![1, 2, 3, 4, 5, 6],
            samples: vec![Sample { value: 2.5, timestamp: 9 }, Sample { value: f64::INFINITY, timestamp: 10 }],
            histograms: vec![Histogram { count: 3, sum: 4.5, timestamp: 11 }],
            exemplars: vec![Exemplar2 { labels_refs: vec![7, 8], value: 0.5, timestamp: 9 }],
            metadata: Some(Metadata2 { kind: 2, help_ref: 9, unit_ref: 10 }),
        }],
    }
}

#[test]
fn the_tenant_is_forced_sorted_and_unique() {
    let sent = WriteRequest {
        timeseries: vec![series(&[("zone", "z"), ("__name__", "up"), ("tenant", "b"), ("empty", "")])],
        metadata: vec![Metadata { kind: 2, family: "up".into(), help: "Whether".into() }],
    };
    let batches = decode(Protocol::V1, &packed(&sent), &tenant(), NEW).unwrap();
    let stored = v1(&batches, Retention::Governed);
    assert_eq!(pairs(&stored.timeseries[0]), [("__name__", "up"), ("tenant", "a"), ("zone", "z")]);
    assert_eq!(stored.timeseries[0].samples, sent.timeseries[0].samples);
    assert_eq!((batches.described[0].family.as_str(), batches.described[0].help.as_str()), ("up", "Whether"));
}

#[test]
fn version_2_reaches_an_old_engine_whole() {
    let batches = decode(Protocol::V2, &packed(&everything()), &tenant(), OLD).unwrap();
    let stored = v1(&batches, Retention::Governed);
    let one = &stored.timeseries[0];
    assert_eq!(pairs(one), [("__name__", "up"), ("job", "x"), ("tenant", "a")]);
    assert_eq!(one.samples, everything().timeseries[0].samples);
    assert_eq!(one.histograms, everything().timeseries[0].histograms);
    assert_eq!(one.exemplars[0].labels[0], Label { name: "trace".into(), value: "t1".into() });
    assert_eq!((one.exemplars[0].value.to_bits(), one.exemplars[0].timestamp), (0.5_f64.to_bits(), 9));
    let counts = batches.by_class[&Retention::Governed].counts(0..1);
    assert_eq!(counts, Counts { samples: 2, histograms: 1, exemplars: 1 });
    let told = &batches.described[0];
    assert_eq!((told.family.as_str(), told.help.as_str(), told.unit.as_str()), ("up", "Whether it answers", "bytes"));
}

#[test]
fn version_2_stays_version_2_for_a_new_engine() {
    let batches = decode(Protocol::V2, &packed(&everything()), &tenant(), NEW).unwrap();
    let batch = &batches.by_class[&Retention::Governed];
    let stored = Request2::decode(&batch.message(0..1)[..]).unwrap();
    let refs = stored.timeseries[0].labels_refs.chunks(2);
    let labels: Vec<_> = refs.map(|r| (&*stored.symbols[r[0] as usize], &*stored.symbols[r[1] as usize])).collect();
    assert_eq!(labels, [("__name__", "up"), ("job", "x"), ("tenant", "a")]);
    assert_eq!(stored.timeseries[0].exemplars, everything().timeseries[0].exemplars);
    assert_eq!(stored.timeseries[0].metadata, everything().timeseries[0].metadata);
}

#[test]
fn series_go_to_the_engine_of_their_class() {
    let ours = "nephkeep_record_batches_total";
    let sent = WriteRequest {
        timeseries: vec![series(&[("__name__", "up")]), series(&[("__name__", ours)]), series(&[("__name__", "x")])],
        ..WriteRequest::default()
    };
    let batches = decode(Protocol::V1, &packed(&sent), &tenant(), OLD).unwrap();
    assert_eq!(v1(&batches, Retention::Governed).timeseries.len(), 2);
    assert_eq!(pairs(&v1(&batches, Retention::Platform).timeseries[0])[0], ("__name__", ours));
    let batch = &batches.by_class[&Retention::Governed];
    let second = WriteRequest::decode(&batch.message(1..2)[..]).unwrap();
    assert_eq!(pairs(&second.timeseries[0])[0], ("__name__", "x"));
}

#[test]
fn series_an_engine_would_drop_are_counted_and_the_first_is_named() {
    let bad: [&[(&str, &str)]; 5] = [
        &[("job", "x")],
        &[("__name__", "up"), ("job", "x"), ("job", "y")],
        &[("__name__", "u-p")],
        &[("__name__", "up"), ("j-b", "x")],
        &[("__name__", "up"), ("", "x")],
    ];
    let mut timeseries: Vec<_> = bad.iter().map(|labels| series(labels)).collect();
    timeseries.push(series(&[("__name__", "good")]));
    let sent = WriteRequest { timeseries, ..WriteRequest::default() };
    let batches = decode(Protocol::V1, &packed(&sent), &tenant(), OLD).unwrap();
    assert_eq!((batches.refused.series, batches.refused.counts.samples), (5, 5));
    assert!(batches.refused.first.contains("__name__"), "{}", batches.refused.first);
    assert_eq!(batches.by_class[&Retention::Governed].len(), 1);
    let new = decode(Protocol::V1, &packed(&sent), &tenant(), NEW).unwrap();
    assert_eq!(new.refused.series, 3, "a new engine takes names of any letters");
}

#[test]
fn nonsense_and_bombs_are_refused() {
    let refused = |protocol, body: &[u8]| decode(protocol, body, &tenant(), OLD).map(drop).unwrap_err().code();
    for body in [&b""[..], b"hello", &pack_stored(b"\x0a\xff")] {
        assert_eq!(refused(Protocol::V1, body), "remote-write-malformed");
    }
    let mut bomb = Vec::new();
    wire::put_varint(&mut bomb, DECODED_BYTES as u64 + 1);
    assert_eq!(refused(Protocol::V1, &bomb), "body-too-large");
    let mut wrong = everything();
    wrong.timeseries[0].labels_refs[0] = 99;
    assert_eq!(refused(Protocol::V2, &packed(&wrong)), "remote-write-malformed");
    wrong.timeseries[0].labels_refs = vec![1, 2, 3];
    assert_eq!(refused(Protocol::V2, &packed(&wrong)), "remote-write-malformed");
    wrong = everything();
    wrong.symbols[0] = "x".into();
    assert_eq!(refused(Protocol::V2, &packed(&wrong)), "remote-write-malformed");
}

/// A few bytes for each time a long symbol is used must not become its length each time.
#[test]
fn what_a_table_of_symbols_unfolds_to_is_bounded() {
    let long = "x".repeat(1 << 20);
    let symbols: Vec<String> = ["", "__name__", "up", "job", &long].map(str::to_owned).to_vec();
    let named = |refs: Vec<u32>| Series2 {
        labels_refs: refs,
        samples: vec![Sample { value: 1.0, timestamp: 1 }],
        ..Series2::default()
    };
    let message = |timeseries: Vec<Series2>| packed(&Request2 { symbols: symbols.clone(), timeseries });
    let often = message(vec![named(vec![1, 2, 3, 4]); 100]);
    for engine in [OLD, NEW] {
        let error = decode(Protocol::V2, &often, &tenant(), engine).unwrap_err();
        assert_eq!((error.code(), error.fact("limit")), ("body-too-large", Some("67108864")));
    }
    let some = decode(Protocol::V2, &message(vec![named(vec![1, 2, 3, 4]); 10]), &tenant(), OLD).unwrap();
    assert_eq!(some.by_class[&Retention::Governed].len(), 10);
    // Of one series with a million labels a hundred or so are looked at before it is refused.
    let wide = decode(Protocol::V2, &message(vec![named([3, 4].repeat(1 << 20))]), &tenant(), OLD);
    assert_eq!(wide.unwrap_err().code(), "body-too-large");
    let wide =
        decode(Protocol::V2, &message(vec![named([vec![1, 2], [3, 2].repeat(1 << 20)].concat())]), &tenant(), OLD);
    assert_eq!(wide.unwrap().refused.series, 1);
    let exemplar = Exemplar2 { labels_refs: [3, 4].repeat(1 << 20), value: 1.0, timestamp: 1 };
    let with = Series2 { exemplars: vec![exemplar], ..named(vec![1, 2]) };
    let batches = decode(Protocol::V2, &message(vec![with]), &tenant(), OLD).unwrap();
    assert_eq!((batches.refused.counts.exemplars, batches.refused.counts.samples), (1, 0));
    assert_eq!(batches.by_class[&Retention::Governed].counts(0..1), Counts { samples: 1, ..Counts::default() });
    let empty = Request2 { symbols: vec![String::new(); (1 << 20) + 1], timeseries: Vec::new() };
    assert_eq!(decode(Protocol::V2, &packed(&empty), &tenant(), OLD).unwrap_err().code(), "body-too-large");
}

#[test]
fn content_types_declare_a_version_or_none() {
    let declared = |text: &str| Protocol::declared(Some(text));
    assert_eq!(Protocol::declared(None), Some(Protocol::V1));
    assert_eq!(declared("application/x-protobuf"), Some(Protocol::V1));
    assert_eq!(declared("application/x-protobuf; proto=prometheus.WriteRequest"), Some(Protocol::V1));
    assert_eq!(declared(Protocol::V2.content_type()), Some(Protocol::V2));
    for other in ["application/json", "", "application/x-protobuf;proto=x", "text/x-protobuf"] {
        assert_eq!(declared(other), None, "{other}");
    }
}

proptest! {
    #[test]
    fn no_body_panics(bytes: Vec<u8>) {
        for protocol in [Protocol::V1, Protocol::V2] {
            let _ = decode(protocol, &bytes, &tenant(), OLD);
            let _ = decode(protocol, &pack_stored(&bytes), &tenant(), NEW);
        }
    }

    #[test]
    fn a_stored_block_unpacks_to_itself(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
        prop_assert_eq!(unpack(&pack_stored(&bytes)).unwrap(), bytes);
    }

    #[test]
    fn both_versions_of_the_same_series_are_stored_alike(
        labels in proptest::collection::btree_map("[a-z]{1,8}", "[ -~]{1,12}", 0..6),
        value: f64,
    ) {
        let all: Vec<(&str, &str)> =
            [("__name__", "m")].into_iter().chain(labels.iter().map(|(n, v)| (n.as_str(), v.as_str()))).collect();
        let mut one = series(&all);
        one.samples = vec![Sample { value, timestamp: 1 }];
        let mut symbols = vec![String::new()];
        let mut refs = Vec::new();
        for (name, text) in &all {
            refs.extend([symbols.len() as u32, symbols.len() as u32 + 1]);
            symbols.extend([(*name).to_owned(), (*text).to_owned()]);
        }
        let two = Series2 { labels_refs: refs, samples: one.samples.clone(), ..Series2::default() };
        let first = WriteRequest { timeseries: vec![one], ..WriteRequest::default() };
        let second = Request2 { symbols, timeseries: vec![two] };
        let first = decode(Protocol::V1, &packed(&first), &tenant(), OLD).unwrap();
        let second = decode(Protocol::V2, &packed(&second), &tenant(), OLD).unwrap();
        let bytes = |batches: &Batches| batches.by_class[&Retention::Governed].message(0..1);
        prop_assert_eq!(bytes(&first), bytes(&second));
    }
}
