//! What the record, the transparency log and the event tier count about themselves, read when someone asks.

use audit::TransparencyLog;
use ledger::metrics::{COMMIT_BOUNDS_US, Metrics};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use relay::events::Events;
use std::{fmt, sync::Arc};
use stores::metrics::Contract;

/// The labels of series that have none.
type Bare = Vec<(String, String)>;

#[derive(Debug)]
pub struct RecordMetrics {
    pub record: Arc<Metrics>,
    pub audit: Arc<TransparencyLog>,
    pub events: Arc<Events>,
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, value: u64) -> fmt::Result {
    let counter = ConstCounter::new(value);
    let metric = encoder.encode_descriptor(name, Contract::ours().help(name), None, counter.metric_type())?;
    counter.encode(metric)
}

pub(super) fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    let metric = encoder.encode_descriptor(name, Contract::ours().help(name), None, gauge.metric_type())?;
    gauge.encode(metric)
}

/// One series for each item, under its labels.
pub(super) fn labelled<'i, T: 'i, const N: usize>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    kind: MetricType,
    items: impl Iterator<Item = ([(&'static str, &'i str); N], T)>,
    encode: impl Fn(&T, MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, Contract::ours().help(name), None, kind)?;
    for (labels, item) in items {
        encode(&item, family.encode_family(&labels)?)?;
    }
    Ok(())
}

impl RecordMetrics {
    #[expect(clippy::cast_precision_loss, reason = "seconds of a chart")]
    fn commits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let bounds = COMMIT_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.record.commit_buckets.iter().map(|c| c.get())).collect();
        let (sum, count) = (self.record.commit_us.get() as f64 / 1e6, buckets.iter().map(|(_, n)| n).sum());
        let name = "nephkeep_record_commit_seconds";
        let mut metric = encoder.encode_descriptor(name, Contract::ours().help(name), None, MetricType::Histogram)?;
        metric.encode_histogram::<Bare>(sum, count, &buckets, None)
    }
}

impl RecordMetrics {
    #[expect(clippy::cast_precision_loss, reason = "seconds of a chart")]
    fn upkeep(&self, e: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let r = &self.record;
        gauge(e, "nephkeep_record_upkeep_last_run_timestamp_seconds", r.upkeep_last_run.get())?;
        counter(e, "nephkeep_record_upkeep_runs", r.upkeep_runs.get())?;
        counter(e, "nephkeep_record_upkeep_failures", r.upkeep_failures.get())?;
        counter(e, "nephkeep_record_upkeep_tables_vacuumed", r.upkeep_vacuumed.get())?;
        counter(e, "nephkeep_record_upkeep_tables_analyzed", r.upkeep_analyzed.get())?;
        counter(e, "nephkeep_record_upkeep_cut_short", r.upkeep_cut_short.get())?;
        counter(e, "nephkeep_record_upkeep_yielded", r.upkeep_yielded.get())?;
        gauge(e, "nephkeep_record_upkeep_tables_waiting", r.upkeep_waiting.get())?;
        let (name, seconds) = ("nephkeep_record_upkeep_seconds", ConstCounter::new(r.upkeep_ms.get() as f64 / 1e3));
        seconds.encode(e.encode_descriptor(name, Contract::ours().help(name), None, seconds.metric_type())?)
    }
}

impl Collector for RecordMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (r, a, e) = (&self.record, self.audit.counters(), &mut encoder);
        counter(e, "nephkeep_record_batches", r.batches.get())?;
        counter(e, "nephkeep_record_groups", r.groups.get())?;
        counter(e, "nephkeep_record_members", r.members.get())?;
        counter(e, "nephkeep_record_envelope_bytes", r.bytes.get())?;
        counter(e, "nephkeep_record_conflicts", r.conflicts.get())?;
        counter(e, "nephkeep_record_reseals", r.reseals.get())?;
        counter(e, "nephkeep_record_bisects", r.bisects.get())?;
        counter(e, "nephkeep_record_unknown_outcomes", r.unknown_outcomes.get())?;
        counter(e, "nephkeep_record_cache_hits", r.cache_hits.get())?;
        counter(e, "nephkeep_record_cache_misses", r.cache_misses.get())?;
        gauge(e, "nephkeep_record_cache_bytes", r.cache_bytes.get())?;
        gauge(e, "nephkeep_record_queue_length", r.queue_length.get())?;
        gauge(e, "nephkeep_record_sequencer_lag", r.sequencer_lag.get())?;
        gauge(e, "nephkeep_record_published_position", r.published.get())?;
        gauge(e, "nephkeep_record_epoch", r.epoch.get())?;
        gauge(e, "nephkeep_record_leader", r.leading.get())?;
        self.commits(e)?;
        gauge(e, "nephkeep_audit_size", self.audit.size())?;
        counter(e, "nephkeep_audit_positions", a.positions)?;
        counter(e, "nephkeep_audit_syncs", a.syncs)?;
        counter(e, "nephkeep_audit_failures", a.failures)?;
        gauge(e, "nephkeep_audit_expiry_last_run_timestamp_seconds", r.expiry_last_run.get())?;
        counter(e, "nephkeep_audit_expiry_failures", r.expiry_failures.get())?;
        counter(e, "nephkeep_audit_months_dropped", r.expiry_dropped.get())?;
        gauge(e, "nephkeep_audit_months_held_back", r.expiry_held_back.get())?;
        self.upkeep(e)?;
        let events = self.events.counted();
        counter(e, "nephkeep_events_delivered", events.delivered)?;
        counter(e, "nephkeep_events_polls", events.polls)?;
        counter(e, "nephkeep_events_commits", events.commits)?;
        counter(e, "nephkeep_events_fenced", events.fenced)?;
        counter(e, "nephkeep_events_opened", events.opened)
    }
}
