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
    keystore_mark::{self, Demand},
};
use model::Shard;

/// With what it demands of the keystore, where it can be asked.
pub async fn examine(layout: &Layout, settings: &Settings) -> (Vec<Finding>, Option<Demand>) {
    if matches!(settings.record, Record::Local(_)) && running::find(layout).is_none() {
        let found =
            "its PostgreSQL does not run: what it demands of the keystore, its settings and schema were not checked";
        return (vec![Finding::warn("record", found, "nephkeep up, then nephkeep doctor")], None);
    }
    match facts(settings).await {
        Ok((facts, demand)) => (facts.into_iter().map(finding).collect(), demand),
        Err(error) => (vec![Finding::error("record", &error)], None),
    }
}

async fn facts(settings: &Settings) -> model::Result<(Vec<Fact>, Option<Demand>)> {
    let connector = Connector::new(&wiring::record_url(&settings.record)?)?;
    Ok((doctor::examine(&connector, Shard(0)).await?, keystore_mark::demand(&connector).await?))
}

fn finding(fact: Fact) -> Finding {
    match fact.verdict {
        Verdict::Good => Finding::ok(fact.name, fact.value),
        Verdict::Poor => Finding::warn(fact.name, fact.value, fact.remedy),
        Verdict::Bad => Finding::fail(fact.name, fact.value, fact.remedy),
    }
}
