//! Over HTTP: documents in with the command line, questions with many connections.

use super::corpus::Corpus;
use crate::{
    results::{Row, grouped, p95},
    stand::{Stand, failed},
};
use model::Result;
use operations::drill::{
    wire::Connection,
    work::{Request, Target},
};
use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const CONNECTIONS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn rows(place: &Path, corpus: &Corpus, seconds: f64) -> Result<Vec<Row>> {
    let mut stand = Stand::start(place).await?;
    let begun = Instant::now();
    command(&stand, &["knowledge", "import", &corpus.file.display().to_string()])?;
    let stored = begun.elapsed();
    // Brings the copy to the record's position, and compares it.
    command(&stand, &["verify", "vectors"])?;
    let copied = begun.elapsed();
    command(&stand, &["verify", "text"])?;
    let target = stand.site.target()?;
    let questions: Arc<Vec<String>> = Arc::new(corpus.questions.iter().map(|(text, _)| text.clone()).collect());
    let alone = ask(&target, &questions, "vector", 1, seconds).await?;
    let together = ask(&target, &questions, "vector", CONNECTIONS, seconds).await?;
    let both = ask(&target, &questions, "hybrid", 1, seconds).await?;
    let both_together = ask(&target, &questions, "hybrid", CONNECTIONS, seconds).await?;
    stand.site.stop().await?;
    let hour = |took: Duration| corpus.passages.len() as f64 / took.as_secs_f64() * 3_600.0;
    let (alone_ms, both_ms) = (p95(&alone.times_ms), p95(&both.times_ms));
    Ok(vec![
        Row::new(
            "passages imported over HTTP: stored; stored, embedded and compared",
            "≥ 500,000/h",
            format!("{}/h; {}/h", grouped(hour(stored)), grouped(hour(copied))),
            hour(copied) >= 500_000.0,
        ),
        Row::new(
            "search by vectors over HTTP with audited reads, one connection",
            "P95 ≤ 5 ms",
            format!("P95 {alone_ms:.2} ms, {}/s", grouped(alone.per_second)),
            alone_ms <= 5.0,
        ),
        Row::new(
            format!("search by vectors over HTTP with audited reads, {CONNECTIONS} connections"),
            "≥ 800/s",
            format!("{}/s, P95 {:.2} ms", grouped(together.per_second), p95(&together.times_ms)),
            together.per_second >= 800.0,
        ),
        Row::new(
            "search by vectors and words over HTTP with audited reads, one connection",
            "P95 ≤ 15 ms",
            format!("P95 {both_ms:.2} ms, {}/s", grouped(both.per_second)),
            both_ms <= 15.0,
        ),
        Row::new(
            format!("search by vectors and words over HTTP with audited reads, {CONNECTIONS} connections"),
            "≥ 800/s",
            format!("{}/s, P95 {:.2} ms", grouped(both_together.per_second), p95(&both_together.times_ms)),
            both_together.per_second >= 800.0,
        ),
    ])
}

pub fn command(stand: &Stand, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(&stand.site.layout.program);
    command.arg("--dir").arg(&stand.site.layout.root).args(arguments);
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("nephkeep {} failed", arguments.join(" "))).with("status", status)),
        Err(error) => Err(failed("nephkeep does not start").caused_by(error)),
    }
}

struct Asked {
    times_ms: Vec<f64>,
    per_second: f64,
}

async fn ask(
    target: &Target,
    questions: &Arc<Vec<String>>,
    mode: &'static str,
    connections: usize,
    seconds: f64,
) -> Result<Asked> {
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for worker in 0..connections {
        let (target, questions) = (target.clone(), Arc::clone(questions));
        workers.spawn(async move {
            let broken = |error: String| failed(format!("a search was not answered: {error}"));
            let mut connection =
                Connection::open(target.server, PATIENCE).await.map_err(|error| broken(error.to_string()))?;
            let mut times = Vec::new();
            for question in questions.iter().cycle().skip(worker * 100) {
                if begun.elapsed().as_secs_f64() > seconds {
                    break;
                }
                let body = serde_json::json!({ "text": question, "limit": 10, "mode": mode }).to_string();
                let request = Request {
                    method: "POST",
                    path: "/api/v1/search",
                    if_match: None,
                    idempotency_key: None,
                    body: &body,
                };
                let sent = Instant::now();
                let answer =
                    connection.ask(&request.bytes(&target)).await.map_err(|error| broken(format!("{error:?}")))?;
                // A heading without a letter or digit is refused, and told apart from an answer.
                if answer.status != 200 && answer.status != 400 {
                    return Err(broken(format!("status {}", answer.status)));
                }
                times.push(sent.elapsed().as_secs_f64() * 1_000.0);
            }
            Ok(times)
        });
    }
    let mut times_ms = Vec::new();
    while let Some(done) = workers.join_next().await {
        times_ms.extend(done.map_err(|error| model::Error::bug("a worker ended badly").caused_by(error))??);
    }
    let per_second = times_ms.len() as f64 / begun.elapsed().as_secs_f64();
    Ok(Asked { times_ms, per_second })
}
