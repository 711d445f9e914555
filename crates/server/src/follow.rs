//! Follows the log for what this server keeps in memory: principals, sinks, counts of documents; a follower also looks at least
//! every two seconds which erasures the leader has begun.
//!
//! A change of these kinds is rare and makes the whole kind be read again: no half-applied state, no second decoder.

use crate::{
    identity::principals,
    sinks::{Dispatcher, KINDS},
    state::App,
};
use ledger::Leadership;
use model::{Kind, Position, Result};
use std::time::Duration;

const PAGE: usize = 4096;
/// Also how late a change of the lease may be noticed.
const WAIT: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Runs until the server stops. An unreachable record is waited for: the caches stay as they were.
pub async fn run(app: App, mut from: Position) {
    let mut sinks = Dispatcher::default();
    let mut stopped = app.stop.subscribe();
    let mut pause = Duration::from_millis(100);
    app.documents.begin(from);
    loop {
        let turned = tokio::select! {
            turned = turn(&app, from, &mut sinks) => turned,
            _ = stopped.wait_for(|stop| *stop) => break,
        };
        match turned {
            Ok(next) => (from, pause) = (next, Duration::from_millis(100)),
            Err(error) => {
                tracing::debug!(code = error.code(), "following the log: {error}");
                if error.code() == "position-voided" {
                    match reload(&app, &mut sinks).await {
                        Ok(at) => {
                            app.documents.begin(at);
                            from = at;
                        }
                        Err(error) => tracing::debug!(code = error.code(), "reading again: {error}"),
                    }
                }
                let _ = tokio::time::timeout(pause, stopped.wait_for(|stop| *stop)).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
    sinks.stop(&app).await;
}

async fn reload(app: &App, sinks: &mut Dispatcher) -> Result<Position> {
    let at = principals::load(app).await?;
    sinks.reload(app).await?;
    Ok(at)
}

async fn turn(app: &App, from: Position, sinks: &mut Dispatcher) -> Result<Position> {
    sinks.settle(app, false).await?;
    if matches!(app.ledger.leadership(), Leadership::Follower { .. }) {
        app.ledger.see_begun_erasures().await?;
    }
    let page = app.ledger.log_after(Some(from), PAGE, WAIT).await?;
    let touched = |kind: Kind| page.changes.iter().any(|change| change.key.kind == kind);
    if touched(Kind::Principal) {
        principals::load(app).await?;
    }
    sinks.settle(app, KINDS.into_iter().any(touched)).await?;
    app.documents.count(&page);
    Ok(page.next)
}
