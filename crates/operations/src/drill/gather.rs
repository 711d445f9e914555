//! What is there after recovery, asked for over HTTP like any client: every document of the load, and the history of
//! those that it changed.

use super::{
    account::{Found, FoundVersion},
    ackfile::{Line, Told},
    load::PREPARED_FROM,
    wire::{Answer, Connection},
    work::{self, INTENTS, Request, Target},
};
use model::{Error, Result};
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};

const PATIENCE: Duration = Duration::from_secs(60);
const PAGE: u32 = 500;

fn failed(what: impl Into<String>) -> Error {
    Error::retry("drill-account-failed", "the record could not be read for the account").with("why", what.into())
}

/// Every document that the load with this seed made.
pub async fn documents(target: &Target, seed: u64) -> Result<Vec<Found>> {
    let mut connection = connect(target).await?;
    let mut found = Vec::new();
    let mut next = Some(format!("{INTENTS}?limit={PAGE}"));
    while let Some(path) = next {
        let answer = get(&mut connection, target, &path).await?;
        next = answer.header("link").and_then(next_page);
        let page: Vec<Value> = serde_json::from_slice(&answer.body).map_err(|error| failed(error.to_string()))?;
        let full = page.iter().filter_map(|document| judge(document, seed));
        found.extend(full);
    }
    // A list shows documents, not versions; a version is told by the history of those that were changed.
    Ok(found)
}

/// The versions that the load's changes made, of every document that it changed.
pub async fn versions(target: &Target, seed: u64, lines: &[Line]) -> Result<Vec<FoundVersion>> {
    let changed: BTreeSet<&str> =
        lines.iter().filter(|line| is_change(line)).filter_map(|line| line.id.as_deref()).collect();
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    let mut connection = connect(target).await?;
    let mut found = Vec::new();
    for id in changed {
        let answer = get(&mut connection, target, &format!("/api/v1/history/intent/{id}")).await?;
        let history: Value = serde_json::from_slice(&answer.body).map_err(|error| failed(error.to_string()))?;
        for version in history["versions"].as_array().into_iter().flatten() {
            let number = version["document"]["description"].as_str().and_then(|text| work::marked(seed, text));
            let number_and_version = number.zip(version["version"].as_u64());
            found.extend(number_and_version.map(|(number, version)| FoundVersion {
                id: id.to_owned(),
                version,
                number,
            }));
        }
    }
    Ok(found)
}

/// The load's creations carry numbers of their own, so a doubt about a change is one about a known id.
fn is_change(line: &Line) -> bool {
    line.told == Told::Changed || (line.told == Told::InDoubt && line.id.is_some() && line.number < PREPARED_FROM)
}

fn judge(document: &Value, seed: u64) -> Option<Found> {
    let number = work::marked(seed, document["name"].as_str()?)?;
    let id = document["id"].as_str()?.to_owned();
    let sent: Value = serde_json::from_str(&work::intent(seed, number)).ok()?;
    let changed = |name: &str| matches!(name, "description" | "priority") && is_patched(document, seed);
    let whole = sent.as_object()?.iter().all(|(name, value)| document.get(name) == Some(value) || changed(name));
    Some(Found { number, id, version: 1, whole })
}

fn is_patched(document: &Value, seed: u64) -> bool {
    document["description"].as_str().is_some_and(|text| work::marked(seed, text).is_some())
}

/// `<path>; rel="next"`
fn next_page(link: &str) -> Option<String> {
    let (path, rest) = link.strip_prefix('<')?.split_once('>')?;
    rest.contains("rel=\"next\"").then(|| path.to_owned())
}

async fn connect(target: &Target) -> Result<Connection> {
    Connection::open(target.server, PATIENCE).await.map_err(|error| failed(error.to_string()))
}

async fn get(connection: &mut Connection, target: &Target, path: &str) -> Result<Answer> {
    let request = Request { method: "GET", path, if_match: None, idempotency_key: None, body: "" };
    let answer = connection.ask(&request.bytes(target)).await.map_err(|error| failed(format!("{path}: {error:?}")))?;
    if answer.status == 200 {
        return Ok(answer);
    }
    let said = String::from_utf8_lossy(&answer.body).chars().take(300).collect::<String>();
    Err(failed(format!("{path} answered {}: {said}", answer.status)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_document_is_whole_when_all_that_was_sent_is_there() {
        let mut document: Value = serde_json::from_str(&work::intent(3, 9)).unwrap();
        document["id"] = "x".into();
        document["href"] = "/x".into();
        assert!(judge(&document, 3).unwrap().whole);
        assert!(judge(&document, 4).is_none());
        document["description"] = work::marker(3, 12).into();
        assert!(judge(&document, 3).unwrap().whole, "changed by the load itself");
        document["characteristic"][0]["value"] = 0.into();
        assert!(!judge(&document, 3).unwrap().whole);
    }

    #[test]
    fn only_a_next_link_is_followed() {
        assert_eq!(next_page("</a?after=1>; rel=\"next\"").as_deref(), Some("/a?after=1"));
        assert_eq!(next_page("</a>; rel=\"prev\""), None);
    }
}
