//! When requests are due: at once (closed loop), or on a schedule that does not wait for answers (open loop).
//!
//! In the open loop a latency counts from the scheduled arrival, so a server that stalls pays for every request that
//! should have been sent meanwhile. A thread of its own releases arrivals every 200 µs: the runtime's timer would round
//! each up to a millisecond.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

const TICK: Duration = Duration::from_micros(200);

#[derive(Debug)]
pub struct Arrivals {
    next: AtomicU64,
    begun: Instant,
    ends: Instant,
    stop: Arc<AtomicBool>,
    schedule: Option<Schedule>,
}

#[derive(Debug)]
struct Schedule {
    due: Semaphore,
    per_second: f64,
    total: u64,
}

/// One request that is due: its number, and the moment its latency counts from.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub number: u64,
    pub due: Instant,
}

impl Arrivals {
    /// `stop` ends a closed loop early; `connections` are woken at the end.
    pub fn new(rate: Option<f64>, length: Duration, stop: Arc<AtomicBool>) -> Self {
        let begun = Instant::now();
        let schedule = rate.map(|per_second| Schedule {
            due: Semaphore::new(0),
            per_second,
            total: (per_second * length.as_secs_f64()) as u64,
        });
        Self { next: AtomicU64::new(0), begun, ends: begun + length, stop, schedule }
    }

    #[must_use]
    pub fn begun(&self) -> Instant {
        self.begun
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || (self.schedule.is_none() && Instant::now() >= self.ends)
    }

    pub async fn next(&self) -> Option<Arrival> {
        let Some(schedule) = &self.schedule else {
            if self.is_over() {
                return None;
            }
            return Some(Arrival { number: self.next.fetch_add(1, Ordering::Relaxed), due: Instant::now() });
        };
        schedule.due.acquire().await.ok()?.forget();
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= schedule.total {
            return None;
        }
        let due = self.begun + Duration::from_secs_f64(number as f64 / schedule.per_second);
        Some(Arrival { number, due })
    }

    /// Starts the thread that releases arrivals; none for a closed loop.
    pub fn release(self: &Arc<Self>, connections: usize) -> std::io::Result<Option<JoinHandle<()>>> {
        if self.schedule.is_none() {
            return Ok(None);
        }
        let arrivals = self.clone();
        let thread = std::thread::Builder::new().name("arrivals".into()).spawn(move || arrivals.tick(connections))?;
        Ok(Some(thread))
    }

    fn tick(&self, connections: usize) {
        let Some(schedule) = &self.schedule else { return };
        let mut released = 0;
        while released < schedule.total && !self.stop.load(Ordering::Relaxed) {
            let due = (self.begun.elapsed().as_secs_f64() * schedule.per_second) as u64 + 1;
            let due = due.min(schedule.total);
            schedule.due.add_permits(usize::try_from(due - released).unwrap_or(0));
            released = due;
            std::thread::sleep(TICK);
        }
        // One more for each connection that waits: it finds that nothing is left.
        schedule.due.add_permits(connections);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn an_open_loop_hands_out_every_arrival_once_and_ends() {
        let arrivals = Arc::new(Arrivals::new(Some(50_000.0), Duration::from_millis(20), Arc::default()));
        let thread = arrivals.release(1).unwrap().unwrap();
        let mut numbers = Vec::new();
        while let Some(arrival) = arrivals.next().await {
            assert!(arrival.due >= arrivals.begun());
            numbers.push(arrival.number);
        }
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
        thread.join().unwrap();
    }

    #[tokio::test]
    async fn a_closed_loop_ends_when_told() {
        let stop = Arc::new(AtomicBool::new(false));
        let arrivals = Arrivals::new(None, Duration::from_secs(3600), stop.clone());
        assert_eq!(arrivals.next().await.unwrap().number, 0);
        assert_eq!(arrivals.next().await.unwrap().number, 1);
        stop.store(true, Ordering::Relaxed);
        assert!(arrivals.next().await.is_none());
    }
}
