//! How much one caller may ask of the metrics.

use crate::listen::overloaded;
use model::Result;
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

#[derive(Debug, Clone)]
pub struct MetricLimits {
    /// A body of remote write, compressed.
    pub write_bytes: usize,
    /// Writes in work at one time; more are told to come again.
    pub writes: usize,
    /// Queries in work at one time.
    pub queries: usize,
    /// Points of one series in a range query, as in Prometheus.
    pub points: u64,
    /// What a query may take at most, and takes when it does not say.
    pub query_time: Duration,
    /// An answer is cut off beyond this.
    pub answer_bytes: u64,
}

impl Default for MetricLimits {
    fn default() -> Self {
        Self {
            write_bytes: 16 << 20,
            writes: 64,
            queries: 32,
            points: 11_000,
            query_time: Duration::from_secs(60),
            answer_bytes: 512 << 20,
        }
    }
}

/// What holds the counts.
#[derive(Debug)]
pub struct Gates {
    pub writes: Semaphore,
    pub queries: Arc<Semaphore>,
}

impl Gates {
    #[must_use]
    pub fn new(limits: &MetricLimits) -> Self {
        Self { writes: Semaphore::new(limits.writes), queries: Arc::new(Semaphore::new(limits.queries)) }
    }

    /// A place among the queries, for as long as the answer is sent.
    pub fn query(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.queries).try_acquire_owned().map_err(|_| overloaded())
    }
}
