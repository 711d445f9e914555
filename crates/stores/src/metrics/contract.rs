//! The contract of our own metrics, `metrics.toml`: names, types, units, help and retention class stand there once.

use model::{Error, Result};
use serde::Deserialize;
use std::{collections::BTreeMap, sync::OnceLock};

const TEXT: &str = include_str!("../../../../metrics.toml");
/// What exposition adds to the name of a family.
const SUFFIXES: [&str; 4] = ["_bucket", "_sum", "_count", "_created"];

/// How long a series is kept (ADR-009): 2 years, or 5 for the platform's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Retention {
    Governed,
    Platform,
}

impl Retention {
    pub const ALL: [Self; 2] = [Self::Governed, Self::Platform];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governed => "governed",
            Self::Platform => "platform",
        }
    }

    #[must_use]
    pub fn days(self) -> u32 {
        match self {
            Self::Governed => 731,
            Self::Platform => 1827,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricType {
    Counter,
    Gauge,
    Histogram,
    Info,
    Unknown,
}

impl MetricType {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
            Self::Unknown => "unknown",
        }
    }
}

/// One metric of ours.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    #[serde(rename = "type")]
    pub kind: MetricType,
    #[serde(default)]
    pub unit: String,
    pub help: String,
    pub class: Retention,
    #[serde(default)]
    pub labels: Vec<String>,
    /// Said of one that is not always shown: since when it is.
    #[serde(default)]
    pub when: Option<String>,
}

#[derive(Debug, Default)]
pub struct Contract {
    metrics: BTreeMap<String, Metric>,
}

impl Contract {
    /// The one this was built with.
    #[must_use]
    pub fn ours() -> &'static Self {
        static OURS: OnceLock<Contract> = OnceLock::new();
        OURS.get_or_init(|| {
            Self::parse(TEXT).unwrap_or_else(|error| {
                tracing::error!(%error, "the contract of the metrics cannot be read");
                Self::default()
            })
        })
    }

    pub fn parse(text: &str) -> Result<Self> {
        let metrics: BTreeMap<String, Metric> = toml::from_str(text).map_err(|error| {
            Error::invalid("metrics-contract-malformed", "metrics.toml is not as it must be").caused_by(error)
        })?;
        match metrics.iter().find_map(|(name, metric)| fault(name, metric).map(|what| (name, what))) {
            Some((name, what)) => Err(Error::invalid("metrics-contract-malformed", what).with("metric", name)),
            None => Ok(Self { metrics }),
        }
    }

    pub fn all(&self) -> impl Iterator<Item = (&str, &Metric)> {
        self.metrics.iter().map(|(name, metric)| (name.as_str(), metric))
    }

    /// By the name of its family: a counter is found with and without `_total`.
    #[must_use]
    pub fn family(&self, name: &str) -> Option<&Metric> {
        self.metrics.get(name).or_else(|| self.metrics.get(&format!("{name}_total")))
    }

    /// Empty for a metric that is not in the contract, which a test finds.
    #[must_use]
    pub fn help(&self, name: &str) -> &str {
        self.family(name).map_or("", |metric| &metric.help)
    }

    /// The class of a series by its name; `None` for one that is not ours.
    #[must_use]
    pub fn class_of(&self, series: &str) -> Option<Retention> {
        let bare = || SUFFIXES.iter().find_map(|suffix| self.metrics.get(series.strip_suffix(suffix)?));
        self.metrics.get(series).or_else(bare).map(|metric| metric.class)
    }
}

fn fault(name: &str, metric: &Metric) -> Option<&'static str> {
    let word = |text: &str| {
        text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            && text.starts_with(|c: char| c.is_ascii_lowercase())
    };
    let stem = name.strip_suffix("_total").unwrap_or(name);
    let unit_shown = metric.unit.is_empty() || stem.ends_with(&format!("_{}", metric.unit)) || !ours(name);
    match () {
        () if !word(name) => Some("a metric's name is of lower-case letters, digits and underscores"),
        () if ours(name) && (metric.kind == MetricType::Counter) != name.ends_with("_total") => {
            Some("the names of our counters, and of nothing else, end in _total")
        }
        () if !unit_shown => Some("the name of a metric of ours ends in its unit"),
        () if metric.help.is_empty() || metric.help.ends_with('.') => Some("help is a phrase without a full stop"),
        () if !metric.labels.iter().all(|label| word(label)) => Some("a label is a word like a name"),
        () => None,
    }
}

/// Names taken over from other exporters follow those.
fn ours(name: &str) -> bool {
    name.starts_with("nephkeep_")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn our_contract_is_well_formed() {
        let contract = Contract::parse(TEXT).unwrap();
        assert!(contract.all().count() > 20);
        assert_eq!(contract.help("nephkeep_record_batches"), "Group commits");
    }

    #[test]
    fn the_parts_of_a_histogram_have_its_class_and_strangers_none() {
        let contract = Contract::parse(TEXT).unwrap();
        for name in ["", "_bucket", "_sum", "_count"] {
            let series = format!("nephkeep_http_request_seconds{name}");
            assert_eq!(contract.class_of(&series), Some(Retention::Platform), "{series}");
        }
        assert_eq!(contract.class_of("node_load1"), None);
        assert_eq!(contract.class_of("nephkeep_http_request_seconds_total"), None);
    }

    #[test]
    fn a_contract_that_would_mislead_is_refused() {
        let entry =
            |name: &str, kind: &str, more: &str| format!("[{name}]\ntype = \"{kind}\"\nclass = \"platform\"\n{more}\n");
        let good = "help = \"Things\"";
        assert!(Contract::parse(&entry("nephkeep_things_total", "counter", good)).is_ok());
        for bad in [
            entry("nephkeep_things", "counter", good),
            entry("nephkeep_things_total", "gauge", good),
            entry("nephkeep_Things", "gauge", good),
            entry("nephkeep_things", "gauge", "help = \"Things.\""),
            entry("nephkeep_things", "gauge", "help = \"Things\"\nunit = \"bytes\""),
            entry("nephkeep_things", "gauge", "help = \"Things\"\nlabels = [\"Kind\"]"),
            entry("nephkeep_things", "gauge", "help = \"Things\"\ncolour = \"red\""),
            entry("nephkeep_things", "heap", good),
            format!("{0}{0}", entry("nephkeep_things", "gauge", good)),
        ] {
            assert_eq!(Contract::parse(&bad).unwrap_err().code(), "metrics-contract-malformed", "{bad}");
        }
    }
}
