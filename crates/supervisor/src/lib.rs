//! Children that we start, watch, start again and stop: PostgreSQL for the record, Prometheus for the metrics.
//!
//! What is common to them stands here: the account they drop to, the lock and the files of their directory, orphans of
//! a killed supervisor, restarts with back-off, an orderly stop. What a child is stands with its owner, as a [`Service`].

mod account;
mod child;
mod files;
mod processes;
mod supervision;

pub use account::{Account, file_error};
pub use child::{Child, Stop, Unready};
pub use files::{Log, make_directory, occupy, replace, sync_directory, write_durably};
pub use processes::{living_in, signal, vanished};
pub use supervision::{Service, State, Supervision};
