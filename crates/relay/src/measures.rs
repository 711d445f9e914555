//! How fast copies are fed and asked, counted where it happens; read by the server's `/metrics`.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Upper bounds of the buckets of a query's time, in microseconds; the last bucket has none.
pub const QUERY_BOUNDS_US: [u64; 11] =
    [200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000, 2_000_000];

/// Searches of the vector index: the index alone, without making the question's vector and reading the record.
#[derive(Debug, Default)]
pub struct Queries {
    /// One more than [`QUERY_BOUNDS_US`]: the last counts what took longer.
    buckets: [AtomicU64; QUERY_BOUNDS_US.len() + 1],
    micros: AtomicU64,
}

impl Queries {
    pub(crate) fn timed<T>(&self, query: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let answer = query();
        let micros = micros(begun.elapsed());
        let bucket = QUERY_BOUNDS_US.iter().position(|bound| micros <= *bound).unwrap_or(QUERY_BOUNDS_US.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
        answer
    }

    /// Queries of each bucket, and the microseconds of all.
    #[must_use]
    pub fn counted(&self) -> ([u64; QUERY_BOUNDS_US.len() + 1], u64) {
        (std::array::from_fn(|at| self.buckets[at].load(Relaxed)), self.micros.load(Relaxed))
    }
}

/// What was written into a copy: by the pump, by rebuilds, by repairs.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    objects: AtomicU64,
    micros: AtomicU64,
}

impl Imports {
    /// Counts when it has succeeded.
    pub fn timed<E>(&self, objects: usize, write: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let begun = Instant::now();
        write()?;
        self.objects.fetch_add(objects as u64, Relaxed);
        self.micros.fetch_add(micros(begun.elapsed()), Relaxed);
        Ok(())
    }

    pub fn counted(&self) -> (u64, Duration) {
        (self.objects.load(Relaxed), Duration::from_micros(self.micros.load(Relaxed)))
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_falls_into_one_bucket_and_a_failed_write_counts_nothing() {
        let queries = Queries::default();
        assert_eq!(queries.timed(|| 7), 7);
        assert_eq!(queries.counted().0.iter().sum::<u64>(), 1);
        let imports = Imports::default();
        assert_eq!(imports.timed(3, || Ok::<(), ()>(())), Ok(()));
        assert_eq!(imports.timed(4, || Err(())), Err(()));
        assert_eq!(imports.counted().0, 3);
    }
}
