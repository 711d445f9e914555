//! `query`, `query_range`, `query_exemplars`: an expression limited to the caller's tenant; the engine's answer is
//! passed on as it comes, with its warnings.

use super::{
    Answer, Reading, json_type,
    parameters::{Parameters, malformed},
};
use crate::state::App;
use axum::{body::Body, extract::State, response::Response};
use futures_util::{StreamExt, TryStreamExt};
use http::header;
use model::{Error, Result};
use std::io;

/// Evaluates at one time.
pub async fn query(State(app): State<App>, reading: Reading) -> Answer {
    reading.parameters.time("time")?;
    ask(&app, &reading, "query", &["time", "lookback_delta", "limit", "stats"]).await
}

/// Evaluates over a range.
pub async fn range(State(app): State<App>, reading: Reading) -> Answer {
    points(&reading.parameters, app.limits.metric.points)?;
    ask(&app, &reading, "query_range", &["start", "end", "step", "lookback_delta", "limit", "stats"]).await
}

pub async fn exemplars(State(app): State<App>, reading: Reading) -> Answer {
    ask(&app, &reading, "query_exemplars", &["start", "end"]).await
}

/// Refused here, in Prometheus's words, before an engine is asked.
fn points(parameters: &Parameters, most: u64) -> Result<()> {
    let missing = |name| malformed(name, "this parameter is missing");
    let start = parameters.time("start")?.ok_or_else(|| missing("start"))?;
    let end = parameters.time("end")?.ok_or_else(|| missing("end"))?;
    let step = parameters.duration("step")?.ok_or_else(|| missing("step"))?;
    if end < start {
        return Err(malformed("end", "the end must not be before the start"));
    }
    if step <= 0.0 {
        let rule = "a step of zero or less is not accepted; try a positive whole number";
        return Err(malformed("step", rule));
    }
    #[expect(clippy::cast_precision_loss, reason = "a limit of some thousands")]
    if (end - start) / step > most as f64 {
        let rule = "exceeded the maximum resolution of points per series; decrease the range or increase the step";
        return Err(Error::invalid("parameter-malformed", rule).with("points", most));
    }
    Ok(())
}

async fn ask(app: &App, reading: &Reading, path: &str, passed: &[&str]) -> Answer {
    let Reading { access, parameters } = reading;
    let query = parameters.required("query")?;
    let limit = parameters.limit(app.limits.metric.query_time)?;
    let permit = app.metric_gates.query()?;
    let mut told = parameters.pass(passed);
    if path != "query_exemplars" {
        told.push(("timeout".to_owned(), format!("{}ms", limit.as_millis())));
    }
    app.metrics.metric_queries.inc();
    let answer = app.series.expression(path, &access.tenant, query, told, limit).await?;
    let (status, most) = (answer.status(), app.limits.metric.answer_bytes);
    let mut passed_on = 0_u64;
    let counted = answer.bytes_stream().map(move |piece| {
        let _held = &permit;
        let piece = piece.map_err(|error| io::Error::other(error.without_url()))?;
        passed_on += piece.len() as u64;
        if passed_on > most { Err(io::Error::other("the answer is too long")) } else { Ok(piece) }
    });
    let mut response = Response::new(Body::from_stream(counted.into_stream()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, json_type());
    Ok(response)
}
