//! The load: many connections, each asking, waiting, noting what it was told (ledger notes: an external process).
//!
//! A request without an answer is in doubt; it is sent again under the same idempotency key until there is an answer
//! or the load ends. So a server that forgets its idempotency keys makes duplicates here.

use super::{
    ackfile::{Line, Told, Writer},
    arrivals::{Arrival, Arrivals},
    summary::{Summary, Tally},
    wire::{Answer, Connection, Failed},
    work::{self, INTENTS, Request, Target, Work},
};
use crate::clock::wall_micros;
use model::{Error, Result};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

/// How long one request may take, and how long a broken server is waited for between two attempts.
const PATIENCE: Duration = Duration::from_secs(10);
/// As above, of a server to which another one redirected: it may be frozen while the other is about to take over.
const PATIENCE_REDIRECTED: Duration = Duration::from_secs(2);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

#[derive(Debug, Clone)]
pub struct Load {
    pub target: Target,
    pub work: Work,
    pub connections: usize,
    /// Arrivals per second; none for a closed loop.
    pub rate: Option<f64>,
    pub length: Duration,
    /// Answers in this first part are not measured.
    pub warm_up: Duration,
    pub seed: u64,
    /// Of a thousand requests, how many are left without waiting for the answer (and then repeated).
    pub abandon_per_mille: u64,
    /// Where outcomes are kept; none for a benchmark.
    pub ack_file: Option<PathBuf>,
}

impl Load {
    /// Where outcomes are kept, a request in doubt is sent again, so it needs a key; a benchmark has neither.
    fn idempotency_key(&self, number: u64) -> Option<String> {
        self.ack_file.is_some().then(|| work::marker(self.seed, number))
    }

    fn abandons(&self, number: u64) -> bool {
        work::scatter(!self.seed, number) % 1000 < self.abandon_per_mille
    }

    fn abandons_late(&self, number: u64) -> bool {
        (work::scatter(!self.seed, number) / 1000).is_multiple_of(2)
    }
}

#[derive(Debug)]
struct Shared {
    load: Load,
    arrivals: Arc<Arrivals>,
    acks: Option<Writer>,
    last_success_us: AtomicU64,
    longest_gap_us: AtomicU64,
}

/// Runs to its length, or until `stop`.
pub async fn run(load: Load, stop: Arc<AtomicBool>) -> Result<Summary> {
    let acks = load.ack_file.as_deref().map(Writer::create).transpose()?;
    let keys = prepare(&load, acks.as_ref()).await?;
    let arrivals = Arc::new(Arrivals::new(load.rate, load.length, stop));
    let releasing = arrivals.release(load.connections).map_err(|error| {
        Error::retry("drill-load-failed", "the load cannot start its thread of arrivals").caused_by(error)
    })?;
    let (last_success_us, longest_gap_us) = (AtomicU64::new(0), AtomicU64::new(0));
    let shared = Arc::new(Shared { load, arrivals, acks, last_success_us, longest_gap_us });
    let mut workers = JoinSet::new();
    for at in 0..shared.load.connections {
        let own = match shared.load.work {
            Work::PatchOne => keys.clone(),
            _ => keys.iter().skip(at).step_by(shared.load.connections).cloned().collect(),
        };
        workers.spawn(Worker::new(shared.clone(), own).run());
    }
    let mut tally = Tally::default();
    while let Some(worker) = workers.join_next().await {
        tally.merge(worker.map_err(|error| Error::bug("a worker of the load ended").caused_by(error))?);
    }
    shared.note_gap();
    let elapsed = shared.arrivals.begun().elapsed();
    if let Some(thread) = releasing {
        thread.join().map_err(|_| Error::bug("the thread of arrivals ended unexpectedly"))?;
    }
    let shared = Arc::into_inner(shared).ok_or_else(|| Error::bug("a worker of the load still runs"))?;
    shared.summary(tally, elapsed)
}

/// An intent that is changed again and again.
#[derive(Debug, Clone)]
struct Key {
    path: String,
    id: String,
    version: u64,
}

/// Numbers of requests before the load itself: the intents that it changes.
pub const PREPARED_FROM: u64 = 1 << 48;

async fn prepare(load: &Load, acks: Option<&Writer>) -> Result<Vec<Key>> {
    let count = match load.work {
        Work::Patch { keys } => keys.max(load.connections as u64),
        Work::PatchOne => 1,
        Work::Create | Work::Get { .. } | Work::GetEach { .. } => return Ok(Vec::new()),
    };
    let failed =
        |what: String| Error::retry("drill-load-failed", format!("the load cannot prepare its intents: {what}"));
    let mut connection =
        Connection::open(load.target.server, PATIENCE).await.map_err(|error| failed(error.to_string()))?;
    let mut keys = Vec::new();
    for number in (PREPARED_FROM..).take(usize::try_from(count).unwrap_or(0)) {
        let body = work::intent(load.seed, number);
        let key = work::marker(load.seed, number);
        let request =
            Request { method: "POST", path: INTENTS, if_match: None, idempotency_key: Some(&key), body: &body };
        let sent_us = wall_micros();
        let answer =
            connection.ask(&request.bytes(&load.target)).await.map_err(|error| failed(format!("{error:?}")))?;
        if answer.status != 201 {
            return Err(failed(format!("status {}", answer.status)));
        }
        let line = line(&request, Told::Created, (number, 0), sent_us, Some(&answer));
        let id = line.id.clone().ok_or_else(|| failed("an answer without Location".into()))?;
        keys.push(Key { path: format!("{INTENTS}/{id}"), id, version: answer.version().unwrap_or(1) });
        if let Some(acks) = acks {
            acks.put(line);
        }
    }
    Ok(keys)
}

fn line(request: &Request<'_>, told: Told, numbers: (u64, u32), sent_us: u64, answer: Option<&Answer>) -> Line {
    let id = answer.and_then(|answer| answer.header("location")).and_then(|place| place.rsplit('/').next());
    Line {
        told,
        number: numbers.0,
        attempt: numbers.1,
        id: id.map(str::to_owned),
        version: answer.and_then(Answer::version),
        position: answer.and_then(|answer| answer.header("ledger-position")).map(str::to_owned),
        body_digest: request.body_digest(),
        sent_us,
        heard_us: wall_micros(),
    }
}

impl Shared {
    /// A success: the time without one ends.
    fn note_gap(&self) {
        let now = u64::try_from(self.arrivals.begun().elapsed().as_micros()).unwrap_or(u64::MAX);
        let gap = now.saturating_sub(self.last_success_us.fetch_max(now, Ordering::Relaxed));
        self.longest_gap_us.fetch_max(gap, Ordering::Relaxed);
    }

    fn summary(self, tally: Tally, elapsed: Duration) -> Result<Summary> {
        let measured = elapsed.saturating_sub(self.load.warm_up);
        let acknowledged = self.acks.map_or(Ok(0), Writer::finish)?;
        Ok(tally.summary(measured, self.longest_gap_us.into_inner(), acknowledged))
    }
}

struct Worker {
    shared: Arc<Shared>,
    keys: Vec<Key>,
    connection: Option<Connection>,
    /// Where the last redirection led, until that server fails.
    leader: Option<SocketAddr>,
    tally: Tally,
}

/// What a request came to.
enum Heard {
    Success(Answer),
    Refused(Answer),
    Nothing,
}

impl Worker {
    fn new(shared: Arc<Shared>, keys: Vec<Key>) -> Self {
        Self { shared, keys, connection: None, leader: None, tally: Tally::default() }
    }

    async fn run(mut self) -> Tally {
        let shared = self.shared.clone();
        while let Some(arrival) = shared.arrivals.next().await {
            match &shared.load.work {
                Work::Create => self.create(arrival).await,
                Work::Patch { .. } => self.patch(arrival, true).await,
                Work::PatchOne => self.patch(arrival, false).await,
                Work::Get { paths } => self.get(arrival, paths, true).await,
                Work::GetEach { paths } => self.get(arrival, paths, false).await,
            }
        }
        self.tally
    }

    async fn create(&mut self, arrival: Arrival) {
        let seed = self.shared.load.seed;
        let body = work::intent(seed, arrival.number);
        let key = self.shared.load.idempotency_key(arrival.number);
        let request =
            Request { method: "POST", path: INTENTS, if_match: None, idempotency_key: key.as_deref(), body: &body };
        let heard = self.perform(&request, arrival, Told::Created, None).await;
        self.count(arrival, &heard);
    }

    async fn patch(&mut self, arrival: Arrival, conditional: bool) {
        if self.keys.is_empty() {
            return;
        }
        let seed = self.shared.load.seed;
        let at = usize::try_from(arrival.number).unwrap_or(0) / self.shared.load.connections.max(1) % self.keys.len();
        let key = self.keys[at].clone();
        let body = work::patch(seed, arrival.number);
        let idempotency_key = self.shared.load.idempotency_key(arrival.number);
        let request = Request {
            method: "PATCH",
            path: &key.path,
            if_match: conditional.then_some(key.version),
            idempotency_key: idempotency_key.as_deref(),
            body: &body,
        };
        let heard = self.perform(&request, arrival, Told::Changed, Some(&key.id)).await;
        self.count(arrival, &heard);
        match heard {
            Heard::Success(answer) => self.keys[at].version = answer.version().unwrap_or(key.version + 1),
            Heard::Refused(_) | Heard::Nothing if conditional => self.learn_version(at).await,
            Heard::Refused(_) | Heard::Nothing => {}
        }
    }

    /// After a refusal or a doubt: which version is it now?
    async fn learn_version(&mut self, at: usize) {
        let path = self.keys[at].path.clone();
        let request = Request { method: "GET", path: &path, if_match: None, idempotency_key: None, body: "" };
        let bytes = request.bytes(&self.shared.load.target);
        if let Ok(Some(answer)) = self.ask(&bytes).await
            && let Some(version) = answer.version()
        {
            self.keys[at].version = version;
        }
    }

    async fn get(&mut self, arrival: Arrival, paths: &[String], scattered: bool) {
        let any = if scattered { work::scatter(self.shared.load.seed, arrival.number) } else { arrival.number };
        let Some(path) = paths.get(usize::try_from(any % paths.len().max(1) as u64).unwrap_or(0)) else { return };
        let request = Request { method: "GET", path, if_match: None, idempotency_key: None, body: "" };
        let bytes = request.bytes(&self.shared.load.target);
        let mut first = true;
        let heard = loop {
            let asked = self.ask(&bytes).await;
            if std::mem::take(&mut first) {
                self.tally.sent_first(asked.as_ref().ok().and_then(Option::as_ref));
            }
            match asked {
                Ok(Some(answer)) if answer.status < 400 => break Heard::Success(answer),
                Ok(Some(answer)) if answer.status != 503 => break Heard::Refused(answer),
                _ if self.shared.arrivals.is_over() => break Heard::Nothing,
                _ => tokio::time::sleep(BETWEEN_ATTEMPTS).await,
            }
        };
        self.count(arrival, &heard);
    }

    fn count(&mut self, arrival: Arrival, heard: &Heard) {
        match heard {
            Heard::Success(_) => {
                self.shared.note_gap();
                self.tally.answered += 1;
                if self.shared.arrivals.begun().elapsed() >= self.shared.load.warm_up {
                    self.tally.measured += 1;
                    self.tally.latencies.add(arrival.due.elapsed());
                }
            }
            Heard::Refused(answer) => *self.tally.refused.entry(answer.status).or_default() += 1,
            Heard::Nothing => self.tally.unanswered += 1,
        }
    }

    /// Sends a write until it is answered, and notes every outcome. `id` is known for a change.
    async fn perform(&mut self, request: &Request<'_>, arrival: Arrival, success: Told, id: Option<&str>) -> Heard {
        let shared = self.shared.clone();
        let bytes = request.bytes(&shared.load.target);
        let mut in_doubt = false;
        for attempt in 0.. {
            let sent_us = wall_micros();
            let asked = match attempt {
                0 => self.send_first(&bytes, arrival.number).await,
                _ => self.ask(&bytes).await,
            };
            let (told, answer) = match asked {
                Ok(Some(answer)) if answer.status < 300 => (Some(success), Some(answer)),
                // 5xx: the server does not say that nothing happened.
                Ok(Some(answer)) if answer.status >= 500 => (Some(Told::InDoubt), Some(answer)),
                Ok(Some(answer)) if in_doubt => (Some(Told::InDoubt), Some(answer)),
                Ok(Some(answer)) => (Some(Told::Refused), Some(answer)),
                Ok(None) => (Some(Told::InDoubt), None),
                Err(()) => (None, None),
            };
            if let (Some(told), Some(acks)) = (told, &shared.acks) {
                let mut line = line(request, told, (arrival.number, attempt), sent_us, answer.as_ref());
                line.id = id.map(str::to_owned).or(line.id);
                acks.put(line);
            }
            match (told, answer) {
                (Some(Told::Created | Told::Changed), Some(answer)) => return Heard::Success(answer),
                (_, Some(answer)) if answer.status < 500 => return Heard::Refused(answer),
                (Some(Told::InDoubt), _) => {
                    in_doubt = true;
                    self.tally.in_doubt += 1;
                }
                _ => {}
            }
            if shared.arrivals.is_over() {
                return Heard::Nothing;
            }
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        }
        Heard::Nothing
    }

    /// As `ask`, or left on purpose without waiting for the answer.
    async fn send_first(&mut self, bytes: &[u8], number: u64) -> Result<Option<Answer>, ()> {
        if self.shared.load.abandons(number) {
            self.tally.abandoned += 1;
            return self.abandon(bytes, number).await;
        }
        let asked = self.ask(bytes).await;
        self.tally.sent_first(asked.as_ref().ok().and_then(Option::as_ref));
        asked
    }

    async fn connected(&mut self) -> Result<&mut Connection, ()> {
        if self.connection.is_none() {
            let server = self.leader.unwrap_or(self.shared.load.target.server);
            let patience = if self.leader.is_some() { PATIENCE_REDIRECTED } else { PATIENCE };
            match Connection::open(server, patience).await {
                Ok(connection) => self.connection = Some(connection),
                Err(_) => {
                    self.leader = None;
                    self.tally.connections_refused += 1;
                    return Err(());
                }
            }
        }
        self.connection.as_mut().ok_or(())
    }

    /// An answer, or none (the outcome is unknown), or an error (nothing was sent). Follows one redirection.
    async fn ask(&mut self, bytes: &[u8]) -> Result<Option<Answer>, ()> {
        for _ in 0..2 {
            match self.connected().await?.ask(bytes).await {
                Ok(answer) => {
                    let redirected = matches!(answer.status, 307 | 308).then(|| leader_of(&answer)).flatten();
                    if answer.closes || redirected.is_some() {
                        self.connection = None;
                    }
                    if redirected.is_none() {
                        return Ok(Some(answer));
                    }
                    self.leader = redirected;
                }
                Err(Failed::InDoubt(_)) => {
                    (self.connection, self.leader) = (None, None);
                    return Ok(None);
                }
                Err(Failed::NotSent(_)) => {
                    (self.connection, self.leader) = (None, None);
                    return Err(());
                }
            }
        }
        Err(())
    }

    /// Learns nothing: every other request hangs up at once, which may come before the server has begun; of the rest
    /// the answer comes and is lost on its way, so that it happened for certain.
    async fn abandon(&mut self, bytes: &[u8], number: u64) -> Result<Option<Answer>, ()> {
        if self.shared.load.abandons_late(number) {
            let asked = self.ask(bytes).await;
            self.connection = None;
            return asked.map(|_| None);
        }
        self.connected().await?;
        match self.connection.take() {
            Some(connection) => connection.send_and_leave(bytes).await.map(|()| None).map_err(|_| ()),
            None => Err(()),
        }
    }
}

/// `Location: http://127.0.0.1:7211/…`
fn leader_of(answer: &Answer) -> Option<SocketAddr> {
    let place = answer.header("location")?.strip_prefix("http://")?;
    place.split('/').next()?.parse().ok()
}
