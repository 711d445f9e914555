//! One worker per live sink and hub subscription, on the leader; stopped when the sink or the lease ends.

use super::{
    access, consumer,
    worker::{Shape, Worker},
};
use crate::state::App;
use ledger::{Content, Leadership, Resource};
use model::{Error, Kind, Position, ResourceKey, Result, Version, hub::Subscription, json};
use std::collections::HashMap;
use tokio::task::JoinHandle;

/// The kinds that are delivered to.
pub const KINDS: [Kind; 2] = [Kind::Hub, Kind::EventSink];

#[derive(Debug, Default)]
pub struct Dispatcher {
    workers: HashMap<ResourceKey, Running>,
    leads: bool,
}

#[derive(Debug)]
struct Running {
    task: JoinHandle<()>,
    version: Version,
    /// One that was deleted and made again begins anew.
    begins: Position,
}

impl Dispatcher {
    /// After every turn of the log: workers follow the lease, and the sinks when those changed.
    pub async fn settle(&mut self, app: &App, changed: bool) -> Result<()> {
        let leads = matches!(app.ledger.leadership(), Leadership::Leader { .. });
        if !leads && self.leads {
            self.stop(app).await;
        }
        if leads && (changed || !self.leads) {
            self.reload(app).await?;
        }
        self.leads = leads;
        Ok(())
    }

    /// Starts what is missing or changed, ends what is gone.
    pub async fn reload(&mut self, app: &App) -> Result<()> {
        let mut all = Vec::new();
        for kind in KINDS {
            all.extend(app.ledger.everywhere(kind).await?.0);
        }
        let gone: Vec<_> = self.workers.keys().filter(|key| !all.iter().any(|r| r.key == **key)).cloned().collect();
        for key in gone {
            self.end(app, &key).await;
            app.ledger.consumer_forget(&key.tenant, &consumer(&key)).await?;
        }
        for resource in &all {
            let running = self.workers.get(&resource.key);
            if running.is_some_and(|running| running.version == resource.version) {
                continue;
            }
            // One that cannot be read must not keep the others from being served.
            if let Err(error) = self.start(app, resource).await {
                tracing::error!(sink = %resource.key.id, code = error.code(), "not delivered to: {error}");
            }
        }
        Ok(())
    }

    async fn start(&mut self, app: &App, resource: &Resource) -> Result<()> {
        let Some((shape, begins)) = shape(resource)? else { return Ok(()) };
        let key = &resource.key;
        let before = self.workers.get(key).map(|running| running.begins);
        self.end(app, key).await;
        if before.is_some_and(|before| before != begins) {
            app.ledger.consumer_forget(&key.tenant, &consumer(key)).await?;
        }
        let (access, state) = (access(key), app.sinks.board.put(key));
        let worker = Worker { app: app.clone(), key: key.clone(), shape, begins, access, state };
        let running = Running { task: tokio::spawn(worker.run()), version: resource.version, begins };
        self.workers.insert(key.clone(), running);
        Ok(())
    }

    async fn end(&mut self, app: &App, key: &ResourceKey) {
        if let Some(Running { task, .. }) = self.workers.remove(key) {
            task.abort();
            // Cancelled is how it ends.
            let _ = task.await;
            app.sinks.board.remove(key);
        }
    }

    pub async fn stop(&mut self, app: &App) {
        let keys: Vec<_> = self.workers.keys().cloned().collect();
        for key in keys {
            self.end(app, &key).await;
        }
    }
}

/// What is to be sent where, and after which position it begins.
fn shape(resource: &Resource) -> Result<Option<(Shape, Position)>> {
    match (resource.key.kind, &resource.document) {
        // A subscription is told of what came after it.
        (Kind::Hub, Content::Clear(document)) => {
            let subscription = Subscription::read(&json::stored(document)?)?;
            Ok(Some((Shape::Notifications(subscription), resource.position)))
        }
        (Kind::Hub, _) => Ok(None),
        (Kind::EventSink, _) => Ok(super::read(resource)?.map(|sink| {
            let begins = sink.begins;
            (Shape::CloudEvents(sink), begins)
        })),
        _ => Err(Error::bug("only sinks and subscriptions are delivered to")),
    }
}
