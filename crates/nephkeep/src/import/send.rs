//! One document to the server: created, or found to be there already. Repeating it is harmless, because the same row of
//! the same file has the same id at every import. What the server could not answer now is tried again for a while.

use super::account::Fate;
use crate::{
    client::{Answer, Call, Client},
    routes,
};
use model::{Error, ErrorKind, Json, Kind, Result, intake::Mapped};
use reqwest::Method;
use std::{
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    time::{Duration, Instant},
};
use tokio::sync::{Mutex, MutexGuard};

const LANES: usize = 256;
const TRY_FOR: Duration = Duration::from_secs(60);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(3);

/// Documents of one id are sent in the order of the input, so that each import of the same files counts alike.
#[derive(Debug)]
pub struct Order(Box<[Mutex<()>]>);

impl Default for Order {
    fn default() -> Self {
        Self((0..LANES).map(|_| Mutex::new(())).collect())
    }
}

impl Order {
    /// Held until the document is stored. Fair: who asks first is served first.
    pub async fn turn(&self, id: &str) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(id);
        self.0[usize::try_from(hash % LANES as u64).unwrap_or(0)].lock().await
    }
}

/// Why documents are waiting, for whoever tells the progress.
#[derive(Debug, Default)]
pub struct Waits(std::sync::Mutex<Option<String>>);

impl Waits {
    /// A poisoned lock still holds a line of text.
    fn why(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    #[must_use]
    pub fn take(&self) -> Option<String> {
        self.why().take()
    }
}

/// An error here ends the import: the server is gone, or this caller may not write.
pub async fn send(client: &Client, mapped: Mapped, waits: &Waits) -> Result<Fate> {
    let route = route(mapped.kind);
    let document = mapped.body.with("id", mapped.id.as_str());
    let body = document.to_bytes();
    let call = || Call::new(Method::POST, route).body("application/json", body.clone());
    let error = match patiently(client, waits, call).await {
        Ok(_) => return Ok(Fate::Imported),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::Conflict if error.code() == "already-exists" => {
            existing(client, mapped.kind, &mapped.id, &document).await
        }
        _ if ends(&error) => Err(error),
        _ => Ok(Fate::Refused(error)),
    }
}

/// Whether it would meet every further document alike: a server that is gone, a denial. An erased customer is the
/// trouble of its own documents only.
pub fn ends(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Retry | ErrorKind::Refused) && error.code() != "subject-erasing"
}

/// Sends again for a minute what the server cannot answer now; for requests that may be repeated.
pub async fn patiently(client: &Client, waits: &Waits, call: impl Fn() -> Call) -> Result<Answer> {
    let begun = Instant::now();
    let mut pause = PAUSE_FIRST;
    loop {
        match client.send(call()).await {
            Err(error) if error.kind() == ErrorKind::Retry && begun.elapsed() < TRY_FOR => {
                *waits.why() = Some(format!("{} ({})", error.message(), error.code()));
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MOST);
            }
            done => return done,
        }
    }
}

fn route(kind: Kind) -> &'static str {
    if kind == Kind::IntentSpecification { routes::SPECIFICATIONS } else { routes::INTENTS }
}

/// Skipped when this document stands there or once did (it may have been changed since); refused when something else
/// has taken its id, since skipping that would lose this document silently.
async fn existing(client: &Client, kind: Kind, id: &str, document: &Json) -> Result<Fate> {
    let there = client.send(Call::get(routes::below(route(kind), id))).await?;
    if holds(&model::json::parse(there.text.as_bytes())?, document) {
        return Ok(Fate::Skipped);
    }
    let history = client.send(Call::get(routes::history(kind.as_str(), id))).await?;
    let history = model::json::parse(history.text.as_bytes())?;
    let versions = history.get("versions").and_then(Json::as_array).unwrap_or_default();
    if versions.iter().filter_map(|version| version.get("document")).any(|stored| holds(stored, document)) {
        return Ok(Fate::Skipped);
    }
    let what = "another document has this id; rename the file, or give this document an id of its own";
    Ok(Fate::Refused(Error::conflict("already-exists", what).with("id", id)))
}

/// The server owns href and dates; everything else must stand there as it was sent.
fn holds(there: &Json, document: &Json) -> bool {
    const SERVERS_OWN: [&str; 4] = ["href", "creationDate", "lastUpdate", "statusChangeDate"];
    let sent = document.as_object().unwrap_or_default();
    sent.iter()
        .filter(|(name, _)| !SERVERS_OWN.contains(&name.as_str()))
        .all(|(name, value)| there.get(name).is_some_and(|stored| stored.same(value)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_the_server_adds_is_no_difference_but_a_changed_value_is() {
        let json = |text: &str| model::json::parse(text.as_bytes()).unwrap();
        let there = json(r#"{"id":"x","name":"n","href":"/x","lastUpdate":"2026"}"#);
        assert!(holds(&there, &json(r#"{"id":"x","name":"n","href":"other"}"#)));
        assert!(!holds(&there, &json(r#"{"id":"x","name":"m"}"#)));
        assert!(!holds(&there, &json(r#"{"id":"x","priority":"1"}"#)));
    }
}
