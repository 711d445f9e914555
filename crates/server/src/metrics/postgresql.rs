//! What the record's PostgreSQL says of itself, as the collector of the ledger has just read it.

use ledger::{Ledger, collector::Family};
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use std::{fmt, sync::Arc};
use stores::metrics::{self, Contract};

/// Reads before the page is printed; printing waits for nothing.
#[derive(Debug)]
pub struct Postgresql {
    collector: ledger::collector::Collector,
    shown: Arc<Mutex<Vec<Family>>>,
}

impl Postgresql {
    #[must_use]
    pub fn new(ledger: &Ledger) -> Self {
        Self { collector: ledger.collector(), shown: Arc::default() }
    }

    pub async fn refresh(&self) {
        *self.shown.lock() = self.collector.families().await;
    }

    /// What prints what was read last.
    #[must_use]
    pub fn shown(&self) -> PostgresqlMetrics {
        PostgresqlMetrics(Arc::clone(&self.shown))
    }
}

#[derive(Debug)]
pub struct PostgresqlMetrics(Arc<Mutex<Vec<Family>>>);

impl Collector for PostgresqlMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.lock().iter().try_for_each(|family| encode(&mut encoder, family))
    }
}

/// A counter's name is given without `_total`. Counters of postgres_exporter that have none in their name are of
/// unknown type here: the exposition would add it.
fn encode(encoder: &mut DescriptorEncoder<'_>, family: &Family) -> fmt::Result {
    let contract = Contract::ours();
    let kind = contract.family(family.name).map_or(metrics::MetricType::Unknown, |metric| metric.kind);
    let (name, kind) = match (kind, family.name.strip_suffix("_total")) {
        (metrics::MetricType::Counter, Some(stem)) => (stem, MetricType::Counter),
        (metrics::MetricType::Gauge, _) => (family.name, MetricType::Gauge),
        _ => (family.name, MetricType::Unknown),
    };
    let mut described = encoder.encode_descriptor(name, contract.help(family.name), None, kind)?;
    if family.labels.is_empty() {
        return family.series.first().map_or(Ok(()), |(_, value)| number(*value, kind, described));
    }
    for (values, value) in &family.series {
        let labels: Vec<(&str, &str)> = family.labels.iter().copied().zip(values.iter().map(String::as_str)).collect();
        number(*value, kind, described.encode_family(&labels)?)?;
    }
    Ok(())
}

fn number(value: f64, kind: MetricType, encoder: MetricEncoder<'_>) -> fmt::Result {
    match kind {
        MetricType::Counter => ConstCounter::new(value).encode(encoder),
        _ => ConstGauge::new(value).encode(encoder),
    }
}
