//! What senders said about their metrics, for `/metadata`: kept in memory, bounded, said again by every sender now
//! and then. What we say about ours comes from the contract.

use super::{
    contract::{Contract, MetricType},
    write::Described,
};
use model::Tenant;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const FAMILIES_MOST: usize = 20_000;
const HELP_BYTES: usize = 1_024;
const KINDS: [&str; 8] = ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];

#[derive(Debug, Default)]
pub struct Metadata {
    told: Mutex<BTreeMap<(Tenant, String), Value>>,
}

fn entry(kind: &str, help: &str, unit: &str) -> Value {
    json!({ "type": kind, "help": help, "unit": unit })
}

impl Metadata {
    /// A family that is known already costs a comparison.
    pub fn learn(&self, tenant: &Tenant, described: &[Described]) {
        let mut told = self.told.lock();
        for one in described.iter().filter(|one| one.help.len() <= HELP_BYTES && one.family.len() <= HELP_BYTES) {
            let kind = usize::try_from(one.kind).ok().and_then(|kind| KINDS.get(kind)).copied().unwrap_or("unknown");
            let key = (tenant.clone(), one.family.clone());
            if told.len() < FAMILIES_MOST || told.contains_key(&key) {
                told.insert(key, entry(kind, &one.help, &one.unit));
            }
        }
    }

    /// The data of `/api/v1/metadata`: per family one entry. `ours`: with the platform's own.
    #[must_use]
    pub fn of(&self, tenant: &Tenant, ours: bool, metric: Option<&str>, limit: Option<usize>) -> Value {
        let wanted = |name: &str| metric.is_none_or(|metric| metric == name);
        let mut all = BTreeMap::new();
        if ours {
            let contract = Contract::ours().all().filter(|(name, _)| wanted(name));
            all.extend(contract.map(|(name, m)| (name.to_owned(), entry(kind(m.kind), &m.help, &m.unit))));
        }
        let told = self.told.lock();
        let of_tenant = told.range((tenant.clone(), String::new())..).take_while(|((owner, _), _)| owner == tenant);
        let of_tenant = of_tenant.filter(|((_, family), _)| wanted(family));
        all.extend(of_tenant.map(|((_, family), said)| (family.clone(), said.clone())));
        let most = limit.unwrap_or(usize::MAX);
        Value::Object(all.into_iter().take(most).map(|(name, said)| (name, json!([said]))).collect::<Map<_, _>>())
    }
}

fn kind(kind: MetricType) -> &'static str {
    kind.as_str()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_tenant_sees_what_its_senders_said() {
        let (a, b) = (Tenant::new("a").unwrap(), Tenant::new("b").unwrap());
        let metadata = Metadata::default();
        let said = |help: &str| Described { family: "up".into(), kind: 2, help: help.into(), unit: "x".into() };
        metadata.learn(&a, &[said("old")]);
        metadata.learn(&a, &[said("new"), Described { help: "y".repeat(HELP_BYTES + 1), ..said("") }]);
        assert_eq!(metadata.of(&a, false, None, None), json!({ "up": [entry("gauge", "new", "x")] }));
        assert_eq!(metadata.of(&b, false, None, None), json!({}));
        let ours = metadata.of(&b, true, Some("nephkeep_record_batches_total"), None);
        assert_eq!(ours["nephkeep_record_batches_total"][0]["type"], "counter");
        assert_eq!(metadata.of(&b, true, None, Some(3)).as_object().unwrap().len(), 3);
    }
}
