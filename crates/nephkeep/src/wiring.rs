//! What a server is made of, put together in the right order and taken apart in reverse. Concrete engines are named
//! here and nowhere else.

use crate::{
    exit::{Failure, Outcome},
    layout::Layout,
    settings::{Record, Settings},
};
use ledger::server::Local;
use std::path::PathBuf;

/// The processes of a local PostgreSQL whose server was killed.
#[must_use]
pub fn left_behind(layout: &Layout) -> Vec<i32> {
    local_record(layout).map(|directory| Local::left_behind(&directory)).unwrap_or_default()
}

/// Ends them, cleanly where they let themselves be.
pub async fn stop_left_behind(layout: &Layout) -> Outcome {
    match local_record(layout) {
        Some(directory) => Local::end_left_behind(&directory).await.map_err(Failure::environment),
        None => Ok(()),
    }
}

fn local_record(layout: &Layout) -> Option<PathBuf> {
    match Settings::load(layout, None).ok()?.record {
        Record::Local(directory) => Some(directory),
        Record::Postgres { .. } => None,
    }
}
