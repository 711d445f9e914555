//! Latencies in a log-linear histogram: 64 steps per doubling, so every figure is right within 1.6 %.

use serde::{Deserialize, Serialize};
use std::time::Duration;

const STEPS_BITS: u32 = 6;
const STEPS: usize = 1 << STEPS_BITS;
/// Up to 2^40 µs, two weeks.
const SLOTS: usize = (40 - STEPS_BITS as usize + 1) * STEPS;

#[derive(Debug, Clone)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
    max_us: u64,
}

/// What is told of a histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; SLOTS], total: 0, max_us: 0 }
    }
}

impl Latencies {
    pub fn add(&mut self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.counts[slot(us)] += 1;
        self.total += 1;
        self.max_us = self.max_us.max(us);
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max_us = self.max_us.max(other.max_us);
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The smallest latency that at least this share (in thousandths) of all stayed within.
    #[must_use]
    pub fn at_us(&self, thousandths: u64) -> u64 {
        let wanted = (self.total * thousandths).div_ceil(1000).max(1);
        let mut seen = 0;
        for (slot, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return highest(slot).min(self.max_us);
            }
        }
        self.max_us
    }

    #[must_use]
    pub fn percentiles(&self) -> Percentiles {
        let ms = |us: u64| us as f64 / 1000.0;
        Percentiles {
            p50_ms: ms(self.at_us(500)),
            p95_ms: ms(self.at_us(950)),
            p99_ms: ms(self.at_us(990)),
            p999_ms: ms(self.at_us(999)),
            max_ms: ms(self.max_us),
        }
    }
}

fn slot(us: u64) -> usize {
    let us = us.min((1 << 40) - 1);
    let doublings = (u64::BITS - us.leading_zeros()).saturating_sub(STEPS_BITS + 1);
    let step = usize::try_from(us >> doublings).unwrap_or(0);
    doublings as usize * STEPS + step
}

/// The highest value that falls into a slot.
fn highest(slot: usize) -> u64 {
    let doublings = (slot / STEPS).saturating_sub(1);
    let step = (slot - doublings * STEPS) as u64;
    ((step + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_slot_that_ends_at_most_a_step_above_it() {
        let mut before = 0;
        for exponent in 0..39 {
            for offset in 0..100u64 {
                let us = (1u64 << exponent) + (offset << exponent) / 100;
                let slot = slot(us);
                let top = highest(slot);
                assert!(top >= us && top - us <= us / 32 + 1, "{us} {top}");
                assert!(slot >= before);
                before = slot;
            }
        }
        assert_eq!(slot(u64::MAX), slot((1 << 40) - 1));
    }

    #[test]
    fn percentiles_are_those_of_the_values_put_in() {
        let mut low = Latencies::default();
        let mut high = Latencies::default();
        for us in 1..=500 {
            low.add(Duration::from_micros(us));
            high.add(Duration::from_micros(500 + us));
        }
        low.merge(&high);
        assert_eq!(low.count(), 1000);
        for (thousandths, us) in [(500, 500), (950, 950), (999, 999), (1000, 1000)] {
            let found = low.at_us(thousandths);
            assert!(found >= us && found <= us + us / 32, "{thousandths}: {found}");
        }
        assert_eq!(Latencies::default().at_us(500), 0);
    }
}
