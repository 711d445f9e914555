//! The metrics copy: Prometheus, local children of ours or a server elsewhere, behind one tier.
//!
//! Raw samples never pass PostgreSQL (DESIGN 5): they come in by remote write or are scraped, and have their own log
//! and their own retention. Every series carries a forced `tenant`, every read a forced matcher for it.

pub mod contract;
mod depth;
mod engine;
mod local;
mod metadata;
mod place;
pub mod query;
pub mod scope;
mod tier;
mod wire;
pub mod write;

pub use contract::{Contract, Metric, MetricType, Retention};
pub use engine::form;
pub use local::{Local, LocalOptions, Program, SCRAPE_JOB, Scrape};
pub use place::Place;
pub use query::{MetricQuery, Series, Span};
pub use supervisor::State;
pub use tier::{EngineStatus, Merged, Options, Status, Tier, Written};
pub use write::{Counts, Protocol};
