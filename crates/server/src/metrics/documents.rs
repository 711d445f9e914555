//! What happened to documents, counted from the log by the one who follows it: what is counted, and from where to where
//! in the log, are shown together, so every page can be compared with the record.

use ledger::{ChangeAction, ChangePage};
use model::{Kind, Position, Tenant};
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use std::{collections::BTreeMap, fmt, sync::Arc};

use super::record::labelled;

/// Created, updated, deleted.
type Numbers = [u64; 3];
const INTENTS: [(&str, usize); 3] =
    [("nephkeep_intents_created", 0), ("nephkeep_intents_updated", 1), ("nephkeep_intents_deleted", 2)];

/// Counted since a position, for each tenant.
#[derive(Debug, Default)]
pub struct Documents {
    counted: Mutex<Option<Counted>>,
}

#[derive(Debug)]
struct Counted {
    from: Position,
    through: Position,
    intents: BTreeMap<Tenant, Numbers>,
}

impl Documents {
    /// From here on, from zero.
    pub fn begin(&self, from: Position) {
        *self.counted.lock() = Some(Counted { from, through: from, intents: BTreeMap::new() });
    }

    /// The next page of the log.
    pub fn count(&self, page: &ChangePage) {
        let mut held = self.counted.lock();
        let Some(counted) = held.as_mut() else { return };
        for change in page.changes.iter().filter(|change| change.key.kind == Kind::Intent) {
            let index = match change.action {
                ChangeAction::Created => 0,
                ChangeAction::Updated => 1,
                ChangeAction::Deleted => 2,
                ChangeAction::Fork | ChangeAction::Barrier => continue,
            };
            if !counted.intents.contains_key(&change.key.tenant) {
                counted.intents.insert(change.key.tenant.clone(), Numbers::default());
            }
            if let Some(numbers) = counted.intents.get_mut(&change.key.tenant) {
                numbers[index] += 1;
            }
        }
        counted.through = page.next;
    }
}

/// Shown to the scrape alone: it names tenants.
#[derive(Debug)]
pub struct DocumentMetrics(pub Arc<Documents>);

impl Collector for DocumentMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let held = self.0.counted.lock();
        let Some(counted) = held.as_ref() else { return Ok(()) };
        let e = &mut encoder;
        for (name, index) in INTENTS {
            let of_each =
                counted.intents.iter().map(|(tenant, numbers)| ([("tenant", tenant.as_str())], numbers[index]));
            labelled(e, name, MetricType::Counter, of_each, |count, e| ConstCounter::new(*count).encode(e))?;
        }
        let life = counted.from.incarnation.to_string();
        let places = [
            ("nephkeep_documents_counted_from_position", counted.from.n),
            ("nephkeep_documents_counted_position", counted.through.n),
        ];
        for (name, n) in places {
            let one = std::iter::once(([("incarnation", life.as_str())], n));
            labelled(e, name, MetricType::Gauge, one, |n, e| {
                ConstGauge::new(i64::try_from(*n).unwrap_or(i64::MAX)).encode(e)
            })?;
        }
        Ok(())
    }
}
