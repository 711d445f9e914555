//! Failed logins per address: counted, bounded, slowed down.

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

const WINDOW: Duration = Duration::from_secs(60);
/// More failures than this in one window, and the address waits for the next window.
const FAILURES_MAX: u32 = 30;
/// Addresses remembered; beyond it the oldest windows are forgotten first.
const ADDRESSES_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<IpAddr, (Instant, u32)>>);

/// What to do about one more failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer 401 and audit it.
    Count,
    /// The limit is reached now: audit that, then be silent.
    Last,
    /// Answer 429, audit nothing more in this window.
    Slow,
}

impl Failures {
    pub fn count(&self, address: IpAddr, now: Instant) -> Verdict {
        let mut known = self.0.lock();
        if known.len() >= ADDRESSES_MAX && !known.contains_key(&address) {
            known.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
            if known.len() >= ADDRESSES_MAX {
                return Verdict::Slow;
            }
        }
        let (since, count) = known.entry(address).or_insert((now, 0));
        if now.duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        match *count {
            c if c < FAILURES_MAX => Verdict::Count,
            FAILURES_MAX => Verdict::Last,
            _ => Verdict::Slow,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn an_address_is_slowed_for_the_rest_of_its_window_and_alone() {
        let (failures, now) = (Failures::default(), clock::monotonic());
        let (bad, good) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 1..FAILURES_MAX {
            assert_eq!(failures.count(bad, now), Verdict::Count);
        }
        assert_eq!(failures.count(bad, now), Verdict::Last);
        assert_eq!(failures.count(bad, now), Verdict::Slow);
        assert_eq!(failures.count(good, now), Verdict::Count);
        assert_eq!(failures.count(bad, now + WINDOW), Verdict::Count);
    }
}
