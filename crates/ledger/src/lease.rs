//! Who may write, and how long the holder may trust what it remembers (RECORD 4).
//!
//! The holder counts from *before sending* a renewal, on CLOCK_BOOTTIME, and stops at 0.8 d; a successor waits until
//! it has seen no renewal for 1.25 d of its own clock. Assumption: clock rates differ by less than that margin.

use crate::{Leadership, clock::Moment};
use model::{Error, Result};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct Lease {
    duration: Duration,
    /// Moment until which remembered values may be served; 0 while following.
    valid_until: AtomicU64,
    leadership: watch::Sender<Leadership>,
    /// The head row was seen at least once.
    settled: watch::Sender<bool>,
}

impl Lease {
    pub(crate) fn new(duration: Duration) -> Self {
        let leadership = watch::Sender::new(Leadership::Follower { leader_url: None });
        Self { duration, valid_until: AtomicU64::new(0), leadership, settled: watch::Sender::new(false) }
    }
    pub(crate) fn duration(&self) -> Duration {
        self.duration
    }
    /// Idle renewals come this often.
    pub(crate) fn renewal(&self) -> Duration {
        self.duration.mul_f64(0.2)
    }
    /// Asked *after* taking a remembered value.
    pub(crate) fn is_valid(&self) -> bool {
        Moment::now().0 < self.valid_until.load(Ordering::Acquire)
    }
    pub(crate) fn leadership(&self) -> Leadership {
        self.leadership.borrow().clone()
    }
    pub(crate) fn watch(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    /// False when it is not known in time who leads.
    pub(crate) async fn settled(&self, limit: Duration) -> bool {
        let mut settled = self.settled.subscribe();
        matches!(tokio::time::timeout(limit, settled.wait_for(|settled| *settled)).await, Ok(Ok(_)))
    }

    /// The epoch is ours, by a statement sent at `sent`.
    pub(crate) fn lead(&self, epoch: u64, sent: Moment) {
        self.renewed(sent);
        self.leadership.send_replace(Leadership::Leader { epoch });
        self.settled.send_replace(true);
    }
    /// A statement that renewed the lease was sent at `sent` and has committed.
    pub(crate) fn renewed(&self, sent: Moment) {
        self.valid_until.fetch_max(sent.after(self.duration.mul_f64(0.8)).0, Ordering::AcqRel);
    }
    /// Nothing remembered is served from now on.
    pub(crate) fn lose(&self, leader_url: Option<String>) {
        self.valid_until.store(0, Ordering::Release);
        let follower = Leadership::Follower { leader_url };
        self.leadership.send_if_modified(|now| std::mem::replace(now, follower.clone()) != follower);
        self.settled.send_replace(true);
    }

    /// The refusal that the server turns into 307.
    pub(crate) fn not_leader(&self) -> Error {
        let error = Error::refused("not-leader", "another server writes this record: ask it instead");
        match self.leadership() {
            Leadership::Follower { leader_url: Some(url) } => error.with("leader", url),
            _ => error,
        }
    }
    pub(crate) fn check_leading(&self) -> Result<()> {
        match &*self.leadership.borrow() {
            Leadership::Leader { .. } => return Ok(()),
            Leadership::Follower { .. } => {}
        }
        Err(self.not_leader())
    }
}

/// Watches another holder's renewals: has none come for 1.25 d of our own clock?
#[derive(Debug, Default)]
pub(crate) struct Watch {
    seen: Option<(u64, u64, Moment)>,
}

impl Watch {
    /// `sent`: the moment before the head was asked for, so a slow answer does not shorten the wait.
    pub(crate) fn expired(&mut self, epoch: u64, renewals: u64, lease: Duration, now: Moment) -> bool {
        match self.seen {
            Some((e, r, since)) if (e, r) == (epoch, renewals) => now.since(since) >= lease.mul_f64(1.25),
            _ => {
                self.seen = Some((epoch, renewals, Moment::now()));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_waits_a_quarter_longer_than_the_lease_and_starts_again_at_each_renewal() {
        let (mut watch, d) = (Watch::default(), Duration::from_secs(4));
        assert!(!watch.expired(1, 1, d, Moment::now().after(d * 9)));
        assert!(!watch.expired(1, 1, d, Moment::now().after(d)));
        assert!(watch.expired(1, 1, d, Moment::now().after(d.mul_f64(1.26))));
        assert!(!watch.expired(1, 2, d, Moment::now().after(d * 9)));
        assert!(!watch.expired(2, 2, d, Moment::now().after(d * 9)));
    }

    #[test]
    fn the_holder_stops_before_any_successor_may_begin() {
        let lease = Lease::new(Duration::from_secs(5));
        assert!(!lease.is_valid());
        lease.lead(3, Moment::now());
        assert!(lease.is_valid() && lease.check_leading().is_ok());
        lease.lose(Some("http://other".into()));
        assert!(!lease.is_valid());
        assert_eq!(lease.check_leading().unwrap_err().fact("leader"), Some("http://other"));
        let lease = Lease::new(Duration::from_secs(5));
        let long_ago = Moment(Moment::now().0.saturating_sub(4_000_000_001));
        lease.lead(3, long_ago);
        assert!(!lease.is_valid(), "0.8 d after sending");
    }
}
