//! What the door counts about itself, exposed as OpenMetrics at `/metrics`. Help comes from the contract.

mod copies;
mod documents;
mod postgresql;
mod recall;
mod record;

pub use copies::CopyMetrics;
pub use documents::{DocumentMetrics, Documents};
pub use postgresql::{Postgresql, PostgresqlMetrics};
pub use recall::RecallMetrics;
pub use record::RecordMetrics;

use prometheus_client::{
    collector::Collector,
    encoding::{
        EncodeLabelSet,
        text::{encode_eof, encode_registry},
    },
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::time::Duration;
use stores::metrics::Contract;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub method: &'static str,
    /// `2xx` … `5xx`.
    pub status: &'static str,
}

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Series of single tenants: shown only to the scrape of our own metrics copy.
    tenants: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Histogram,
    pub in_work: Gauge,
    pub connections: Gauge,
    pub shed: Counter,
    pub authentication_failures: Counter,
    pub sink_delivered: Counter,
    pub sink_failed: Counter,
    pub metric_samples_written: Counter,
    pub metric_samples_refused: Counter,
    pub metric_samples_unsorted: Counter,
    pub metric_queries: Counter,
}

/// Seconds; the lower half resolves a cached read, the upper half a commit under load.
const BUCKETS: [f64; 12] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0];

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            tenants: Registry::default(),
            requests: Family::default(),
            seconds: Histogram::new(BUCKETS),
            in_work: Gauge::default(),
            connections: Gauge::default(),
            shed: Counter::default(),
            authentication_failures: Counter::default(),
            sink_delivered: Counter::default(),
            sink_failed: Counter::default(),
            metric_samples_written: Counter::default(),
            metric_samples_refused: Counter::default(),
            metric_samples_unsorted: Counter::default(),
            metric_queries: Counter::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let r = &mut self.registry;
        add(r, "nephkeep_http_requests", self.requests.clone());
        add(r, "nephkeep_http_request_seconds", self.seconds.clone());
        add(r, "nephkeep_http_requests_in_work", self.in_work.clone());
        add(r, "nephkeep_http_connections", self.connections.clone());
        add(r, "nephkeep_http_requests_shed", self.shed.clone());
        add(r, "nephkeep_authentication_failures", self.authentication_failures.clone());
        add(r, "nephkeep_sink_delivered", self.sink_delivered.clone());
        add(r, "nephkeep_sink_failed", self.sink_failed.clone());
        add(r, "nephkeep_metrics_samples_written", self.metric_samples_written.clone());
        add(r, "nephkeep_metrics_samples_refused", self.metric_samples_refused.clone());
        add(r, "nephkeep_metrics_samples_refused_unsorted", self.metric_samples_unsorted.clone());
        add(r, "nephkeep_metrics_queries", self.metric_queries.clone());
        self
    }

    /// Also exposes what a part counts about itself, read when someone asks.
    #[must_use]
    pub fn with(mut self, part: impl Collector) -> Self {
        self.registry.register_collector(Box::new(part));
        self
    }

    /// The same with series that name tenants.
    #[must_use]
    pub fn with_tenants(mut self, part: impl Collector) -> Self {
        self.tenants.register_collector(Box::new(part));
        self
    }

    pub fn answered(&self, method: &http::Method, status: http::StatusCode, took: Duration) {
        let labels = RequestLabels { method: method_name(method), status: status_class(status) };
        self.requests.get_or_create(&labels).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// The OpenMetrics text; with the series of single tenants only for those who may see them.
    pub fn text(&self, tenants: bool) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        if tenants {
            encode_registry(&mut text, &self.tenants)?;
        }
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// A counter's name is given without `_total`, which the exposition adds.
fn add(registry: &mut Registry, name: &'static str, metric: impl prometheus_client::registry::Metric) {
    registry.register(name, Contract::ours().help(name), metric);
}

/// A closed set: a client must not be able to make new series.
fn method_name(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

fn status_class(status: http::StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_openmetrics_and_counts() {
        let metrics = Metrics::default();
        metrics.answered(&http::Method::GET, http::StatusCode::OK, Duration::from_millis(1));
        let text = metrics.text(false).unwrap();
        assert!(text.contains("nephkeep_http_requests_total{method=\"GET\",status=\"2xx\"} 1"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
