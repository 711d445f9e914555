//! Reading the change log in process, as relay and verifier do: every change, in order, from the first position on.

use super::rows::Sample;
use crate::{
    machine::Sampler,
    stand::{Stand, failed},
};
use ledger::{
    connection::{Connector, RecordUrl},
    read::changes,
};
use model::{Result, Shard};
use std::time::Instant;

const TOGETHER: usize = 10_000;

pub async fn read(stand: &Stand) -> Result<Sample> {
    let published = stand.metric("nephkeep_record_published_position").await? as u64;
    let pool = Connector::new(&RecordUrl::Local(stand.site.layout.record.clone()))?.pool(1)?;
    let (sampler, begun) = (Sampler::begin(), Instant::now());
    let (mut after, mut count) = (0, 0u64);
    while after < published {
        let stretch = changes::read(&pool, Shard(0), None, after, published, TOGETHER).await?;
        count += stretch.changes.len() as u64;
        if stretch.through <= after {
            return Err(failed("the log ends before it should").with("after", after));
        }
        after = stretch.through;
    }
    if count != published {
        return Err(failed("the log has not as many changes as positions").with("changes", count));
    }
    let used = sampler.end(stand.site.pid(), &stand.database());
    Ok(Sample::rate(count as f64 / begun.elapsed().as_secs_f64(), used))
}
