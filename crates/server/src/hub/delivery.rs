//! One subscriber: reads the log from its own position, sends, retries with back-off, remembers how far it came.

use super::dispatch::first_position;
use crate::state::App;
use bytes::Bytes;
use http::header;
use jiff::Timestamp;
use ledger::{Change, ChangeAction, Content};
use model::{
    Access, Error, Hlc, Json, Kind, Position, ResourceKey, Result, Role,
    hub::Subscription,
    json::parse,
    tmf921::{
        event::{self, EventType, Notification},
        report,
    },
};
use std::time::{Duration, Instant};
use uuid::Uuid;

const PAGE: usize = 64;
const WAIT: Duration = Duration::from_secs(30);
const PAUSE_FIRST: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Positions are written at most this often (RECORD 16); after a stop a subscriber sees a second's worth again.
const REMEMBER_EVERY: Duration = Duration::from_secs(1);
/// Names event ids; never changes (subscribers recognise repetitions by them).
const EVENTS: Uuid = Uuid::from_u128(0x6b1f_90ce_52d7_5a43_8e1c_0f4d_aa61_7c25);

pub struct Worker {
    app: App,
    client: reqwest::Client,
    key: ResourceKey,
    subscription: Subscription,
    begins: Position,
    access: Access,
}

/// The name of a subscription's row among the consumers.
#[must_use]
pub fn consumer(key: &ResourceKey) -> String {
    format!("hub/{}", key.id)
}

impl Worker {
    #[must_use]
    pub fn new(
        app: &App,
        client: reqwest::Client,
        key: &ResourceKey,
        subscription: Subscription,
        begins: Position,
    ) -> Self {
        let access = Access::new(&consumer(key), &[Role::Reader], &key.tenant, "notification");
        Self { app: app.clone(), client, key: key.clone(), subscription, begins, access }
    }

    /// Until it is aborted. No error ends it: a record or a callback that is away comes back.
    pub async fn run(self) {
        let mut pause = PAUSE_FIRST;
        loop {
            match self.deliver_all().await {
                Ok(()) => pause = PAUSE_FIRST,
                Err(error) => {
                    tracing::debug!(subscription = %self.key.id, code = error.code(), "delivery: {error}");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// From the remembered position on, until something of the record fails.
    async fn deliver_all(&self) -> Result<()> {
        let known = self.app.ledger.consumer_position(&self.key.tenant, &consumer(&self.key)).await?;
        let mut at = first_position(known, self.begins);
        let (mut remembered, mut written) = (at, crate::clock::monotonic());
        loop {
            let page = match self.app.ledger.changes_after(&self.access, Some(at), PAGE, WAIT).await {
                // A restore went back behind us: go on where the record begins to differ.
                Err(error) if error.code() == "position-voided" => return self.move_to(fork(&error)?).await,
                page => page?,
            };
            for change in &page.changes {
                self.deliver(change).await?;
                at = change.position;
                self.remember(at, &mut remembered, &mut written).await?;
            }
            at = page.next;
            self.remember(at, &mut remembered, &mut written).await?;
        }
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

    /// Everything one change has to tell this subscriber.
    async fn deliver(&self, change: &Change) -> Result<()> {
        if !matches!(change.key.kind, Kind::Intent | Kind::IntentSpecification | Kind::IntentReport) {
            return Ok(());
        }
        for notification in self.notifications(change).await? {
            let body = notification_body(change, &notification);
            if self.subscription.wants(&body) {
                self.send(&body).await;
            }
        }
        Ok(())
    }

    /// Opening the documents writes the access entry first: a webhook is a release of data (RECORD 16).
    async fn notifications(&self, change: &Change) -> Result<Vec<Notification>> {
        let new = match change.action {
            ChangeAction::Created | ChangeAction::Updated => {
                let opened = self.app.ledger.open_changes(&self.access, std::slice::from_ref(change)).await?;
                match opened.into_iter().next().map(|resource| resource.document) {
                    Some(Content::Clear(document)) => Some(parse(&document)?),
                    // Erased since: there is nothing left to tell.
                    _ => return Ok(Vec::new()),
                }
            }
            ChangeAction::Deleted => None,
            ChangeAction::Fork | ChangeAction::Barrier => return Ok(Vec::new()),
        };
        let old = match change.action {
            ChangeAction::Created => None,
            _ => self.before(change).await?,
        };
        let derived = change.key.kind == Kind::Intent && self.report_is_derived(&change.key.id).await?;
        Ok(event::notifications(change.key.kind, old.as_ref(), new.as_ref(), derived))
    }

    /// The version before a change; `None` when it is gone (retention, erasure).
    async fn before(&self, change: &Change) -> Result<Option<Json>> {
        let before = self.app.ledger.history_page(&self.access, &change.key, Some(change.version), 1).await?;
        match before.first().map(|resource| &resource.document) {
            Some(Content::Clear(document)) => Ok(Some(parse(document)?)),
            _ => Ok(None),
        }
    }

    async fn report_is_derived(&self, intent: &str) -> Result<bool> {
        let key = ResourceKey::new(&self.key.tenant, Kind::IntentReport, &report::derived_id(intent))?;
        Ok(self.app.ledger.history_page(&self.access, &key, None, 1).await?.is_empty())
    }

    /// Until the callback takes it.
    async fn send(&self, body: &Json) {
        let (bytes, mut pause) = (body.to_bytes(), PAUSE_FIRST);
        loop {
            match self.attempt(bytes.clone()).await {
                Ok(()) => {
                    self.app.metrics.hub_delivered.inc();
                    return;
                }
                Err(error) => {
                    self.app.metrics.hub_failed.inc();
                    tracing::debug!(subscription = %self.key.id, code = error.code(), "callback: {error}");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn attempt(&self, body: Bytes) -> Result<()> {
        super::guard::check_url(&self.subscription.callback, self.app.hub)?;
        let request = self.client.post(&self.subscription.callback).header(header::CONTENT_TYPE, "application/json");
        let failed = |error: reqwest::Error| {
            Error::retry("callback-failed", "the callback did not answer").caused_by(error.without_url())
        };
        let response = request.body(body).send().await.map_err(failed)?;
        if response.status().is_success() {
            return Ok(());
        }
        let why = "the callback did not accept the notification";
        Err(Error::retry("callback-failed", why).with("status", response.status().as_u16()))
    }
}

/// The last position before the fork that voided ours.
fn fork(error: &Error) -> Result<Position> {
    let fork: Position = error.fact("fork").unwrap_or_default().parse()?;
    Ok(Position { n: fork.n.saturating_sub(1), ..fork })
}

fn notification_body(change: &Change, notification: &Notification) -> Json {
    let micros = i64::try_from(Hlc(change.hlc).micros()).unwrap_or(i64::MAX);
    let at = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX);
    event::body(notification.event, &event_id(change.position, notification.event), at, &notification.resource)
}

fn event_id(position: Position, event: EventType) -> String {
    Uuid::new_v5(&EVENTS, format!("{position}/{}", event.name()).as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Incarnation, Shard};

    #[test]
    fn an_event_id_is_the_same_at_every_attempt_and_differs_between_events() {
        let at = Position { shard: Shard(0), incarnation: Incarnation { ordinal: 1, random: 1 }, n: 5 };
        assert_eq!(event_id(at, EventType::IntentCreate), event_id(at, EventType::IntentCreate));
        assert_ne!(event_id(at, EventType::IntentCreate), event_id(at, EventType::ReportCreate));
        assert_ne!(event_id(at, EventType::IntentCreate), event_id(Position { n: 6, ..at }, EventType::IntentCreate));
    }
}
