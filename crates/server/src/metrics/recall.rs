//! Whether searches of the vector index find what there is, for each tenant: what the recall monitor has measured.

use super::record::labelled;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use relay::{
    Relay,
    recall::{Figures, Shown},
};
use std::{fmt, sync::Arc};

/// Shown to the scrape alone: it names tenants.
#[derive(Debug)]
pub struct RecallMetrics(pub Arc<Relay>);

type Figure = fn(&Figures) -> Option<f64>;
type Number = fn(&Shown) -> u64;

#[expect(clippy::cast_precision_loss, reason = "a few hundred samples")]
const FIGURES: [(&str, Figure); 5] = [
    ("nephkeep_vectors_recall_mean", |figures| Some(figures.mean)),
    ("nephkeep_vectors_recall_p5", |figures| Some(figures.p5)),
    ("nephkeep_vectors_recall_lower_bound", |figures| figures.bound),
    ("nephkeep_vectors_recall_samples", |figures| Some(figures.n as f64)),
    ("nephkeep_vectors_recall_without_any", |figures| Some(figures.zero as f64)),
];
const EFFORT: [(&str, Number); 2] = [
    ("nephkeep_vectors_effort_ef", |shown| shown.effort.ef as u64),
    ("nephkeep_vectors_effort_rescore", |shown| shown.effort.rescore as u64),
];
const COUNTED: [(&str, Number); 2] =
    [("nephkeep_vectors_ghosts", |shown| shown.ghosts), ("nephkeep_vectors_unfound", |shown| shown.missing)];

impl Collector for RecallMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let shown = self.0.recall().shown();
        let e = &mut encoder;
        for (name, figure) in FIGURES {
            let figure = |shown: &Shown| shown.figures.as_ref().and_then(figure);
            let of_each = shown.iter().filter_map(|of| Some(([("tenant", of.tenant.as_str())], figure(of)?)));
            labelled(e, name, MetricType::Gauge, of_each, |value, e| ConstGauge::new(*value).encode(e))?;
        }
        for (name, number) in EFFORT {
            let of_each = shown.iter().map(|of| ([("tenant", of.tenant.as_str())], number(of)));
            labelled(e, name, MetricType::Gauge, of_each, |n, e| {
                ConstGauge::new(i64::try_from(*n).unwrap_or(i64::MAX)).encode(e)
            })?;
        }
        for (name, number) in COUNTED {
            let of_each = shown.iter().map(|of| ([("tenant", of.tenant.as_str())], number(of)));
            labelled(e, name, MetricType::Counter, of_each, |n, e| ConstCounter::new(*n).encode(e))?;
        }
        Ok(())
    }
}
