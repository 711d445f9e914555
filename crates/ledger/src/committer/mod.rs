//! The committer: the only writer of a record. It collects waiting groups into one statement, runs it on its one
//! connection, and answers each group for itself (RECORD 1, 3, 4).

mod collect;
mod execute;
mod fault;
mod follow;
pub(crate) mod head;
pub(crate) mod job;
mod lead;
mod offenders;
pub(crate) mod partitions;
mod resolve;
mod session;
pub(crate) mod statement;

pub(crate) use collect::{Waiting, hot_key};
pub(crate) use job::{Document, Done, Job, Member, Outcome, Step, Stored, Verdict, has_names};
pub(crate) use offenders::Offenders;

use crate::record::Record;
use std::sync::Arc;
use tokio::sync::watch;

/// Follows until the lease is free, leads until it is lost, until told to stop.
pub(crate) async fn run(record: Arc<Record>, mut waiting: Waiting, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let Some(won) = follow::run(&record, &mut waiting, &mut stop).await else { break };
        lead::run(&record, won, &mut waiting, &mut stop).await;
        record.metrics.leading.set(0);
        record.metrics.epoch.set(0);
    }
    record.lease.lose(None);
    waiting.refuse(|| model::Error::retry("shutting-down", "this server is stopping: nothing was written"));
}
