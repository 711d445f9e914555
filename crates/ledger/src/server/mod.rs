//! PostgreSQL servers: the private one that we initialise, start, supervise and stop (DESIGN 4).

mod account;
mod binaries;
mod cluster;
pub mod local;
mod postmaster;
mod processes;
mod settings;

pub use account::Account;
pub use binaries::{Binaries, OLDEST_MAJOR};
pub use cluster::USER;
pub(crate) use cluster::client_of;
pub use local::{Local, LocalOptions, ServerState};
