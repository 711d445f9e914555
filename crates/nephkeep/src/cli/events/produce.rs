//! `events produce-test`: writes changes and waits for each to come back as an event.

use crate::{
    cli::{Global, status::published},
    client::{Call, Client},
    exit::{Exit, Failure, Outcome},
    output::{self, Report},
    routes,
};
use clap::Args;
use reqwest::Method;
use serde_json::json;
use std::time::Instant;

/// Write test changes and wait for each to come back as an event
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep events produce-test\n  nephkeep events produce-test --count 100 -o json\n\n\
    Writes one configuration key again and again, waits for the event of each version, tells how long that took from\n\
    the answer to the write on, and deletes the key. Exit 1 when an event does not come."
)]
pub struct ProduceTest {
    /// So many changes
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    count: u16,
    /// Show what would be written; write nothing
    #[arg(long)]
    dry_run: bool,
}

const TOPIC: &str = "configuration.changed";
const WAIT_SECONDS: u64 = 5;

pub async fn run(global: &Global, verb: &ProduceTest) -> Outcome {
    let key = format!("events-test/{}", std::process::id());
    if verb.dry_run {
        output::note("dry run: nothing is written");
        let value = json!({ "key": key, "topic": TOPIC, "count": verb.count });
        let facts = vec![("key", key), ("topic", TOPIC.to_owned()), ("count", verb.count.to_string())];
        return Report::facts(facts, value).print(global.output);
    }
    let client = global.client()?;
    let path = routes::configuration(&key);
    let mut after = published(&client).await?;
    let mut took_ms = Vec::new();
    for number in 0..verb.count {
        let body = json!({ "test": number });
        let written = client.send(Call::new(Method::PUT, &path).json(&body)).await?;
        let begun = Instant::now();
        let position = written.header("ledger-position").unwrap_or_default().to_owned();
        if !comes(&client, &position, &mut after).await? {
            break;
        }
        took_ms.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    client.send(Call::new(Method::DELETE, &path)).await?;
    took_ms.sort_by(f64::total_cmp);
    let shown = |at: usize| took_ms.get(at).map_or("-".to_owned(), |ms| format!("{ms:.1}"));
    let (median, most) = (shown(took_ms.len() / 2), shown(took_ms.len().saturating_sub(1)));
    let value = json!({ "topic": TOPIC, "written": verb.count, "received": took_ms.len(),
        "median_ms": took_ms.get(took_ms.len() / 2), "max_ms": took_ms.last() });
    let facts = vec![
        ("topic", TOPIC.to_owned()),
        ("written", verb.count.to_string()),
        ("received", took_ms.len().to_string()),
        ("median_ms", median),
        ("max_ms", most),
    ];
    Report::facts(facts, value).print(global.output)?;
    if took_ms.len() == usize::from(verb.count) { Ok(()) } else { Err(Failure::Reported(Exit::CheckFailed)) }
}

/// Whether the event of a position comes in time; `after` is where the next one is looked for.
async fn comes(client: &Client, position: &str, after: &mut String) -> Outcome<bool> {
    let path = routes::below(routes::TOPICS, TOPIC);
    let until = Instant::now();
    while until.elapsed().as_secs() < 2 * WAIT_SECONDS {
        let answer = client.send(Call::get(&path).query("after", &*after).query("wait", WAIT_SECONDS)).await?;
        if let Some(next) = answer.header("ledger-position") {
            next.clone_into(after);
        }
        let events = answer.value()?;
        let mut ids = events.as_array().into_iter().flatten().map(|event| &event["id"]);
        if ids.any(|id| id.as_str() == Some(position)) {
            return Ok(true);
        }
    }
    Ok(false)
}
