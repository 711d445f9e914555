//! Over HTTP: the release binary, one member of a group on one connection of an external client.

use super::{Sample, WRITES, since};
use crate::{
    machine::Sampler,
    stand::{Stand, connect, failed, on_one_thread},
};
use jiff::Timestamp;
use model::{Error, Result};
use operations::drill::{
    latency::Latencies,
    wire::{Answer, Connection},
    work::{Request, Target, Work},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

const GROUP: &str = "/api/v1/events/groups/bench";
const MEMBER: &str = "/api/v1/events/groups/bench/members/m";
const PATIENCE: Duration = Duration::from_secs(60);
/// How every event begins.
const EVENT: &[u8] = b"{\"specversion\":";
const TIME: &[u8] = b"\"time\":\"";

pub struct Reader {
    target: Target,
}

struct Member {
    target: Target,
    connection: Connection,
    /// Where the next poll goes on.
    reached: Option<(String, String)>,
}

async fn ask(
    connection: &mut Connection,
    target: &Target,
    method: &'static str,
    path: &str,
    body: &str,
) -> Result<Answer> {
    let request = Request { method, path, if_match: None, idempotency_key: None, body };
    let answer = connection.ask(&request.bytes(target)).await.map_err(|error| failed(format!("{path}: {error:?}")))?;
    if answer.status >= 300 {
        let told = String::from_utf8_lossy(&answer.body).chars().take(200).collect::<String>();
        return Err(failed("the server does not answer as it must").with("path", path).with("answer", told));
    }
    Ok(answer)
}

impl Member {
    async fn join(target: &Target) -> Result<Self> {
        let mut connection = connect(target.server, PATIENCE).await?;
        ask(&mut connection, target, "PUT", MEMBER, r#"{"lease_seconds":300}"#).await?;
        Ok(Self { target: target.clone(), connection, reached: None })
    }

    /// A batch; and whether the log ends there.
    async fn poll(&mut self, wait: u32) -> Result<(Vec<u8>, bool)> {
        let mut path = format!("{MEMBER}/poll?limit=10000&wait={wait}");
        if let Some((after, epoch)) = &self.reached {
            path += &format!("&after={after}&epoch={epoch}&processed={after}");
        }
        // A `POST` says how long its body is, so one is sent.
        let answer = ask(&mut self.connection, &self.target, "POST", &path, "{}").await?;
        let named =
            |name| answer.header(name).map(str::to_owned).ok_or_else(|| failed("an answer without its headers"));
        let (next, epoch, published) = (named("ledger-position")?, named("events-epoch")?, named("events-published")?);
        let ends = next == published;
        self.reached = Some((next, epoch));
        Ok((answer.body, ends))
    }
}

impl Reader {
    pub async fn join(stand: &Stand) -> Result<Self> {
        let target = stand.site.target()?;
        let mut connection = connect(target.server, PATIENCE).await?;
        ask(&mut connection, &target, "PUT", GROUP, r#"{"topics":["intent.lifecycle"]}"#).await?;
        Ok(Self { target })
    }

    /// The first `count` events of the log, counted in the bytes that came.
    pub async fn read_all(&self, stand: &Stand, count: u64) -> Result<Sample> {
        let (sampler, target) = (Sampler::begin(), self.target.clone());
        let (read, elapsed) = on_one_thread(async move || {
            let mut member = moved(&target, "earliest").await?;
            let (begun, mut read) = (Instant::now(), 0);
            while read < count {
                let (body, ends) = member.poll(0).await?;
                read += places(&body, EVENT).count() as u64;
                if ends && read < count {
                    return Err(failed("the log ends before it should").with("read", read));
                }
            }
            Ok((read, begun.elapsed().as_secs_f64()))
        })
        .await?;
        let used = sampler.end(stand.site.pid(), &stand.database());
        Ok(Sample { per_second: read as f64 / elapsed, latency: Latencies::default().percentiles(), used })
    }

    /// Intents at a steady rate; how long after its time in the log each event is with the member.
    pub async fn soon(&self, stand: &mut Stand, seconds: f64) -> Result<Sample> {
        let (stop, (ready, is_ready)) = (Arc::new(AtomicBool::new(false)), oneshot::channel());
        let (stopped, target) = (Arc::clone(&stop), self.target.clone());
        let reading = tokio::spawn(on_one_thread(async move || {
            let (mut member, mut latencies) = (moved(&target, "latest").await?, Latencies::default());
            let _heard = ready.send(());
            loop {
                let last = stopped.load(Ordering::SeqCst);
                let (body, ends) = member.poll(1).await?;
                for at in places(&body, TIME) {
                    latencies.add(since(micros(&body[at..])?));
                }
                if last && ends {
                    return Ok(latencies);
                }
            }
        }));
        let run = match is_ready.await {
            Ok(()) => stand.load(Work::Create, 64, Some(WRITES), seconds).await,
            Err(_) => Err(failed("the reader did not begin")),
        };
        stop.store(true, Ordering::SeqCst);
        let latencies = reading.await.map_err(|error| Error::bug("a reader ended badly").caused_by(error))??;
        let run = run?;
        if latencies.count() < run.summary.answered {
            return Err(failed("events are missing").with("events", latencies.count()));
        }
        Ok(Sample { per_second: run.summary.per_second, latency: latencies.percentiles(), used: run.used })
    }
}

/// A new member of the group, which goes on at another place.
async fn moved(target: &Target, to: &str) -> Result<Member> {
    let mut member = Member::join(target).await?;
    let body = format!(r#"{{"to":"{to}"}}"#);
    ask(&mut member.connection, target, "POST", &format!("{GROUP}/seek"), &body).await?;
    Ok(member)
}

/// Where the pattern ends, each time.
fn places<'b>(body: &'b [u8], pattern: &'b [u8]) -> impl Iterator<Item = usize> + 'b {
    let starts = body.windows(pattern.len()).enumerate().filter(move |(_, window)| *window == pattern);
    starts.map(move |(at, _)| at + pattern.len())
}

/// The time that begins here.
fn micros(text: &[u8]) -> Result<u64> {
    let end = text.iter().position(|byte| *byte == b'"').unwrap_or(text.len());
    let time = std::str::from_utf8(&text[..end]).ok().and_then(|text| text.parse::<Timestamp>().ok());
    let time = time.and_then(|time| u64::try_from(time.as_microsecond()).ok());
    time.ok_or_else(|| failed("an event without a time"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn events_and_their_times_are_found_in_the_bytes() {
        let body = br#"[{"specversion":"1.0","time":"2026-11-25T09:46:40.000123Z"},{"specversion":"1.0","time":"x"}]"#;
        assert_eq!(places(body, EVENT).count(), 2);
        let times: Vec<_> = places(body, TIME).map(|at| micros(&body[at..]).ok()).collect();
        assert_eq!(times, [Some(1_795_600_000_000_123), None]);
    }
}
