//! The metrics copy: Prometheus, local children of ours or a server elsewhere, behind one tier.
//!
//! Raw samples never pass PostgreSQL (DESIGN 5): they come in by remote write or are scraped, and have their own log
//! and their own retention. Every series carries a forced `tenant`, every read a forced matcher for it.

pub mod contract;

pub use contract::{Contract, Metric, MetricType, Retention};
