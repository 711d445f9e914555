//! What the copies count about themselves, and the engines of the metrics copy.

use super::record::{gauge, labelled};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use relay::{Relay, knowledge::Embedded, measures::QUERY_BOUNDS_US};
use std::{fmt, sync::Arc};
use stores::metrics::{Contract, Tier};

#[derive(Debug)]
pub struct CopyMetrics {
    pub relay: Arc<Relay>,
    pub series: Arc<Tier>,
}

/// The labels of series that have none.
type Bare = Vec<(String, String)>;
type Count = fn(&Embedded) -> u64;

impl CopyMetrics {
    /// Of all tenants together: they are many, and a series for each would be unbounded.
    #[expect(clippy::cast_precision_loss, reason = "seconds of a chart")]
    fn vectors(&self, e: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let (counts, micros) = self.relay.queries().counted();
        let bounds = QUERY_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let name = "nephkeep_vectors_query_seconds";
        let mut metric = e.encode_descriptor(name, Contract::ours().help(name), None, MetricType::Histogram)?;
        metric.encode_histogram::<Bare>(micros as f64 / 1e6, counts.iter().sum(), &buckets, None)?;
        let name = "nephkeep_vectors_recall_skipped";
        let metric = e.encode_descriptor(name, Contract::ours().help(name), None, MetricType::Counter)?;
        ConstCounter::new(self.relay.recall().skipped()).encode(metric)?;
        let Ok(vectors) = self.relay.vectors() else { return Ok(()) };
        gauge(e, "nephkeep_vectors_graph_bytes", vectors.explained(None).iter().map(|of| of.graph_bytes as u64).sum())?;
        let stats = vectors.stats();
        gauge(e, "nephkeep_vectors_documents", stats.documents as u64)?;
        gauge(e, "nephkeep_vectors_stored", stats.vectors as u64)?;
        gauge(e, "nephkeep_vectors_tombstones", stats.tombstones as u64)?;
        gauge(e, "nephkeep_vectors_dimensions", stats.dimensions as u64)?;
        gauge(e, "nephkeep_vectors_code_bytes", stats.code_bytes as u64)?;
        gauge(e, "nephkeep_vectors_resident_bytes", stats.resident_bytes as u64)?;
        gauge(e, "nephkeep_vectors_disk_bytes", stats.disk_bytes)
    }
}

impl Collector for CopyMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let e = &mut encoder;
        let copies = self.relay.status();
        let whole = |n: u64| ConstGauge::new(i64::try_from(n).unwrap_or(i64::MAX));
        let of_each = || copies.iter().map(|copy| ([("copy", copy.name)], copy));
        labelled(e, "nephkeep_copy_lag_changes", MetricType::Gauge, of_each(), |copy, e| {
            whole(copy.lag_changes).encode(e)
        })?;
        labelled(e, "nephkeep_copy_lag_seconds", MetricType::Gauge, of_each(), |copy, e| {
            ConstGauge::new(copy.lag_seconds).encode(e)
        })?;
        labelled(e, "nephkeep_copy_position", MetricType::Gauge, of_each(), |copy, e| {
            whole(copy.position.map_or(0, |position| position.n)).encode(e)
        })?;
        labelled(e, "nephkeep_copy_stuck", MetricType::Gauge, of_each(), |copy, e| {
            whole(u64::from(copy.error.is_some())).encode(e)
        })?;
        labelled(e, "nephkeep_copy_objects_imported", MetricType::Counter, of_each(), |copy, e| {
            ConstCounter::new(copy.objects_imported).encode(e)
        })?;
        labelled(e, "nephkeep_copy_import_seconds", MetricType::Counter, of_each(), |copy, e| {
            ConstCounter::new(copy.import_time.as_secs_f64()).encode(e)
        })?;
        self.vectors(e)?;
        let asked = || copies.iter().filter_map(|copy| Some(([("copy", copy.name)], copy.embedded?)));
        let counters: [(&str, Count); 3] = [
            ("nephkeep_embedder_texts", |embedded| embedded.asked),
            ("nephkeep_embedder_kept", |embedded| embedded.kept),
            ("nephkeep_embedder_failures", |embedded| embedded.failed),
        ];
        for (name, of) in counters {
            labelled(e, name, MetricType::Counter, asked(), |embedded, e| ConstCounter::new(of(embedded)).encode(e))?;
        }
        let engines = self.series.states();
        let ready = engines.iter().filter(|engine| engine.state == "ready").count();
        gauge(e, "nephkeep_metrics_engines_ready", ready as u64)?;
        let of_each = || engines.iter().map(|engine| ([("class", engine.class)], engine));
        labelled(e, "nephkeep_metrics_engine_restarts", MetricType::Counter, of_each(), |engine, e| {
            ConstCounter::new(engine.restarts).encode(e)
        })
    }
}
