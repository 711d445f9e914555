//! Watches a child: starts it, starts it again with back-off when it ends, stops it when told to.
//!
//! A child outlives a supervisor that is killed (its death cannot be tied to ours without unsafe code); the next one,
//! which holds the directory's lock, ends it and starts its own.

use crate::{
    child::{Child, Stop},
    processes::signal,
};
use futures_util::future::BoxFuture;
use model::{Error, Result};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::{Instant, interval, sleep},
};

const BACK_OFF_FIRST: Duration = Duration::from_millis(200);
const BACK_OFF_MOST: Duration = Duration::from_secs(5);
/// A child that answered for this long had a fresh misfortune, not the last one again: the back-off is for children
/// that do not come up, and every step of it is time in which nothing is answered.
const STEADY: Duration = Duration::from_millis(500);
const TEND_EVERY: Duration = Duration::from_secs(30);

/// What a supervisor sees; restarts count from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Begun, not yet ready for the first time.
    Starting,
    Ready {
        pid: i32,
        restarts: u64,
    },
    Down {
        restarts: u64,
        reason: String,
    },
    Stopped,
}

/// The pid is told as soon as there is one, so that a start can be given up.
pub type Started<'s> = &'s (dyn Fn(i32) + Send + Sync);

/// What is supervised.
pub trait Service: Send + Sync + 'static {
    /// As messages call it: `the local server`.
    fn name(&self) -> &'static str;
    /// Clears away what an earlier run left, starts the child and returns when it answers.
    fn start<'s>(&'s self, started: Started<'s>) -> BoxFuture<'s, Result<Child>>;
    /// Now and then while it runs.
    fn tend(&self) -> Result<()>;
    /// How it is asked to stop. Dropped, it gets the first signal; given up while it starts, the second.
    fn stop(&self) -> Stop;
}

/// A supervised child. `stop` it; dropped, it is told to stop and not waited for.
#[derive(Debug)]
pub struct Supervision {
    pid: Arc<AtomicI32>,
    state: watch::Receiver<State>,
    signals: Stop,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl Supervision {
    /// Starts the child and returns when it is ready; a first start that fails is the caller's.
    pub async fn start(service: impl Service) -> Result<Self> {
        let pid = Arc::new(AtomicI32::new(0));
        let child = service.start(&|started| pid.store(started, Ordering::SeqCst)).await?;
        let first = State::Ready { pid: child.pid, restarts: 0 };
        Ok(Self::spawn(service, pid, first, Some(child)))
    }

    /// Begins to start the child and returns at once; a start that fails is repeated like any other.
    #[must_use]
    pub fn begin(service: impl Service) -> Self {
        Self::spawn(service, Arc::default(), State::Starting, None)
    }

    fn spawn(service: impl Service, pid: Arc<AtomicI32>, first: State, child: Option<Child>) -> Self {
        let (sender, state) = watch::channel(first);
        let (stop, stopped) = oneshot::channel();
        let signals = service.stop();
        let supervisor =
            Supervisor { service, state: sender, pid: Arc::clone(&pid), restarts: 0, begun: child.is_some() };
        let task = Some(tokio::spawn(supervisor.run(child, stopped)));
        Self { pid, state, signals, stop: Some(stop), task }
    }

    /// Of the child now; `None` while there is none.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        Some(self.pid.load(Ordering::SeqCst)).filter(|pid| *pid != 0)
    }

    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Stops the child and waits for its end.
    pub async fn stop(mut self) -> Result<()> {
        drop(self.stop.take());
        match self.task.take() {
            Some(task) => task.await.map_err(|e| Error::bug("the supervisor of a child failed").caused_by(e)),
            None => Ok(()),
        }
    }
}

impl Drop for Supervision {
    fn drop(&mut self) {
        // The supervisor may be gone with its runtime: the signal does not depend on it.
        if self.task.is_some()
            && let Some(pid) = self.pid()
            && let Some((how, _)) = self.signals.first()
        {
            signal(pid, *how);
        }
    }
}

struct Supervisor<S> {
    service: S,
    state: watch::Sender<State>,
    pid: Arc<AtomicI32>,
    restarts: u64,
    /// It was started before, so the next start is a restart.
    begun: bool,
}

impl<S: Service> Supervisor<S> {
    async fn run(mut self, mut child: Option<Child>, mut stopped: oneshot::Receiver<()>) {
        let mut back_off = if self.begun { BACK_OFF_FIRST } else { Duration::ZERO };
        loop {
            if let Some(running) = &mut child {
                let begun = Instant::now();
                let reason = tokio::select! {
                    biased;
                    _ = &mut stopped => {
                        self.pid.store(0, Ordering::SeqCst);
                        running.stop().await;
                        break;
                    }
                    reason = self.watch(running) => reason,
                };
                self.pid.store(0, Ordering::SeqCst);
                if begun.elapsed() > STEADY {
                    back_off = BACK_OFF_FIRST;
                }
                self.report_down(reason);
            }
            let restarted = tokio::select! {
                biased;
                _ = &mut stopped => None,
                again = self.restart(&mut back_off) => Some(again),
            };
            if restarted.is_none() {
                self.abandon_start();
                break;
            }
            child = restarted;
        }
        self.state.send_replace(State::Stopped);
    }

    /// Returns when the child ended, with how.
    async fn watch(&self, child: &mut Child) -> String {
        let mut tend = interval(TEND_EVERY);
        loop {
            tokio::select! {
                status = child.wait() => {
                    return status.map_or_else(|| "its end could not be awaited".to_owned(), |status| status.to_string());
                }
                _ = tend.tick() => {
                    if let Err(error) = self.service.tend() {
                        tracing::warn!(%error, "{} could not be tended", self.service.name());
                    }
                }
            }
        }
    }

    async fn restart(&mut self, back_off: &mut Duration) -> Child {
        loop {
            sleep(*back_off).await;
            *back_off = (*back_off * 2).clamp(BACK_OFF_FIRST, BACK_OFF_MOST);
            self.restarts += u64::from(self.begun);
            self.begun = true;
            match self.service.start(&|pid| self.pid.store(pid, Ordering::SeqCst)).await {
                Ok(child) => {
                    let state = State::Ready { pid: child.pid, restarts: self.restarts };
                    tracing::info!(pid = child.pid, restarts = self.restarts, "{} runs", self.service.name());
                    self.state.send_replace(state);
                    return child;
                }
                Err(error) => {
                    self.pid.store(0, Ordering::SeqCst);
                    self.report_down(error.to_string());
                }
            }
        }
    }

    /// Told to stop in the middle of a start: the half-started child is told too.
    fn abandon_start(&self) {
        let pid = self.pid.swap(0, Ordering::SeqCst);
        let signals = self.service.stop();
        if let Some((how, _)) = signals.get(1).or(signals.first()).filter(|_| pid != 0) {
            signal(pid, *how);
        }
    }

    fn report_down(&self, reason: String) {
        tracing::warn!(reason, restarts = self.restarts, "{} is down", self.service.name());
        self.state.send_replace(State::Down { restarts: self.restarts, reason });
    }
}
