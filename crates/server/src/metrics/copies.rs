//! What the copies count about themselves, and the engines of the metrics copy.

use super::record::{gauge, labelled};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use relay::Relay;
use std::{fmt, sync::Arc};
use stores::metrics::Tier;

#[derive(Debug)]
pub struct CopyMetrics {
    pub relay: Arc<Relay>,
    pub series: Arc<Tier>,
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
        let engines = self.series.states();
        let ready = engines.iter().filter(|engine| engine.state == "ready").count();
        gauge(e, "nephkeep_metrics_engines_ready", ready as u64)?;
        let of_each = || engines.iter().map(|engine| ([("class", engine.class)], engine));
        labelled(e, "nephkeep_metrics_engine_restarts", MetricType::Counter, of_each(), |engine, e| {
            ConstCounter::new(engine.restarts).encode(e)
        })
    }
}
