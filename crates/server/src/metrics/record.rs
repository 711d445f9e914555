//! What the record and the transparency log count about themselves, read when someone asks.

use audit::TransparencyLog;
use ledger::metrics::{COMMIT_BOUNDS_US, Metrics};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use std::{fmt, sync::Arc};

/// The labels of series that have none.
type Bare = Vec<(String, String)>;

#[derive(Debug)]
pub struct RecordMetrics {
    pub record: Arc<Metrics>,
    pub audit: Arc<TransparencyLog>,
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let counter = ConstCounter::new(value);
    let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
    counter.encode(metric)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
    gauge.encode(metric)
}

impl RecordMetrics {
    #[expect(clippy::cast_precision_loss, reason = "seconds of a chart")]
    fn commits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let bounds = COMMIT_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.record.commit_buckets.iter().map(|c| c.get())).collect();
        let (sum, count) = (self.record.commit_us.get() as f64 / 1e6, buckets.iter().map(|(_, n)| n).sum());
        let name = "record_commit_seconds";
        let mut metric = encoder.encode_descriptor(name, "Time of one group commit", None, MetricType::Histogram)?;
        metric.encode_histogram::<Bare>(sum, count, &buckets, None)
    }
}

impl Collector for RecordMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (r, a, e) = (&self.record, self.audit.counters(), &mut encoder);
        counter(e, "record_batches", "Group commits", r.batches.get())?;
        counter(e, "record_groups", "Requests committed", r.groups.get())?;
        counter(e, "record_members", "Resources written", r.members.get())?;
        counter(e, "record_envelope_bytes", "Bytes of envelopes committed", r.bytes.get())?;
        counter(e, "record_conflicts", "Requests refused by their own verdict", r.conflicts.get())?;
        counter(e, "record_reseals", "Documents sealed again", r.reseals.get())?;
        counter(e, "record_bisects", "Batches divided to find an offender", r.bisects.get())?;
        counter(e, "record_unknown_outcomes", "Outcomes looked up by batch identity", r.unknown_outcomes.get())?;
        counter(e, "record_cache_hits", "Reads answered from the cache", r.cache_hits.get())?;
        counter(e, "record_cache_misses", "Reads answered from PostgreSQL", r.cache_misses.get())?;
        gauge(e, "record_cache_bytes", "Bytes in the read cache", r.cache_bytes.get())?;
        gauge(e, "record_queue_length", "Requests waiting for the committer", r.queue_length.get())?;
        gauge(e, "record_sequencer_lag", "Changes not yet in the transparency log", r.sequencer_lag.get())?;
        gauge(e, "record_published_position", "Highest position readers see", r.published.get())?;
        gauge(e, "record_epoch", "Epoch of the lease; 0 while following", r.epoch.get())?;
        gauge(e, "record_leader", "1 while this server holds the lease", r.leading.get())?;
        self.commits(e)?;
        gauge(e, "audit_size", "Leaves of the transparency log", self.audit.size())?;
        counter(e, "audit_positions", "Positions in access entries", a.positions)?;
        counter(e, "audit_syncs", "Device syncs of the transparency log", a.syncs)?;
        counter(e, "audit_failures", "Groups of entries that could not be written", a.failures)
    }
}
