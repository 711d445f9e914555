//! PostgreSQL servers: the private one that we initialise, start, supervise and stop (DESIGN 4).

mod binaries;
mod cluster;
pub mod local;
mod postmaster;
mod settings;

pub use binaries::{Binaries, OLDEST_MAJOR};
pub use cluster::USER;
pub(crate) use cluster::client_of;
pub use local::{Local, LocalOptions};
pub use supervisor::State as ServerState;
