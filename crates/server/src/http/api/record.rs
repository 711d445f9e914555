//! The record's tables, indexes and statements as an operator should know them: advice, and the baseline it compares with.
//! They are everybody's, and the texts of statements are seen: for principals of the installation's own tenant.

use super::{answer, shapes};
use crate::{
    http::{body, call::Call},
    identity::{act, allow, of_installation},
    problem::Answer,
    state::App,
};
use axum::extract::State;
use http::StatusCode;
use model::{Action, Error, Json};

const ADVISE: &str = "record-advise";
const BASELINE: &str = "record-baseline";

/// What is wrong with the record's tables, indexes and statements, what to do, and the facts behind it.
#[utoipa::path(get, path = "/api/v1/record/advice", tag = "record", security(("token" = [])),
    responses((status = 200, body = shapes::RecordAdvice), (status = 403, body = shapes::Problem)))]
pub async fn advice(State(app): State<App>, call: Call) -> Answer {
    allow(&app, &call.access, Action::Operate).await?;
    call.query.finish("none")?;
    of_installation(&app, &call.access, ADVISE).await?;
    let text = serde_json::to_string(&app.ledger.advise().await?);
    let text = text.map_err(|error| Error::bug("advice that is no JSON").caused_by(error))?;
    Ok(crate::http::json(StatusCode::OK, text))
}

/// Keeps what statements have cost so far as the baseline of later advice, in place of the one before.
#[utoipa::path(put, path = "/api/v1/record/baseline", tag = "record", security(("token" = [])),
    responses((status = 200, body = shapes::RecordBaselineKept), (status = 403, body = shapes::Problem),
        (status = 503, body = shapes::Problem)))]
pub async fn keep_baseline(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Operate).await?;
    body::optional(&mut call, &[])?;
    call.refuse_idempotency_key()?;
    of_installation(&app, &call.access, BASELINE).await?;
    act(&app, &call.access, BASELINE, "ordered", String::new()).await?;
    let statements = app.ledger.keep_baseline().await?;
    Ok(answer(StatusCode::OK, &Json::object().with("statements", statements as u64)))
}
