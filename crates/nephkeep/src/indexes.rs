//! Settings under `[vectors]`: when a tenant gets a graph, and what its recall is held to.

use model::{Error, Result};
use relay::recall;
use serde::Deserialize;
use std::time::Duration;
use stores::vectors::Policy;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    graph_from: Option<u32>,
    graph_objective_ms: Option<u32>,
    graph_memory_mib: Option<u32>,
    recall_every: Option<u32>,
    recall_target_percent: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Indexes {
    pub policy: Policy,
    pub recall: recall::Settings,
}

impl Eq for Indexes {}

fn malformed(setting: &str, what: &str) -> Error {
    Error::invalid("settings-malformed", what).with("setting", setting)
}

impl Draft {
    /// False: no variable of this section.
    pub fn take(&mut self, name: &str, value: &str) -> Result<bool> {
        let Some(rest) = name.strip_prefix("NEPHKEEP_VECTORS_") else { return Ok(false) };
        let setting = match rest {
            "GRAPH_FROM" => &mut self.graph_from,
            "GRAPH_OBJECTIVE_MS" => &mut self.graph_objective_ms,
            "GRAPH_MEMORY_MIB" => &mut self.graph_memory_mib,
            "RECALL_EVERY" => &mut self.recall_every,
            "RECALL_TARGET_PERCENT" => &mut self.recall_target_percent,
            _ => return Ok(false),
        };
        let number =
            value.parse().map_err(|_| malformed(name, "this setting is a whole number").with("value", value))?;
        *setting = Some(number);
        Ok(true)
    }

    pub fn settle(&self) -> Result<Indexes> {
        let (mut policy, mut recall) = (Policy::default(), recall::Settings::default());
        if let Some(from) = self.graph_from {
            policy.from = (from > 0).then_some(from as usize);
        }
        if let Some(objective) = self.graph_objective_ms {
            policy.objective = Duration::from_millis(u64::from(objective));
        }
        policy.memory = self.graph_memory_mib.map(|mib| u64::from(mib) << 20);
        if let Some(every) = self.recall_every {
            recall.every = u64::from(every);
        }
        if let Some(percent) = self.recall_target_percent {
            if !(50..=99).contains(&percent) {
                let what = "a target of recall lies between 50 and 99 percent";
                return Err(malformed("vectors.recall_target_percent", what).with("value", percent));
            }
            recall.target = f64::from(percent) / 100.0;
        }
        Ok(Indexes { policy, recall })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_not_said_is_as_in_the_engine_and_zero_means_never() {
        let none = Draft::default().settle().unwrap();
        assert_eq!(none, Indexes { policy: Policy::default(), recall: recall::Settings::default() });
        let mut draft = Draft::default();
        for (name, value) in
            [("GRAPH_FROM", "0"), ("GRAPH_MEMORY_MIB", "2"), ("RECALL_EVERY", "0"), ("RECALL_TARGET_PERCENT", "97")]
        {
            assert!(draft.take(&format!("NEPHKEEP_VECTORS_{name}"), value).unwrap());
        }
        let settled = draft.settle().unwrap();
        assert_eq!((settled.policy.from, settled.policy.memory, settled.recall.every), (None, Some(2 << 20), 0));
        assert!((settled.recall.target - 0.97).abs() < 1e-9);
    }

    #[test]
    fn other_variables_are_left_and_wrong_values_named() {
        let mut draft = Draft::default();
        assert!(!draft.take("NEPHKEEP_VECTORS_GRAPH", "1").unwrap() && !draft.take("NEPHKEEP_TEXT", "1").unwrap());
        assert_eq!(draft.take("NEPHKEEP_VECTORS_GRAPH_FROM", "many").unwrap_err().code(), "settings-malformed");
        draft.take("NEPHKEEP_VECTORS_RECALL_TARGET_PERCENT", "100").unwrap();
        assert_eq!(draft.settle().unwrap_err().code(), "settings-malformed");
    }
}
