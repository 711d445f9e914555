//! THE DOOR: TMF921 and our own API over HTTP, identities, limits, metrics, webhook sinks.
//!
//! Nothing here names a write trait or SQL: every request goes through `ledger`'s gateway with an `Access`.

pub mod clock;
mod follow;
pub mod http;
pub mod identity;
pub mod limits;
pub mod listen;
pub mod metrics;
pub mod openapi;
pub mod problem;
pub mod sinks;
pub mod state;

pub use limits::Limits;
pub use state::{App, Parts};

use identity::{
    Authenticator,
    principals::{self, Issued},
};
use model::{Error, Position, Result};
use std::{future::Future, net::SocketAddr};
use tokio::net::TcpListener;

#[derive(Debug, Clone)]
pub struct Settings {
    /// Port 0 takes any free one.
    pub listen: SocketAddr,
    pub limits: Limits,
    /// Where webhook sinks and hub callbacks may lead.
    pub sinks: sinks::Policy,
}

/// Bound, not yet serving.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    app: App,
    address: SocketAddr,
    from: Position,
}

impl Server {
    pub async fn bind(settings: Settings, parts: Parts) -> Result<Self> {
        let listener = listen::bind(settings.listen).await?;
        let address = listener
            .local_addr()
            .map_err(|error| Error::refused("listener-failed", "the bound address cannot be read").caused_by(error))?;
        let app = App::new(parts, Authenticator::tokens(), settings.limits, sinks::Sender::new(settings.sinks)?);
        let from = principals::load(&app).await?;
        Ok(Self { listener, app, address, from })
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Makes the first admin when the record has no principal yet; its token is shown this once.
    pub async fn bootstrap(&self) -> Result<Option<Issued>> {
        principals::bootstrap(&self.app).await
    }

    /// Registers the schemas of our own events; an incompatible one is an error. The leader's to do.
    pub async fn register_event_schemas(&self) -> Result<()> {
        http::registry::own::register(&self.app, relay::events::topics::SCHEMA).await
    }

    /// Serves until `stop` resolves, then drains.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<()> {
        let router = http::router(self.app.clone());
        let following = tokio::spawn(follow::run(self.app.clone(), self.from));
        listen::serve(self.listener, router, self.app, stop).await;
        following.await.map_err(|error| Error::bug("the follower of the log ended badly").caused_by(error))
    }
}
