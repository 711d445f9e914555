//! The server all tests share, and readers of its databases.

use ledger::connection::Connector;
use std::{os::unix::fs::PermissionsExt, path::Path};
pub use testkit::postgresql::{config_of, connect, database, directory};
use tokio_postgres::Config;

/// Readers of a database, as the ledger makes them.
pub fn pool_of(config: &Config) -> deadpool_postgres::Pool {
    let url = testkit::postgresql::url_of(config);
    Connector::new(&url.parse().unwrap()).unwrap().pool(4).unwrap()
}

pub fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}
