//! What `/metrics` shows and what the contract says, compared both ways.

use crate::stand::Stand;
use std::collections::{BTreeMap, BTreeSet};
use stores::metrics::{Contract, MetricType};

/// A family as the page shows it: its type and its help, without the full stop that the exposition adds.
fn families(page: &str) -> BTreeMap<String, (String, String)> {
    let mut found: BTreeMap<String, (String, String)> = BTreeMap::new();
    for line in page.lines() {
        let Some((mark, rest)) = line.strip_prefix("# ").and_then(|line| line.split_once(' ')) else { continue };
        let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
        let entry = found.entry(name.to_owned()).or_default();
        match mark {
            "TYPE" => value.clone_into(&mut entry.0),
            "HELP" => value.trim_end_matches('.').clone_into(&mut entry.1),
            other => panic!("{other} in {line}"),
        }
    }
    found
}

/// As a query names it.
fn queried(family: &str, kind: &str) -> String {
    if kind == "counter" { format!("{family}_total") } else { family.to_owned() }
}

/// The page as the scrape sees it, once the intent that was just made is counted.
async fn with_tenants(stand: &Stand) -> String {
    stand.get("/metrics").anonymous().send().await.expect(200);
    loop {
        let page = stand.app.metrics.text(true).unwrap();
        if page.contains("nephkeep_intents_created_total{") {
            return page;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn every_metric_shown_is_in_the_contract_and_the_other_way() {
    let stand = Stand::new().await;
    // A family without series is not shown.
    stand.get("/livez").anonymous().send().await.expect(200);
    stand.intent("counted").await;
    let page = with_tenants(&stand).await;
    let shown = families(&page);
    let contract: BTreeMap<&str, _> = Contract::ours().all().collect();
    for (family, (kind, help)) in &shown {
        let name = queried(family, kind);
        let metric = contract.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in metrics.toml"));
        let exposed = if metric.kind == MetricType::Unknown { "unknown" } else { metric.kind.as_str() };
        assert_eq!((kind.as_str(), help.as_str()), (exposed, metric.help.as_str()), "{name}");
    }
    let shown: BTreeSet<String> = shown.iter().map(|(family, (kind, _))| queried(family, kind)).collect();
    let always = contract.iter().filter(|(_, metric)| metric.when.is_none());
    let missing: Vec<_> = always.filter(|(name, _)| !shown.contains(**name)).map(|(name, _)| name).collect();
    assert!(missing.is_empty(), "in metrics.toml, but not on /metrics: {missing:?}");
    stand.stop().await;
}

#[tokio::test]
async fn series_on_the_page_have_the_labels_of_the_contract() {
    let stand = Stand::new().await;
    stand.get("/livez").anonymous().send().await.expect(200);
    stand.intent("counted").await;
    let page = with_tenants(&stand).await;
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let mut labelled = 0;
    for line in lines {
        let Some((name, rest)) = line.split_once('{') else { continue };
        let labels = rest.split_once('}').unwrap().0;
        let names: BTreeSet<&str> = labels.split(',').filter_map(|pair| pair.split_once('=')).map(|(n, _)| n).collect();
        let stem = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
        // `pg_stat_activity_count` is no part of a histogram.
        let metric = Contract::ours().family(name).or_else(|| Contract::ours().family(stem));
        let metric = metric.unwrap_or_else(|| panic!("{name}"));
        let mut known: BTreeSet<&str> = metric.labels.iter().map(String::as_str).collect();
        known.extend(["le"].iter().filter(|_| metric.kind == MetricType::Histogram));
        assert_eq!(names, known, "{line}");
        labelled += 1;
    }
    assert!(labelled > 10, "{labelled}");
    stand.stop().await;
}
