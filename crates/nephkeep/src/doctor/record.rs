//! The record's PostgreSQL: its settings, its schema, its clocks. Asked whenever it can be expected to run.

use super::Finding;
use crate::{
    layout::Layout,
    running,
    settings::{Record, Settings},
    wiring,
};
use ledger::{
    connection::Connector,
    doctor::{self, Fact, Verdict},
};
use model::Shard;

pub async fn examine(layout: &Layout, settings: &Settings) -> Vec<Finding> {
    if matches!(settings.record, Record::Local(_)) && running::find(layout).is_none() {
        return Vec::new();
    }
    match facts(settings).await {
        Ok(facts) => facts.into_iter().map(finding).collect(),
        Err(error) => vec![Finding::error("record", &error)],
    }
}

async fn facts(settings: &Settings) -> model::Result<Vec<Fact>> {
    let connector = Connector::new(&wiring::record_url(&settings.record)?)?;
    doctor::examine(&connector, Shard(0)).await
}

fn finding(fact: Fact) -> Finding {
    match fact.verdict {
        Verdict::Good => Finding::ok(fact.name, fact.value),
        Verdict::Poor => Finding::warn(fact.name, fact.value, fact.remedy),
        Verdict::Bad => Finding::fail(fact.name, fact.value, fact.remedy),
    }
}
