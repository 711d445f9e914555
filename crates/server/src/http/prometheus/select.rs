//! `series`, `labels`, `label/NAME/values`, `metadata`: what there is of the caller's tenant, of both classes.

use super::{Answer, Reading, parameters::malformed, success};
use crate::{http::call::At, identity::principals::HOME_TENANT, state::App};
use axum::extract::State;

/// An engine's own answer is small; a caller waits no longer than for a query.
const PASSED: [&str; 3] = ["start", "end", "limit"];

pub async fn series(State(app): State<App>, reading: Reading) -> Answer {
    if reading.parameters.all("match[]").is_empty() {
        return Err(malformed("match[]", "no match[] parameter provided").into());
    }
    selected(&app, &reading, "series").await
}

pub async fn labels(State(app): State<App>, reading: Reading) -> Answer {
    selected(&app, &reading, "labels").await
}

pub async fn values(State(app): State<App>, At(name): At<String>, reading: Reading) -> Answer {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !name.is_empty();
    if !plain {
        return Err(malformed("name", "a label's name is a word of letters, digits and underscores").into());
    }
    selected(&app, &reading, &format!("label/{name}/values")).await
}

async fn selected(app: &App, reading: &Reading, path: &str) -> Answer {
    let Reading { access, parameters } = reading;
    let limit = parameters.limit(app.limits.metric.query_time)?;
    let most = parameters.count("limit")?.filter(|most| *most > 0).unwrap_or(usize::MAX);
    let _held = app.metric_gates.query()?;
    app.metrics.metric_queries.inc();
    let selectors = parameters.all("match[]");
    let mut found = app.series.selected(path, &access.tenant, &selectors, parameters.pass(&PASSED), limit).await?;
    found.data.truncate(most);
    Ok(success(&found.data.into(), &found.warnings))
}

/// Types, help and units: of the contract for ours, and as senders said them.
pub async fn metadata(State(app): State<App>, reading: Reading) -> Answer {
    let Reading { access, parameters } = &reading;
    let ours = access.tenant.as_str() == HOME_TENANT;
    let limit = parameters.count("limit")?.filter(|limit| *limit > 0);
    let found = app.series.metadata().of(&access.tenant, ours, parameters.get("metric"), limit);
    Ok(success(&found, &[]))
}
