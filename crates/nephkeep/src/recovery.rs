//! The way back in for whoever has the directory when no admin's token is left: an order in a file.
//!
//! The record takes a principal from its own server alone, so the command line leaves an order in the closed `run/`
//! directory; the server that runs there carries it out within a second, the next one at its start. Whoever may write
//! there owns the keys and the record anyway; that it was done stands in the audit log.

use crate::{
    bootstrap,
    exit::Outcome,
    layout::{self, Layout},
    running,
};
use model::Error;
use server::App;
use std::{convert::Infallible, fs, time::Duration};

const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For the server to take the order and make its commit.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordered {
    /// The credential file was written anew.
    Done,
    /// No server runs here: the next start carries it out.
    AtNextStart,
}

/// Leaves the order, and waits for the server that runs here.
pub async fn order(layout: &Layout) -> Outcome<Ordered> {
    if !layout.is_initialised() {
        let what = "this directory holds no nephkeep whose admin could be recovered; name another with --dir";
        return Err(Error::not_found("directory-unknown", what).with("directory", layout.root().display()).into());
    }
    let before = fs::read(layout.credential()).unwrap_or_default();
    layout::write_private(&layout.recovery_order(), b"admin\n").map_err(|error| running::unwritable(layout, error))?;
    let begun = std::time::Instant::now();
    while layout.recovery_order().exists() {
        if !running::is_held(layout) {
            return Ok(Ordered::AtNextStart);
        }
        if begun.elapsed() > PATIENCE {
            return Err(refused().into());
        }
        tokio::time::sleep(LOOK_EVERY / 10).await;
    }
    let after = fs::read(layout.credential()).unwrap_or_default();
    if after == before { Err(refused().into()) } else { Ok(Ordered::Done) }
}

fn refused() -> Error {
    let what = "the server made no new admin credential; its log tells why, and so does `nephkeep status`";
    Error::retry("admin-not-recovered", what)
}

/// The order was dealt with, if there was one.
pub fn settle(layout: &Layout) {
    // Absent at almost every start.
    let _absent = fs::remove_file(layout.recovery_order());
}

/// Carries out orders for as long as the server runs.
pub async fn follow(layout: &Layout, app: &App) -> Infallible {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if layout.recovery_order().exists() {
            if let Err(failure) = bootstrap::recovered(layout, app).await {
                tracing::error!(?failure, "no admin credential was made");
            }
            // Whatever became of it: it is not tried again by itself.
            settle(layout);
        }
    }
}
