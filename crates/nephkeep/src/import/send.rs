//! One document to the server: created, or found to be there already. Repeating it is harmless.
//!
//! A document without an id gets one made from its content, so that the same file imported again, today or in a year,
//! meets itself. What the server could not answer now is tried again for a while.

use super::account::Fate;
use crate::{
    client::{Call, Client},
    routes,
};
use model::{Error, ErrorKind, Json, Result};
use reqwest::Method;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Names the ids made from content; never change it: imports of earlier versions would no longer be recognised.
const CONTENT_IDS: Uuid = Uuid::from_u128(0x7d5c_2f3a_60f4_4f0e_9a7b_1c0d_11a2_b3c4);
const TRY_FOR: Duration = Duration::from_secs(60);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(3);

/// An error here ends the import: the server is gone, or this caller may not write.
pub async fn send(client: &Client, document: Json) -> Result<Fate> {
    let (document, own_id) = identified(document)?;
    let body = document.to_bytes();
    let begun = Instant::now();
    let mut pause = PAUSE_FIRST;
    loop {
        let call = Call::new(Method::POST, routes::INTENTS).body("application/json", body.clone());
        let error = match client.send(call).await {
            Ok(_) => return Ok(Fate::Imported),
            Err(error) => error,
        };
        match error.kind() {
            ErrorKind::Conflict if error.code() == "already-exists" => return existing(client, &document, own_id).await,
            ErrorKind::Retry if begun.elapsed() < TRY_FOR => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MOST);
            }
            ErrorKind::Retry => return Err(error),
            // A denial meets every document alike; an erased subject only its own.
            ErrorKind::Refused if matches!(error.fact("status"), Some("401" | "403")) => return Err(error),
            _ => return Ok(Fate::Refused(error)),
        }
    }
}

/// With an id of its own, or one made from its canonical content.
fn identified(document: Json) -> Result<(Json, bool)> {
    if document.get("id").is_some() {
        return Ok((document, true));
    }
    let canonical = model::canonical::canonicalise(&document)?;
    let id = Uuid::new_v5(&CONTENT_IDS, &canonical).to_string();
    Ok((document.with("id", Json::String(id)), false))
}

/// The same id: the same document, unless the id was its own and something else stands there.
async fn existing(client: &Client, document: &Json, own_id: bool) -> Result<Fate> {
    let Some(id) = document.get("id").and_then(Json::as_str).filter(|_| own_id) else { return Ok(Fate::Skipped) };
    let there = client.send(Call::get(routes::below(routes::INTENTS, id))).await?;
    let there = model::json::parse(there.text.as_bytes())?;
    if document.as_object().unwrap_or_default().iter().all(|(name, value)| holds(&there, name, value)) {
        return Ok(Fate::Skipped);
    }
    let what = "an intent with this id exists and differs; change it with `nephkeep intent update`, or give this one another id";
    Ok(Fate::Refused(Error::conflict("already-exists", what).with("id", id)))
}

/// The server owns href and dates; everything else must stand there as it was sent.
fn holds(there: &Json, name: &str, value: &Json) -> bool {
    const SERVERS_OWN: [&str; 4] = ["href", "creationDate", "lastUpdate", "statusChangeDate"];
    SERVERS_OWN.contains(&name) || there.get(name).is_some_and(|stored| stored.same(value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id_of(text: &str) -> String {
        let (document, _) = identified(model::json::parse(text.as_bytes()).unwrap()).unwrap();
        document.get("id").and_then(Json::as_str).unwrap().to_owned()
    }

    #[test]
    fn the_same_content_has_the_same_id_however_it_is_written() {
        assert_eq!(id_of("{\"a\":1,\"b\":2}"), id_of("{ \"b\": 2, \"a\": 1 }"));
        assert_ne!(id_of("{\"a\":1}"), id_of("{\"a\":2}"));
        assert_eq!(id_of("{\"id\":\"mine\",\"a\":1}"), "mine");
        // Pinned: documents imported by earlier versions must be recognised.
        assert_eq!(id_of("{\"a\":1}"), "pinned");
    }

    #[test]
    fn what_the_server_adds_is_no_difference_but_a_changed_value_is() {
        let there = model::json::parse(br#"{"id":"x","name":"n","href":"/x","lastUpdate":"2026"}"#).unwrap();
        let same = |text: &str| {
            let document = model::json::parse(text.as_bytes()).unwrap();
            document.as_object().unwrap().iter().all(|(name, value)| holds(&there, name, value))
        };
        assert!(same(r#"{"id":"x","name":"n","href":"other"}"#));
        assert!(!same(r#"{"id":"x","name":"m"}"#));
        assert!(!same(r#"{"id":"x","priority":"1"}"#));
    }
}
