//! `GET /api/v1/watch`: the log from any position, as server-sent events or by long-poll.
//!
//! What happened, not the documents: those are read one by one, each read audited.

use super::{positioned, shapes};
use crate::{
    http::{call::Call, event_stream},
    listen::overloaded,
    problem::Answer,
    state::App,
};
use axum::extract::State;
use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use ledger::{Change, ChangeAction, ChangePage, Leadership};
use model::{Access, Hlc, Json, Kind, Position, Result};
use std::{sync::Arc, time::Duration};
use tokio::sync::OwnedSemaphorePermit;

const PAGE: usize = 512;

struct Watch {
    app: App,
    access: Access,
    after: Option<Position>,
    kinds: Vec<Kind>,
    _permit: OwnedSemaphorePermit,
}

/// Changes after a position. With `Accept: text/event-stream` a stream of them, else one page, waited for.
#[utoipa::path(get, path = "/api/v1/watch", tag = "log", security(("token" = [])),
    params(("after" = Option<String>, Query, description = "a position; from the start when absent"),
        ("kind" = Option<String>, Query, description = "kinds, separated by commas"),
        ("limit" = Option<u32>, Query), ("wait" = Option<u64>, Query, description = "seconds a page waits for a change")),
    responses((status = 200, body = shapes::LogPage), (status = 400, body = shapes::Problem), (status = 409, body = shapes::Problem)))]
pub async fn watch(State(app): State<App>, mut call: Call) -> Answer {
    let permit = Arc::clone(&app.watchers).try_acquire_owned().map_err(|_| overloaded())?;
    let resumed = event_stream::resumed(&call.headers)?;
    let after = call.query.take("after")?;
    // A browser comes back to the address it began with: what it has seen since goes before that.
    let after = resumed.or(after).map(|text| text.parse()).transpose()?;
    let kinds = call.query.take("kind")?;
    let kinds = kinds.iter().flat_map(|list| list.split(',')).map(str::parse).collect::<Result<Vec<Kind>>>()?;
    let limit = call.query.take_number::<u32>("limit")?.unwrap_or(app.limits.page_default).clamp(1, app.limits.page);
    let wait = call.query.take_number("wait")?.map_or(app.limits.watch_wait, Duration::from_secs);
    call.query.finish("after, kind, limit, wait")?;
    let wait = wait.min(app.limits.watch_wait);
    reached(&app, after).await?;
    let streamed = event_stream::is_asked(&call.headers)?;
    let mut watch = Watch { app, access: call.access, after, kinds, _permit: permit };
    if streamed {
        let first = watch.page(PAGE, Duration::ZERO).await?;
        return Ok(event_stream::response(watch, first));
    }
    let page = watch.page(limit as usize, wait).await?;
    let changes: Vec<Json> = page.changes.iter().filter(|change| watch.wants(change)).map(shown).collect();
    let body = Json::object()
        .with("changes", changes)
        .with("next", page.next.to_string())
        .with("published", page.published.to_string());
    Ok(positioned(StatusCode::OK, &body, page.next))
}

/// A place that the log has not reached was never read up to: handing it back would leave out all that comes until then.
/// A follower may only be late.
async fn reached(app: &App, after: Option<Position>) -> Result<()> {
    match (after, app.ledger.leadership()) {
        (None, _) => Ok(()),
        (Some(after), Leadership::Leader { .. }) => app.ledger.resume(after).map(drop),
        (Some(after), Leadership::Follower { .. }) => app.ledger.wait_for(after, app.limits.position_wait).await,
    }
}

impl Watch {
    fn wants(&self, change: &Change) -> bool {
        let told = matches!(change.action, ChangeAction::Created | ChangeAction::Updated | ChangeAction::Deleted);
        told && (self.kinds.is_empty() || self.kinds.contains(&change.key.kind))
    }

    /// Pages without a wanted change are gone through until the wait is over or the server stops.
    async fn page(&mut self, limit: usize, wait: Duration) -> Result<ChangePage> {
        let until = crate::clock::monotonic() + wait;
        loop {
            let left = until.saturating_duration_since(crate::clock::monotonic());
            let work = self.app.ledger.changes_after(&self.access, self.after, limit, left);
            let page = event_stream::until_stop(&self.app, work).await?;
            self.after = Some(page.next);
            let caught_up = page.next.n >= page.published.n && left.is_zero();
            if caught_up || page.changes.iter().any(|change| self.wants(change)) {
                return Ok(page);
            }
        }
    }
}

fn shown(change: &Change) -> Json {
    let micros = i64::try_from(Hlc(change.hlc).micros()).unwrap_or(i64::MAX);
    let time = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX);
    Json::object()
        .with("position", change.position.to_string())
        .with("time", format!("{time:.6}"))
        .with("kind", change.key.kind.as_str())
        .with("id", &*change.key.id)
        .with("version", change.version)
        .with("action", change.action.as_str())
        .with("class", change.class.as_str())
        .with("principal", change.principal.as_str())
}

impl event_stream::Pages for Watch {
    type Page = ChangePage;

    async fn next(&mut self) -> Result<ChangePage> {
        self.page(PAGE, event_stream::HEARTBEAT).await
    }

    fn lines(&mut self, page: &ChangePage) -> Bytes {
        let mut text = String::new();
        for change in page.changes.iter().filter(|change| self.wants(change)) {
            text += &format!("id: {}\nevent: {}\ndata: {}\n\n", change.position, change.action.as_str(), shown(change));
        }
        if text.is_empty() {
            text = format!(": {}\n\n", page.next);
        }
        text.into()
    }
}
