//! In process: a record of its own, writers and a member of a group beside it.

use super::{Sample, WRITES, since};
use crate::{home::Home, machine::Sampler, stand::failed};
use audit::TransparencyLog;
use bytes::Bytes;
use keys::Keystore;
use ledger::{
    Group, Ledger, Op, Settings, Write,
    connection::{Connector, RecordUrl},
    server::{Local, LocalOptions},
};
use model::{Access, Class, Columns, Error, Hlc, Kind, Prepared, ResourceKey, Result, Role, Subject, Tenant};
use operations::drill::{latency::Latencies, work};
use relay::events::{Events, Poll, Polled, Start, Topics, topics::BUILT_IN};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const TOPIC: &str = "intent.lifecycle";
const GROUP: &str = "bench";
const MEMBER: &str = "m";
const LEASE: Duration = Duration::from_secs(300);
/// Holds everything that is written.
const RING: usize = 4 << 30;
const TOGETHER: u64 = 64;
const WRITERS: u64 = 16;
const TICK: Duration = Duration::from_millis(1);

pub struct Inside {
    root: PathBuf,
    local: Local,
    log: Arc<TransparencyLog>,
    keystore: Arc<Keystore>,
    ledger: Ledger,
    events: Events,
    access: Access,
    written: u64,
    /// Dropped last: the guard waits until nobody has the record.
    _home: Home,
}

fn access() -> Result<Access> {
    Ok(Access::new("bench", &[Role::Writer], &Tenant::new("bench")?, "bench"))
}

async fn opened(
    root: &Path,
    ring_bytes: usize,
    keystore: &Arc<Keystore>,
    log: &Arc<TransparencyLog>,
) -> Result<Ledger> {
    let connector = Connector::new(&RecordUrl::Local(root.join("record")))?;
    let settings = Settings { ring_bytes, flock: true, ..Settings::default() };
    Ledger::open(settings, connector, Arc::clone(keystore), Arc::clone(log)).await
}

fn write(access: &Access, number: u64) -> Result<Write> {
    let key = ResourceKey::new(&access.tenant, Kind::Intent, &format!("bench-{number}"))?;
    let document = Bytes::from(work::intent(7, number));
    let (subject, columns) = (Subject::of_tenant(&access.tenant), Columns::default());
    let document = Prepared { document, class: Class::Confidential, subject, columns };
    Ok(Write { key, op: Op::Put, document: Some(document) })
}

impl Inside {
    pub async fn start(place: &Path) -> Result<Self> {
        let home = Home::make(place, "inside")?;
        let root = home.without_server()?;
        let local = Local::start(&root.join("record"), LocalOptions::default()).await?;
        let (keystore, _) = Keystore::create(&keys::Settings::under(&root.join("keys")))?;
        let (keystore, log) = (Arc::new(keystore), Arc::new(TransparencyLog::open(&root.join("log"))?));
        let ledger = opened(&root, RING, &keystore, &log).await?;
        let events = Events::new(&ledger, Topics::read(BUILT_IN)?);
        Ok(Self { root, local, log, keystore, ledger, events, access: access()?, written: 0, _home: home })
    }

    /// The same record without anything in memory.
    pub async fn forgetful(self) -> Result<Self> {
        self.ledger.close().await;
        let ledger = opened(&self.root, 1, &self.keystore, &self.log).await?;
        let events = Events::new(&ledger, Topics::read(BUILT_IN)?);
        Ok(Self { ledger, events, ..self })
    }

    pub async fn stop(self) -> Result<()> {
        self.ledger.close().await;
        self.log.close();
        self.local.stop().await
    }

    pub async fn fill(&mut self, count: u64) -> Result<()> {
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (ledger, access) = (self.ledger.clone(), self.access.clone());
            writers.spawn(async move {
                let mine = (0..count).skip(usize::try_from(writer).unwrap_or(0)).step_by(WRITERS as usize);
                let mine: Vec<u64> = mine.collect();
                for some in mine.chunks(TOGETHER as usize) {
                    let writes = some.iter().map(|number| write(&access, *number)).collect::<Result<_>>()?;
                    ledger.write(&access, Group { writes, ..Group::default() }).await?;
                }
                Ok::<(), Error>(())
            });
        }
        while let Some(done) = writers.join_next().await {
            done.map_err(|error| Error::bug("a writer ended badly").caused_by(error))??;
        }
        self.written = count;
        self.events.group_create(&self.access, GROUP, &[TOPIC], &Start::Earliest).await?;
        Ok(())
    }

    fn poll(reached: Option<&Polled>, wait: Duration) -> Poll {
        Poll {
            reached: reached.map(|polled| (polled.epoch, polled.next)),
            processed: reached.map(|polled| polled.next),
            limit: relay::events::BATCH_MAX,
            wait,
        }
    }

    /// A group reads the first `count` events of the log from its beginning on.
    pub async fn read_all(&self, count: u64) -> Result<Sample> {
        self.events.seek(&self.access, GROUP, None, &Start::Earliest).await?;
        self.events.join(&self.access, GROUP, MEMBER, LEASE).await?;
        let (sampler, begun) = (Sampler::begin(), Instant::now());
        let (mut read, mut last) = (0, None);
        while read < count {
            let polled =
                self.events.poll(&self.access, GROUP, MEMBER, &Self::poll(last.as_ref(), Duration::ZERO)).await?;
            read += polled.events.len() as u64;
            if polled.events.is_empty() && polled.next.n >= polled.published.n {
                return Err(failed("the log ends before it should").with("read", read));
            }
            last = Some(polled);
        }
        let elapsed = begun.elapsed().as_secs_f64();
        let used = sampler.end(None, &[]);
        Ok(Sample { per_second: read as f64 / elapsed, latency: Latencies::default().percentiles(), used })
    }

    /// Writers at a steady rate; how long after its time in the log each event is with the member.
    pub async fn soon(&mut self, seconds: f64) -> Result<Sample> {
        self.events.seek(&self.access, GROUP, None, &Start::Latest).await?;
        self.events.join(&self.access, GROUP, MEMBER, LEASE).await?;
        let count = (WRITES * seconds) as u64;
        let (first, sampler, begun) = (self.written, Sampler::begin(), Instant::now());
        self.written += count;
        let writing = tokio::spawn(steady(self.ledger.clone(), self.access.clone(), first, count));
        let (mut latencies, mut last) = (Latencies::default(), None::<Polled>);
        while latencies.count() < count {
            let asked = Self::poll(last.as_ref(), Duration::from_secs(1));
            let polled = self.events.poll(&self.access, GROUP, MEMBER, &asked).await?;
            for event in &polled.events {
                latencies.add(since(Hlc(event.change.hlc).micros()));
            }
            if polled.events.is_empty() && writing.is_finished() && polled.next.n >= polled.published.n {
                break;
            }
            last = Some(polled);
        }
        let elapsed = begun.elapsed().as_secs_f64();
        writing.await.map_err(|error| Error::bug("the writers ended badly").caused_by(error))??;
        if latencies.count() < count {
            return Err(failed("events are missing").with("events", latencies.count()).with("written", count));
        }
        let used = sampler.end(None, &[]);
        Ok(Sample { per_second: count as f64 / elapsed, latency: latencies.percentiles(), used })
    }
}

/// Each millisecond its share of writes, each a group of its own that waits for nobody.
async fn steady(ledger: Ledger, access: Access, first: u64, count: u64) -> Result<()> {
    let (begun, mut sent, mut writes) = (Instant::now(), 0, JoinSet::new());
    let mut tick = tokio::time::interval(TICK);
    while sent < count {
        tick.tick().await;
        let due = ((begun.elapsed().as_secs_f64() * WRITES) as u64).min(count);
        for number in sent..due {
            let (ledger, access) = (ledger.clone(), access.clone());
            writes.spawn(async move {
                let writes = vec![write(&access, first + number)?];
                ledger.write(&access, Group { writes, ..Group::default() }).await.map(drop)
            });
        }
        sent = due;
        while let Some(done) = writes.try_join_next() {
            done.map_err(|error| Error::bug("a writer ended badly").caused_by(error))??;
        }
    }
    while let Some(done) = writes.join_next().await {
        done.map_err(|error| Error::bug("a writer ended badly").caused_by(error))??;
    }
    Ok(())
}
