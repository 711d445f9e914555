//! When the next request may be sent: not more often than allowed, and not before the server said.

use model::{Error, Result};
use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// A server that asks for more is asked again after this.
const HOLD_MOST: Duration = Duration::from_secs(300);

#[derive(Debug)]
pub struct Pace {
    every: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    pub fn new(requests_per_minute: u32) -> Self {
        let every = Duration::from_secs(60).checked_div(requests_per_minute).unwrap_or(Duration::ZERO);
        Self { every, next: Mutex::new(Instant::now()) }
    }

    /// Waits for a turn and takes it; where that would take longer than `patience`, nothing is taken and that is told.
    pub async fn turn(&self, patience: Duration) -> Result<()> {
        let at = self.take(Instant::now(), patience)?;
        tokio::time::sleep_until(at).await;
        Ok(())
    }

    fn take(&self, now: Instant, patience: Duration) -> Result<Instant> {
        let mut next = self.next.lock();
        let at = (*next).max(now);
        let wait = at.duration_since(now);
        if wait > patience {
            let what = "the embedder is to be left alone for a while; what waits for it is tried again by itself";
            return Err(Error::retry("embedder-busy", what).with("seconds", wait.as_millis().div_ceil(1_000)));
        }
        *next = at + self.every;
        Ok(at)
    }

    /// No turn before this has passed.
    pub fn hold(&self, pause: Duration) {
        let mut next = self.next.lock();
        *next = (*next).max(Instant::now() + pause.min(HOLD_MOST));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn turns_are_spaced_and_one_that_is_too_far_off_is_told() {
        let (pace, now) = (Pace::new(120), Instant::now());
        let turns: Vec<Instant> = (0..4).map(|_| pace.take(now, Duration::from_secs(60)).unwrap()).collect();
        assert!(turns.windows(2).all(|two| two[1] - two[0] == Duration::from_millis(500)));
        pace.hold(Duration::from_secs(20));
        let told = pace.take(Instant::now(), Duration::from_secs(10)).unwrap_err();
        assert_eq!((told.code(), told.fact("seconds")), ("embedder-busy", Some("20")));
        assert!(pace.take(Instant::now(), Duration::from_secs(30)).unwrap() >= now + Duration::from_secs(20));
        pace.hold(Duration::from_secs(1 << 40));
        assert!(pace.take(Instant::now(), Duration::from_secs(301)).is_ok(), "no server is left alone for ever");
    }
}
