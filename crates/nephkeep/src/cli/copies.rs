//! `verify`, `diff`, `rebuild`: the copies against the record.

use super::{Global, status::cell};
use crate::{
    client::Call,
    exit::{Exit, Failure, Outcome},
    output::{self, Format, Report},
    routes,
};
use clap::Args;
use model::Kind;
use reqwest::Method;
use serde_json::{Value, json};

/// Compare copies with the record, key by key, at one position
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep verify                 every copy\n  nephkeep verify vectors -o json\n  \
    nephkeep verify metrics         the counters of documents against the log\n\n\
    Exit 1 when a copy differs; `nephkeep diff` names the keys, `nephkeep rebuild` mends them."
)]
pub struct Verify {
    /// The copy [default: all that are made from the log]
    copy: Option<String>,
}

/// Name the keys in which a copy differs from the record
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep diff vectors\n  nephkeep diff vectors -o json\n\nExit 1 when there is a difference."
)]
pub struct Diff {
    /// The copy, as `nephkeep status` names it
    copy: String,
}

/// Make a copy anew from the record, while the old one is read
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep rebuild vectors\n  \
    nephkeep rebuild vectors --keys knowledge-document/0828a6a1-…   only this key, in place\n\n\
    The new copy takes the place of the old one at once, when it is complete.")]
pub struct Rebuild {
    /// The copy, as `nephkeep status` names it
    copy: String,
    /// Only these keys, of this tenant unless another is named
    #[arg(long, value_name = "[TENANT/]KIND/ID", value_delimiter = ',')]
    keys: Vec<String>,
    /// Show how the copy differs now; change nothing
    #[arg(long)]
    dry_run: bool,
}

async fn act(global: &Global, copy: &str, action: &str, body: Option<&Value>) -> Outcome<Value> {
    let call = Call::new(Method::POST, routes::below(routes::COPIES, &format!("{copy}:{action}")));
    let call = match body {
        Some(body) => call.json(body),
        None => call,
    };
    Ok(global.client()?.send(call).await?.value()?)
}

async fn names(global: &Global) -> Outcome<Vec<String>> {
    let listed = global.client()?.send(Call::get(routes::COPIES)).await?.value()?;
    let copies = listed["copies"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(copies.iter().filter_map(|copy| copy["name"].as_str().map(str::to_owned)).collect())
}

/// As `--keys` takes it.
fn named_key(told: &Value) -> String {
    let text = |name: &str| output::printable(told[name].as_str().unwrap_or_default());
    ["tenant", "kind", "id"].map(text).join("/")
}

const FACTS: [&str; 7] = ["name", "generation", "position", "keys", "objects", "unshaped", "differing"];

fn tell(global: &Global, found: Vec<Value>) -> Outcome {
    let differs = found.iter().any(|copy| copy["differing"].as_u64() != Some(0));
    let rows = found.iter().map(|copy| FACTS.iter().map(|name| cell(&copy[*name])).collect()).collect();
    for lost in found.iter().filter_map(|copy| copy["unshaped_named"].as_array()).flatten() {
        let code = output::printable(lost["code"].as_str().unwrap_or_default());
        output::note(&format!("{} has nothing in this copy: {code}", named_key(lost)));
    }
    Report::new(&FACTS, rows, Value::Array(found)).print(global.output)?;
    if differs { Err(Failure::Reported(Exit::CheckFailed)) } else { Ok(()) }
}

pub async fn verify(global: &Global, verb: &Verify) -> Outcome {
    let copies = match &verb.copy {
        Some(copy) => vec![copy.clone()],
        None => names(global).await?,
    };
    let mut found = Vec::new();
    for copy in copies {
        found.push(act(global, &copy, "verify", None).await?);
    }
    tell(global, found)
}

pub async fn diff(global: &Global, verb: &Diff) -> Outcome {
    named(global, &verb.copy).await
}

async fn named(global: &Global, copy: &str) -> Outcome {
    let found = act(global, copy, "verify", None).await?;
    let names = ["what", "tenant", "kind", "id", "record", "copy"];
    let differences = found["differences"].as_array().cloned().unwrap_or_default();
    let rows = differences.iter().map(|one| names.iter().map(|name| cell(&one[*name])).collect()).collect();
    let differs = found["differing"].as_u64() != Some(0);
    if global.output == Format::Table && !differs {
        output::data("differing: 0");
    } else {
        Report::new(&names, rows, found).print(global.output)?;
    }
    if differs { Err(Failure::Reported(Exit::CheckFailed)) } else { Ok(()) }
}

pub async fn rebuild(global: &Global, verb: &Rebuild) -> Outcome {
    if verb.dry_run {
        output::note("dry run: the copy stays as it is");
        return named(global, &verb.copy).await;
    }
    if verb.keys.is_empty() {
        return tell(global, vec![act(global, &verb.copy, "rebuild", None).await?]);
    }
    let key = |text: &String| {
        let (first, rest) = text.split_once('/').unwrap_or((text, ""));
        match rest.split_once('/') {
            // Ids may hold a slash, names of kinds are known.
            Some((kind, id)) if first.parse::<Kind>().is_err() => json!({ "tenant": first, "kind": kind, "id": id }),
            _ => json!({ "kind": first, "id": rest }),
        }
    };
    let body = json!({ "keys": verb.keys.iter().map(key).collect::<Vec<_>>() });
    let done = act(global, &verb.copy, "rebuild", Some(&body)).await?;
    // What the record never had may still lie in a copy that was damaged, so it is not refused; but it is told.
    for key in done["absent"].as_array().into_iter().flatten() {
        output::note(&format!("{}: not in the record, so nothing of it belongs in the copy", named_key(key)));
    }
    let left = done["left"].as_array().map_or(0, Vec::len);
    for key in done["left"].as_array().into_iter().flatten() {
        let id = output::printable(key["id"].as_str().unwrap_or_default());
        output::note(&format!("{id}: the copy holds a later state than the record; rebuild the whole copy"));
    }
    let facts = vec![("copy", verb.copy.clone()), ("applied", cell(&done["applied"])), ("left", left.to_string())];
    Report::facts(facts, done).print(global.output)?;
    if left > 0 { Err(Failure::Reported(Exit::CheckFailed)) } else { Ok(()) }
}
