//! `intent watch`: changes as they happen, one per line, from any position.

use crate::{
    cli::{Global, status::cell},
    client::Call,
    exit::Outcome,
    output::{self, Format},
    routes,
};
use clap::Args;
use serde_json::Value;

/// Print changes as they happen
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep intent watch\n  nephkeep intent watch --from start -o json\n  \
    nephkeep intent watch --from POSITION --count 10     as a change or `nephkeep status` shows it")]
pub struct Watch {
    /// After this position; `start` for everything there is [default: from now on]
    #[arg(long, value_name = "POSITION")]
    from: Option<String>,
    /// End after so many changes
    #[arg(long)]
    count: Option<u64>,
}

pub async fn run(global: &Global, verb: &Watch) -> Outcome {
    let client = global.client()?;
    let after = match verb.from.as_deref() {
        Some("start") => None,
        Some(position) => Some(position.to_owned()),
        None => Some(super::super::status::published(&client).await?),
    };
    let call = Call::get(routes::WATCH).query("kind", "intent").maybe("after", after);
    let mut left = verb.count.unwrap_or(u64::MAX);
    let format = global.output;
    let watching = client.events(call, move |data| {
        print(format, data);
        left = left.saturating_sub(1);
        left > 0
    });
    tokio::select! {
        ended = watching => Ok(ended?),
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

fn print(format: Format, data: &str) {
    if format != Format::Table {
        return output::data(data);
    }
    let change: Value = serde_json::from_str(data).unwrap_or(Value::Null);
    let words = ["position", "time", "action", "id", "version", "principal"].map(|name| cell(&change[name]));
    output::data(&output::printable(&words.join("  ")));
}
