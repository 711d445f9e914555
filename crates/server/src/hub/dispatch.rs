//! One worker per live subscription, on the leader; stopped when the subscription or the lease ends.

use super::{delivery, guard::GuardedResolver};
use crate::state::App;
use ledger::{Content, Leadership, Resource};
use model::{Error, Kind, Position, ResourceKey, Result, hub::Subscription, json};
use std::{collections::HashMap, time::Duration};
use tokio::task::JoinHandle;

const CONNECT: Duration = Duration::from_secs(5);
/// A callback that takes longer has failed; it is tried again.
const ANSWER: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub struct Dispatcher {
    client: reqwest::Client,
    workers: HashMap<ResourceKey, JoinHandle<()>>,
    leads: bool,
}

impl Dispatcher {
    pub fn new(app: &App) -> Result<Self> {
        let client = reqwest::Client::builder()
            .dns_resolver(GuardedResolver(app.hub))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("nephkeep/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::refused("callback-client", "no HTTP client for callbacks").caused_by(error))?;
        Ok(Self { client, workers: HashMap::new(), leads: false })
    }

    /// After every turn of the log: workers follow the lease, and the subscriptions when those changed.
    pub async fn settle(&mut self, app: &App, changed: bool) -> Result<()> {
        let leads = matches!(app.ledger.leadership(), Leadership::Leader { .. });
        if !leads && self.leads {
            self.stop().await;
        }
        if leads && (changed || !self.leads) {
            self.reload(app).await?;
        }
        self.leads = leads;
        Ok(())
    }

    /// Starts what is missing, ends what is gone.
    pub async fn reload(&mut self, app: &App) -> Result<()> {
        let (all, _) = app.ledger.everywhere(Kind::Hub).await?;
        let gone: Vec<_> = self.workers.keys().filter(|key| !all.iter().any(|r| r.key == **key)).cloned().collect();
        for key in gone {
            self.end(&key).await;
            app.ledger.consumer_forget(&key.tenant, &delivery::consumer(&key)).await?;
        }
        for resource in &all {
            if !self.workers.contains_key(&resource.key) {
                // One that cannot be read must not keep the others from being served.
                if let Err(error) = self.start(app, resource) {
                    tracing::error!(subscription = %resource.key.id, code = error.code(), "not delivered to: {error}");
                }
            }
        }
        Ok(())
    }

    fn start(&mut self, app: &App, resource: &Resource) -> Result<()> {
        let Content::Clear(document) = &resource.document else { return Ok(()) };
        let subscription = Subscription::read(&json::parse(document)?)?;
        let begins = resource.position;
        let worker = delivery::Worker::new(app, self.client.clone(), &resource.key, subscription, begins);
        self.workers.insert(resource.key.clone(), tokio::spawn(worker.run()));
        Ok(())
    }

    async fn end(&mut self, key: &ResourceKey) {
        if let Some(worker) = self.workers.remove(key) {
            worker.abort();
            // Cancelled is how it ends.
            let _ = worker.await;
        }
    }

    pub async fn stop(&mut self) {
        let keys: Vec<_> = self.workers.keys().cloned().collect();
        for key in keys {
            self.end(&key).await;
        }
    }
}

/// Where a subscription that was never delivered to begins: with what came after it.
#[must_use]
pub fn first_position(known: Option<Position>, begins: Position) -> Position {
    known.unwrap_or(begins)
}
