//! One sink: reads its topics from its own position, sends, tries again with growing pauses, remembers how far it came.

use super::{
    State, consumer,
    message::{self, Message},
    notification,
};
use crate::state::App;
use model::{
    Access, Kind, Position, ResourceKey, Result,
    hub::Subscription,
    sink::{Mode, Sink},
};
use relay::events::{Batch, Data, Event, Start, Topic};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

const PAGE: usize = 256;
const WAIT: Duration = Duration::from_secs(30);
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Positions are written at most this often (RECORD 16); after a stop a sink sees a second's worth again.
const REMEMBER_EVERY: Duration = Duration::from_secs(1);
/// Refusals of one notification before it is put aside.
const HUB_ATTEMPTS: u32 = 5;
/// A subscriber of the hub is told of everything that the log still has.
const HUB_DAYS: u32 = 1_827;

/// What is sent of an event.
#[derive(Debug)]
pub enum Shape {
    /// TMF921 notifications.
    Notifications(Subscription),
    CloudEvents(Sink),
}

pub struct Worker {
    pub app: App,
    pub key: ResourceKey,
    pub shape: Shape,
    pub begins: Position,
    pub access: Access,
    pub state: Arc<State>,
}

/// What the hub tells of: a topic of its own, whatever the policy.
fn hub_topic() -> Arc<Topic> {
    let kinds = vec![Kind::Intent, Kind::IntentSpecification, Kind::IntentReport];
    Arc::new(Topic { name: "hub".into(), kinds, data: Data::Clear, partitions: 1, retention_days: HUB_DAYS })
}

impl Shape {
    fn url(&self) -> &str {
        match self {
            Self::Notifications(subscription) => &subscription.callback,
            Self::CloudEvents(sink) => &sink.url,
        }
    }

    fn attempts(&self) -> u32 {
        match self {
            Self::Notifications(_) => HUB_ATTEMPTS,
            Self::CloudEvents(sink) => sink.attempts,
        }
    }

    /// Events that go into one request.
    fn together(&self) -> usize {
        match self {
            Self::CloudEvents(sink) if sink.mode == Mode::Batch => PAGE,
            _ => 1,
        }
    }
}

impl Worker {
    /// Until it is aborted. No error ends it: a record or a sink that is away comes back.
    pub async fn run(self) {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.deliver_all().await {
                Ok(()) => pause = PAUSE_FIRST,
                Err(error) => {
                    tracing::debug!(sink = %self.key.id, code = error.code(), "delivery: {error}");
                    *self.state.error.lock() = Some(error.to_string());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    fn topics(&self) -> Result<Vec<Arc<Topic>>> {
        match &self.shape {
            Shape::Notifications(_) => Ok(vec![hub_topic()]),
            Shape::CloudEvents(sink) => self.app.events.topics().named(&sink.topics),
        }
    }

    /// From the remembered position on, until something of the record fails or the position was moved.
    async fn deliver_all(&self) -> Result<()> {
        let (topics, ledger) = (self.topics()?, &self.app.ledger);
        let known = ledger.consumer_position(&self.key.tenant, &consumer(&self.key)).await?;
        let mut at = known.unwrap_or(self.begins);
        let (mut remembered, mut written) = (at, crate::clock::monotonic());
        loop {
            let page = match self.app.events.after(&self.access, &topics, at, PAGE, WAIT).await {
                // A restore went back behind us: go on where the record begins to differ.
                Err(error) if error.code() == "position-voided" => return self.move_to(fork(&error)?).await,
                Err(error) if error.code() == "position-gone" => return self.go_to_earliest(&topics, at).await,
                page => page?,
            };
            *self.state.error.lock() = None;
            let Batch { events, next, .. } = page;
            for some in events.chunks(self.shape.together()) {
                self.deliver(some).await?;
                at = some.last().map_or(at, |event| event.change.position);
                self.remember(at, &mut remembered, &mut written).await?;
            }
            at = next;
            self.remember(at, &mut remembered, &mut written).await?;
        }
    }

    /// What it did not get within the retention of its topics it does not get any more; the operator is told.
    async fn go_to_earliest(&self, topics: &[Arc<Topic>], at: Position) -> Result<()> {
        let earliest = self.app.events.place(&Start::Earliest, topics).await?;
        tracing::warn!(sink = %self.key.id, from = %at, to = %earliest, "events older than their retention were not delivered");
        self.move_to(earliest).await
    }

    async fn remember(&self, at: Position, remembered: &mut Position, written: &mut Instant) -> Result<()> {
        if at != *remembered && written.elapsed() >= REMEMBER_EVERY {
            self.move_to(at).await?;
            (*remembered, *written) = (at, crate::clock::monotonic());
        }
        Ok(())
    }

    async fn move_to(&self, at: Position) -> Result<()> {
        let moves = [(self.key.tenant.clone(), consumer(&self.key), at)];
        self.app.ledger.consumer_advance(&moves).await
    }

    async fn messages(&self, events: &[Event]) -> Result<Vec<Message>> {
        match &self.shape {
            Shape::CloudEvents(sink) => Ok(vec![message::of(sink.mode, events)]),
            Shape::Notifications(subscription) => {
                let mut messages = Vec::new();
                for event in events {
                    messages.extend(notification::of(&self.app, &self.access, subscription, &event.change).await?);
                }
                Ok(messages)
            }
        }
    }

    /// Until the sink has taken them. Where it refuses a batch, its halves are sent, down to the event that it is about.
    async fn deliver(&self, events: &[Event]) -> Result<()> {
        let mut pending = vec![events];
        while let Some(some) = pending.pop() {
            for message in self.messages(some).await? {
                let Err((attempts, reason)) = self.send(&message, some.len() > 1).await else { continue };
                match some {
                    [one] => self.bury(one, attempts, &reason).await?,
                    many => {
                        let (first, second) = many.split_at(many.len() / 2);
                        pending.extend([second, first]);
                    }
                }
            }
        }
        Ok(())
    }

    async fn bury(&self, event: &Event, attempts: u32, reason: &str) -> Result<()> {
        self.state.buried.fetch_add(1, Ordering::Relaxed);
        let at = event.change.position;
        tracing::warn!(sink = %self.key.id, position = %at, reason, "an event was refused and put aside as a dead letter");
        let letter = (&*event.topic.name, at);
        self.app.ledger.letter_bury(&self.key.tenant, &consumer(&self.key), letter, (attempts, reason)).await
    }

    /// Until it is taken, or refused for what it is: at once where it can be divided, else as often as the sink says.
    async fn send(&self, message: &Message, divisible: bool) -> std::result::Result<(), (u32, String)> {
        let (mut pause, mut refused) = (PAUSE_FIRST, 0);
        loop {
            let refusal = match self.app.sinks.attempt(self.shape.url(), message).await {
                Ok(()) => {
                    self.app.metrics.sink_delivered.inc();
                    self.state.delivered.fetch_add(1, Ordering::Relaxed);
                    *self.state.error.lock() = None;
                    return Ok(());
                }
                Err(refusal) => refusal,
            };
            self.app.metrics.sink_failed.inc();
            self.state.failed.fetch_add(1, Ordering::Relaxed);
            let reason = refusal.error.to_string();
            tracing::debug!(sink = %self.key.id, code = refusal.error.code(), "callback: {reason}");
            *self.state.error.lock() = Some(reason.clone());
            refused += u32::from(refusal.of_the_event);
            if refusal.of_the_event && (divisible || refused >= self.shape.attempts()) {
                return Err((refused, reason));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }
}

/// The last position before the fork that voided ours.
fn fork(error: &model::Error) -> Result<Position> {
    let fork: Position = error.fact("fork").unwrap_or_default().parse()?;
    Ok(Position { n: fork.n.saturating_sub(1), ..fork })
}
