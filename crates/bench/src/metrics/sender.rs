//! A sender of remote write: made-up series, both messages, a few connections that each have their own series.

use crate::stand::{connect, failed};
use model::Result;
use prost::Message as _;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use testkit::prometheus::{Label, Request1, Request2, Sample, Series1, Series2};
use tokio::{sync::Barrier, task::JoinSet};

const PATIENCE: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 4;
/// How far one connection may be ahead of the others: an engine takes what is up to an hour older than its latest.
const AHEAD_MS: i64 = 1_800_000;
/// Samples of one request, as Prometheus sends them.
const BATCH: usize = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    V1,
    V2,
}

/// The labels of one series, the name first.
pub type Series = Vec<(String, String)>;

#[derive(Debug, Clone, Copy, Default)]
pub struct Sent {
    pub samples: u64,
    /// By the Written headers; what a receiver without them took.
    pub written: u64,
}

impl Sent {
    pub fn add(&mut self, other: &Self) {
        self.samples += other.samples;
        self.written += other.written;
    }
}

/// A fleet: a hundred metrics of each cell, with labels like those of an exporter.
#[must_use]
pub fn made_up(count: usize) -> Vec<Series> {
    let series = |number: usize| {
        let (metric, cell) = (number % 100, number / 100);
        let labels = [
            ("__name__", format!("bench_cell_metric_{metric}")),
            ("cell", format!("cell-{cell:05}")),
            ("instance", format!("10.20.{}.{}:9100", cell / 256 % 256, cell % 256)),
            ("job", "gnodeb".to_owned()),
            ("region", format!("region-{}", cell % 7)),
            ("site", format!("site-{:04}", cell / 3)),
            ("slice", ["embb", "urllc", "mmtc"][metric % 3].to_owned()),
            ("vendor", format!("vendor-{}", cell % 4)),
        ];
        labels.map(|(name, value)| (name.to_owned(), value)).to_vec()
    };
    (0..count).map(series).collect()
}

/// Where to, and as whom.
#[derive(Debug, Clone)]
pub struct Sender {
    pub server: SocketAddr,
    pub path: &'static str,
    pub authorization: Option<String>,
    pub message: Message,
}

impl Sender {
    /// A sample of every series at each of `count` times; returns when all are answered.
    pub async fn rounds(&mut self, series: &Arc<Vec<Series>>, times: (i64, i64), count: i64) -> Result<Sent> {
        let share = series.len().div_ceil(CONNECTIONS).max(1);
        let mut workers = JoinSet::new();
        let abreast = Arc::new(Barrier::new(series.len().div_ceil(share)));
        for start in (0..series.len()).step_by(share) {
            let (own, all, abreast) = (self.clone(), Arc::clone(series), Arc::clone(&abreast));
            workers.spawn(async move {
                let end = all.len().min(start + share);
                own.share(&all[start..end], times, count, &abreast).await
            });
        }
        let mut sent = Sent::default();
        while let Some(done) = workers.join_next().await {
            sent.add(&done.map_err(|error| model::Error::bug("a sender ended badly").caused_by(error))??);
        }
        Ok(sent)
    }

    async fn share(
        &self,
        series: &[Series],
        (from_ms, step_ms): (i64, i64),
        count: i64,
        abreast: &Barrier,
    ) -> Result<Sent> {
        let ahead = (AHEAD_MS / step_ms).max(1);
        let mut connection = connect(self.server, PATIENCE).await?;
        let mut sent = Sent::default();
        let mut batches: Vec<Batch> = series.chunks(BATCH).map(|part| Batch::new(self.message, part)).collect();
        for round in 0..count {
            if round % ahead == 0 {
                abreast.wait().await;
            }
            for batch in &mut batches {
                let body = batch.at(from_ms + round * step_ms, round)?;
                let answer = connection.ask(&self.request(&body)).await;
                let answer = answer.map_err(|error| failed(format!("a write was not answered: {error:?}")))?;
                if answer.status != 204 {
                    let said = String::from_utf8_lossy(&answer.body).into_owned();
                    return Err(failed("a write was refused").with("status", answer.status).with("said", said));
                }
                sent.samples += batch.len() as u64;
                let header = answer.header("x-prometheus-remote-write-samples-written");
                sent.written += header.and_then(|text| text.parse().ok()).unwrap_or(batch.len() as u64);
            }
        }
        Ok(sent)
    }

    fn request(&self, body: &[u8]) -> Vec<u8> {
        let (kind, version) = match self.message {
            Message::V1 => ("application/x-protobuf", "0.1.0"),
            Message::V2 => ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
        };
        let login = self.authorization.iter().map(|login| format!("Authorization: {login}\r\n")).collect::<String>();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\n{login}Content-Type: {kind}\r\nContent-Encoding: snappy\r\n\
             X-Prometheus-Remote-Write-Version: {version}\r\nContent-Length: {}\r\n\r\n",
            self.path,
            self.server,
            body.len()
        );
        [head.as_bytes(), body].concat()
    }
}

/// A request whose samples are set anew for each time.
pub enum Batch {
    One(Request1),
    Two(Request2),
}

impl Batch {
    pub fn new(message: Message, series: &[Series]) -> Self {
        let samples = vec![Sample { value: 0.0, timestamp: 0 }];
        match message {
            Message::V1 => {
                let label = |(name, value): &(String, String)| Label { name: name.clone(), value: value.clone() };
                let one =
                    |labels: &Series| Series1 { labels: labels.iter().map(label).collect(), samples: samples.clone() };
                Self::One(Request1 { timeseries: series.iter().map(one).collect() })
            }
            Message::V2 => {
                let mut known = std::collections::HashMap::from([(String::new(), 0)]);
                let mut symbols = vec![String::new()];
                let mut reference = |text: &String| {
                    *known.entry(text.clone()).or_insert_with(|| {
                        symbols.push(text.clone());
                        u32::try_from(symbols.len() - 1).unwrap_or(0)
                    })
                };
                let mut one = |labels: &Series| {
                    let labels_refs =
                        labels.iter().flat_map(|(name, value)| [name, value]).map(&mut reference).collect();
                    Series2 { labels_refs, samples: samples.clone() }
                };
                let timeseries = series.iter().map(&mut one).collect();
                Self::Two(Request2 { symbols, timeseries })
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::One(request) => request.timeseries.len(),
            Self::Two(request) => request.timeseries.len(),
        }
    }

    /// A body of version 1 read into structs, its labels in order with the tenant among them, and written again.
    pub fn again(message: &[u8], tenant: &str) -> Result<Vec<u8>> {
        let request = Request1::decode(message);
        let mut request = request.map_err(|error| failed("a body cannot be read").caused_by(error))?;
        for one in &mut request.timeseries {
            one.labels.retain(|label| label.name != "tenant");
            one.labels.push(Label { name: "tenant".to_owned(), value: tenant.to_owned() });
            one.labels.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        }
        Ok(request.encode_to_vec())
    }

    pub fn at(&mut self, timestamp: i64, round: i64) -> Result<Vec<u8>> {
        let sample = |number: usize| Sample { value: value(number, round), timestamp };
        let message = match self {
            Self::One(request) => {
                request.timeseries.iter_mut().enumerate().for_each(|(at, one)| one.samples[0] = sample(at));
                request.encode_to_vec()
            }
            Self::Two(request) => {
                request.timeseries.iter_mut().enumerate().for_each(|(at, one)| one.samples[0] = sample(at));
                request.encode_to_vec()
            }
        };
        let packed = snap::raw::Encoder::new().compress_vec(&message);
        packed.map_err(|error| failed("a body cannot be compressed").caused_by(error))
    }
}

/// Half of the series are counters, the others move a little around a level, with two digits behind the point.
fn value(number: usize, round: i64) -> f64 {
    let noise = (number as u64).wrapping_mul(0x9e37_79b9).wrapping_add(round.cast_unsigned().wrapping_mul(0x85eb_ca6b));
    let noise = (noise >> 7) % 1_000;
    if number.is_multiple_of(2) { (round * 37) as f64 + (noise % 37) as f64 } else { 50.0 + noise as f64 / 100.0 }
}
