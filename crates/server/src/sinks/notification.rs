//! What a hub subscriber is told of a change: the notifications of TMF921, made from the documents before and after.
//!
//! Opening the documents writes the access entry first: a webhook is a release of data (RECORD 16).

use super::message::Message;
use crate::state::App;
use jiff::Timestamp;
use ledger::{Change, ChangeAction, Content};
use model::{
    Access, Hlc, Json, Kind, Position, ResourceKey, Result,
    hub::Subscription,
    json,
    tmf921::{
        event::{self, EventType, Notification},
        report,
    },
};
use uuid::Uuid;

/// Names event ids; never changes (subscribers recognise repetitions by them).
const EVENTS: Uuid = Uuid::from_u128(0x6b1f_90ce_52d7_5a43_8e1c_0f4d_aa61_7c25);

/// Everything one change has to tell this subscriber.
pub async fn of(app: &App, access: &Access, subscription: &Subscription, change: &Change) -> Result<Vec<Message>> {
    let told = notifications(app, access, change).await?;
    let bodies = told.iter().map(|notification| body(change, notification));
    let wanted = bodies.filter(|body| subscription.wants(body));
    let message = |body: Json| Message { content_type: "application/json", headers: Vec::new(), body: body.to_bytes() };
    Ok(wanted.map(message).collect())
}

async fn notifications(app: &App, access: &Access, change: &Change) -> Result<Vec<Notification>> {
    let new = match change.action {
        ChangeAction::Created | ChangeAction::Updated => {
            let opened = app.ledger.open_changes(access, std::slice::from_ref(change)).await?;
            match opened.into_iter().next().map(|resource| resource.document) {
                Some(Content::Clear(document)) => Some(json::stored(&document)?),
                // Erased since: there is nothing left to tell.
                _ => return Ok(Vec::new()),
            }
        }
        ChangeAction::Deleted => None,
        ChangeAction::Fork | ChangeAction::Barrier => return Ok(Vec::new()),
    };
    let old = match change.action {
        ChangeAction::Created => None,
        _ => before(app, access, change).await?,
    };
    let derived = change.key.kind == Kind::Intent && report_is_derived(app, access, change).await?;
    Ok(event::notifications(change.key.kind, old.as_ref(), new.as_ref(), derived))
}

/// The version before a change; `None` when it is gone (retention, erasure).
async fn before(app: &App, access: &Access, change: &Change) -> Result<Option<Json>> {
    let before = app.ledger.history_page(access, &change.key, Some(change.version), 1).await?;
    match before.first().map(|resource| &resource.document) {
        Some(Content::Clear(document)) => Ok(Some(json::stored(document)?)),
        _ => Ok(None),
    }
}

/// Versions of a report that are looked at: a life has two at most.
const REPORT_VERSIONS: usize = 16;

/// Whether the report was there at this change: not deleted since the intent was created.
async fn report_is_derived(app: &App, access: &Access, change: &Change) -> Result<bool> {
    let key = ResourceKey::new(&change.key.tenant, Kind::IntentReport, &report::derived_id(&change.key.id))?;
    let versions = app.ledger.history_page(access, &key, None, REPORT_VERSIONS).await?;
    let gone: Vec<u64> = versions.iter().filter(|v| v.document == Content::Deleted).map(|v| v.position.n).collect();
    if gone.iter().all(|n| *n > change.position.n) {
        return Ok(true);
    }
    let born = app.ledger.born(&change.key, change.position).await?.unwrap_or(0);
    Ok(!gone.iter().any(|n| (born..change.position.n).contains(n)))
}

fn body(change: &Change, notification: &Notification) -> Json {
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
