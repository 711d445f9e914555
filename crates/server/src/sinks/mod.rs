//! Webhook sinks: events of the change log sent to addresses outside, each at its own pace. The TMF630 hub is one of
//! their shapes.
//!
//! Only the leader delivers. Every sink has a worker of its own with its own position, so one that hangs holds up nobody
//! else. Delivery is at least once, in the order of the log. A sink that does not answer is tried again with growing
//! pauses and its position stays; an event that it refuses for what it is, is put aside as a dead letter with the reason.

mod dispatch;
pub mod guard;
pub mod message;
mod notification;
mod send;
mod worker;

pub use dispatch::{Dispatcher, KINDS};
pub use guard::Policy;
pub use send::{Refusal, Sender};

use ledger::{Content, DeadLetter, Resource};
use model::{Access, Error, Kind, ResourceKey, Result, Role, json, sink::Sink};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
};

/// What a worker knows of its sink, for whoever asks.
#[derive(Debug, Default)]
pub struct State {
    pub delivered: AtomicU64,
    pub failed: AtomicU64,
    pub buried: AtomicU64,
    /// Why it does not go on, while it does not.
    pub error: Mutex<Option<String>>,
}

/// The states of the sinks that this server delivers to.
#[derive(Debug, Default)]
pub struct Board(Mutex<HashMap<ResourceKey, Arc<State>>>);

impl Board {
    #[must_use]
    pub fn of(&self, key: &ResourceKey) -> Option<Arc<State>> {
        self.0.lock().get(key).cloned()
    }
    fn put(&self, key: &ResourceKey) -> Arc<State> {
        let state = Arc::<State>::default();
        self.0.lock().insert(key.clone(), Arc::clone(&state));
        state
    }
    fn remove(&self, key: &ResourceKey) {
        self.0.lock().remove(key);
    }
    /// How many there are, and how many of them do not go on.
    #[must_use]
    pub fn counted(&self) -> (u64, u64) {
        let states = self.0.lock();
        let failing = states.values().filter(|state| state.error.lock().is_some()).count();
        (states.len() as u64, failing as u64)
    }
}

/// The name of a sink among the consumers of the record.
#[must_use]
pub fn consumer(key: &ResourceKey) -> String {
    match key.kind {
        Kind::Hub => format!("hub/{}", key.id),
        _ => format!("sink/{}", key.id),
    }
}

/// As whom a sink reads. Which topics it may have was decided when it was made.
#[must_use]
pub fn access(key: &ResourceKey) -> Access {
    let (roles, purpose): (&[Role], _) = match key.kind {
        Kind::Hub => (&[Role::Reader], "notification"),
        _ => (&[Role::Reader, Role::Auditor], "event sink"),
    };
    Access::new(&consumer(key), roles, &key.tenant, purpose)
}

/// A stored sink; `None`: it was deleted or erased.
pub fn read(resource: &Resource) -> Result<Option<Sink>> {
    match &resource.document {
        Content::Clear(document) => Sink::read(&json::stored(document)?, None).map(Some),
        Content::Erased | Content::Deleted => Ok(None),
    }
}

/// Sends one dead letter of a sink again, once; taken, it is no dead letter any more.
pub async fn redeliver(app: &crate::App, key: &ResourceKey, letter: &DeadLetter) -> Result<()> {
    let access = access(key);
    let stored = app.ledger.read(&access, key).await?;
    let missing = || Error::not_found("not-found", "there is no such sink").with("sink", &key.id);
    let sink = stored.as_ref().map(read).transpose()?.flatten().ok_or_else(missing)?;
    let topic = app.events.topics().get(&letter.topic)?;
    let event = app.events.one(&access, topic, letter.position).await?;
    let message = message::of(sink.mode, std::slice::from_ref(&event));
    app.sinks.attempt(&sink.url, &message).await.map_err(|refusal| refusal.error)?;
    app.ledger.letter_remove(&key.tenant, &consumer(key), &letter.topic, letter.position).await
}
