//! Reading intents: one, many, and what one has been.

use crate::{
    cli::{Global, status::cell},
    client::{Answer, Call, Client},
    exit::Outcome,
    output::{self, Format, Report},
    routes,
};
use clap::Args;
use model::{Error, Json};
use serde_json::Value;

/// Show one intent
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep intent get 7c9e6679-7425-40de-944b-e07fc1f90ae7\n  \
    nephkeep intent get ID --fields name,lifecycleStatus\n  nephkeep intent get ID --version 2\n  \
    nephkeep intent get ID --position 0.1-9f86d081884c7d65.42   at least as new as this position")]
pub struct Get {
    /// The intent, as `intent list` shows it
    id: String,
    /// Only these attributes, parted by commas
    #[arg(long, value_name = "NAMES")]
    fields: Option<String>,
    /// As it was at this version
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["fields", "position"])]
    version: Option<u64>,
    /// Wait until the server has reached this log position
    #[arg(long)]
    position: Option<String>,
}

/// List intents, oldest first
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep intent list --limit 5\n  nephkeep intent list --filter lifecycleStatus=active\n  \
    nephkeep intent list --all -o json > intents.json"
)]
pub struct List {
    /// Only intents whose attribute has this value; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = filter)]
    filter: Vec<(String, String)>,
    /// At most so many
    #[arg(long, default_value_t = 100, allow_negative_numbers = true, value_parser = crate::cli::values::count)]
    limit: u32,
    /// So many are passed over first
    #[arg(long, default_value_t = 0)]
    offset: u64,
    /// Every page, not only the first
    #[arg(long, conflicts_with = "offset")]
    all: bool,
}

/// Show every version of an intent, deletions included
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep intent history ID\n  nephkeep intent history ID -o json")]
pub struct History {
    /// The intent, deleted ones too
    id: String,
}

pub async fn get(global: &Global, verb: &Get) -> Outcome {
    if let Some(version) = verb.version {
        return past(global, &verb.id, version).await;
    }
    let call = Call::get(routes::below(routes::INTENTS, &verb.id)).maybe("fields", verb.fields.as_ref());
    let call = match &verb.position {
        Some(position) => call.header("ledger-position", position),
        None => call,
    };
    let client = global.client()?;
    let answer = match client.send(call).await {
        Err(error) if error.code() == "not-found" => return Err(missing(&client, &verb.id, error).await.into()),
        answer => answer?,
    };
    if let Some(version) = answer.header("etag") {
        output::note(&format!("version {}", version.trim_matches('"')));
    }
    if let Some(names) = &verb.fields {
        let value = answer.value()?;
        let absent = |name: &&str| !name.is_empty() && value.get(name.split('.').next().unwrap_or(name)).is_none();
        let absent: Vec<&str> = names.split(',').map(str::trim).filter(absent).collect();
        if !absent.is_empty() {
            output::note(&format!("this intent has no {}", absent.join(", ")));
        }
    }
    output::document(global.output, &answer.text)
}

async fn past(global: &Global, id: &str, version: u64) -> Outcome {
    let call = Call::get(routes::history("intent", id)).query("before", version.saturating_add(1)).query("limit", 1);
    let answer = global.client()?.send(call).await?.json()?;
    let found = answer.get("versions").and_then(Json::as_array).and_then(<[Json]>::first);
    let found = found.filter(|found| found.get("version").and_then(Json::as_number) == Some(&version.to_string()));
    let missing =
        || Error::not_found("not-found", "this intent has no such version").with("id", id).with("version", version);
    let document = found.ok_or_else(missing)?.get("document").ok_or_else(|| {
        Error::not_found("not-found", "at this version the intent was deleted, or its customer is erased")
            .with("id", id)
    })?;
    output::document(global.output, &String::from_utf8_lossy(&document.to_bytes()))
}

/// The server keeps what was deleted: that is told, and where to read it.
async fn missing(client: &Client, id: &str, error: Error) -> Error {
    match client.send(Call::get(routes::history("intent", id))).await {
        Ok(_) => {
            let what = format!("this intent was deleted; `nephkeep intent history {id}` shows what it was");
            Error::not_found("not-found", what).with("id", id)
        }
        Err(_) => error,
    }
}

/// `NAME=VALUE` as a parameter of the query; an operator of the door (`priority.gte=5`) stays part of the name.
fn filter(text: &str) -> Result<(String, String), String> {
    let given = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = given.ok_or_else(|| "a filter reads NAME=VALUE, as lifecycleStatus=Created".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

pub async fn list(global: &Global, verb: &List) -> Outcome {
    let client = global.client()?;
    let (mut items, mut offset, mut texts) = (Vec::new(), verb.offset, Vec::new());
    loop {
        let mut call = Call::get(routes::INTENTS).query("limit", verb.limit).query("offset", offset);
        for (name, value) in &verb.filter {
            call = call.query(name, value);
        }
        let answer = client.send(call).await?;
        let page = elements(&answer)?;
        note_rest(verb, &answer, offset, page.len());
        let full = page.len() as u64 >= u64::from(verb.limit);
        offset += page.len() as u64;
        texts.push(answer.text);
        items.extend(page);
        if !verb.all || !full {
            break;
        }
    }
    if items.is_empty() && !verb.filter.is_empty() {
        let all = client.send(Call::get(routes::INTENTS).query("limit", 0)).await?;
        let all = all.header("x-total-count").unwrap_or("?").to_owned();
        output::note(&format!("0 of {all} intents match; names and values are compared exactly, case and all"));
    }
    if global.output == Format::Json {
        return output::document(Format::Json, &joined(&texts));
    }
    let row = |intent: &Value| {
        ["id", "name", "lifecycleStatus", "priority", "creationDate"].map(|name| cell(&intent[name])).to_vec()
    };
    let rows = items.iter().map(row).collect();
    Report::new(&["id", "name", "status", "priority", "created"], rows, items.into()).print(global.output)
}

pub fn elements(answer: &Answer) -> model::Result<Vec<Value>> {
    match answer.value()? {
        Value::Array(items) => Ok(items),
        other => Ok(vec![other]),
    }
}

/// Pages as one array, from their texts: numbers stay as they were.
fn joined(pages: &[String]) -> String {
    let inner = |page: &'_ String| {
        let page = page.trim();
        let bare = page.strip_prefix('[').and_then(|page| page.strip_suffix(']')).unwrap_or(page);
        bare.trim().to_owned()
    };
    format!("[{}]", pages.iter().map(inner).filter(|page| !page.is_empty()).collect::<Vec<_>>().join(","))
}

fn note_rest(verb: &List, answer: &Answer, offset: u64, shown: usize) {
    let total = answer.header("x-total-count").and_then(|count| count.parse::<u64>().ok());
    if let Some(total) = total.filter(|total| !verb.all && *total > offset + shown as u64) {
        output::note(&format!("{shown} of {total}; more with --offset {} or --all", offset + shown as u64));
    }
}

pub async fn history(global: &Global, verb: &History) -> Outcome {
    let call = Call::get(routes::history("intent", &verb.id));
    crate::cli::history::print(global, &global.client()?.send(call).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_joined_without_touching_their_numbers() {
        let pages = ["[{\"n\":12345678901234567890123}]".to_owned(), "[]".to_owned(), "[[1],2]".to_owned()];
        assert_eq!(joined(&pages[..2]), "[{\"n\":12345678901234567890123}]");
        assert_eq!(joined(&pages[..1]), pages[0]);
    }
}
