//! `rules`, `alerts`: those of the engines whose every selector names the caller's tenant; `status/buildinfo`: what
//! clients look at first.

use super::{Answer, Reading, success};
use crate::state::App;
use axum::extract::State;
use model::Tenant;
use serde_json::{Value, json};
use stores::metrics::{Merged, scope};

pub async fn rules(State(app): State<App>, reading: Reading) -> Answer {
    let _held = app.metric_gates.query()?;
    let passed = reading.parameters.pass(&["type"]);
    let Merged { data, warnings } = app.series.every("rules", &passed, app.limits.metric.query_time).await?;
    let groups: Vec<Value> = data
        .iter()
        .flat_map(|data| list(data, "groups"))
        .filter_map(|group| of_tenant(group, &reading.access.tenant))
        .collect();
    Ok(success(&json!({ "groups": groups }), &warnings))
}

fn of_tenant(group: &Value, tenant: &Tenant) -> Option<Value> {
    let mut group = group.clone();
    let rules = group.get_mut("rules")?.as_array_mut()?;
    rules.retain(|rule| rule["query"].as_str().is_some_and(|query| scope::concerns(query, tenant)));
    if rules.is_empty() { None } else { Some(group) }
}

pub async fn alerts(State(app): State<App>, reading: Reading) -> Answer {
    let _held = app.metric_gates.query()?;
    let Merged { data, warnings } = app.series.every("alerts", &[], app.limits.metric.query_time).await?;
    let tenant = reading.access.tenant.as_str();
    let alerts = data.iter().flat_map(|data| list(data, "alerts"));
    let alerts: Vec<&Value> = alerts.filter(|alert| alert["labels"][scope::TENANT] == tenant).collect();
    Ok(success(&json!({ "alerts": alerts }), &warnings))
}

fn list<'a>(data: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    data.get(name).and_then(Value::as_array).into_iter().flatten()
}

pub async fn buildinfo(State(app): State<App>, _reading: Reading) -> Answer {
    let status = app.series.status().await;
    let version = status.version.unwrap_or_else(|| "unknown".to_owned());
    let told = json!({ "version": version, "application": concat!("nephkeep ", env!("CARGO_PKG_VERSION")) });
    Ok(success(&told, &[]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_group_shows_only_rules_of_the_tenant() {
        let group = json!({ "name": "g", "rules": [
            { "query": "up{tenant=\"a\"} == 0" }, { "query": "up == 0" }, { "query": "up{tenant=\"b\"}" },
        ]});
        let shown = of_tenant(&group, &Tenant::new("a").unwrap()).unwrap();
        assert_eq!(shown["rules"].as_array().unwrap().len(), 1);
        assert_eq!(of_tenant(&group, &Tenant::new("c").unwrap()), None);
    }
}
