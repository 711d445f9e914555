//! Bisecting costs commits: a principal whose groups keep failing after validation is held off (RECORD 16).

use crate::clock::Moment;
use model::{Error, Result};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};

const FAILURES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Principals remembered at most; beyond, the list begins anew.
const REMEMBERED: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Offenders(Mutex<HashMap<Arc<str>, (u32, Moment)>>);

impl Offenders {
    pub(crate) fn failed(&self, principal: &Arc<str>) {
        self.failed_at(principal, Moment::now());
    }
    pub(crate) fn check(&self, principal: &str) -> Result<()> {
        self.check_at(principal, Moment::now())
    }

    fn failed_at(&self, principal: &Arc<str>, now: Moment) {
        let mut map = self.0.lock();
        if map.len() >= REMEMBERED && !map.contains_key(principal) {
            map.clear();
        }
        let entry = map.entry(principal.clone()).or_insert((0, now));
        if now.since(entry.1) > WINDOW {
            *entry = (0, now);
        }
        entry.0 += 1;
    }

    fn check_at(&self, principal: &str, now: Moment) -> Result<()> {
        let map = self.0.lock();
        match map.get(principal) {
            Some((failures, since)) if *failures >= FAILURES && now.since(*since) <= WINDOW => {
                let message = "too many documents of this principal could not be stored: wait, and correct them";
                Err(Error::retry("writes-held-off", message)
                    .with("failures", *failures)
                    .with("wait_s", WINDOW.as_secs()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_held_off_for_a_while_and_no_other() {
        let (offenders, bad, now) = (Offenders::default(), Arc::from("bad"), Moment::now());
        for _ in 0..FAILURES {
            assert!(offenders.check_at("bad", now).is_ok());
            offenders.failed_at(&bad, now);
        }
        assert_eq!(offenders.check_at("bad", now).unwrap_err().code(), "writes-held-off");
        assert!(offenders.check_at("good", now).is_ok());
        assert!(offenders.check_at("bad", now.after(WINDOW * 2)).is_ok());
    }
}
