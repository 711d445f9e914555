//! Keys: how the keystore is, rotations, erasure of a customer.
//!
//! An erasure is durable in the audit log before the record and the keystore (RECORD 11): then the record refuses new
//! documents of the subject, then the key is destroyed everywhere, then the record says so. After each change of the
//! keystore the record demands the new generation (RECORD 8). Ordering it again goes on
//! where a stop or a slot that was away left it.

use super::{answer, shapes, wrong};
use crate::{
    http::{body, call::Call},
    identity::{act, allow, of_installation},
    problem::Answer,
    state::App,
};
use axum::extract::State;
use http::StatusCode;
use keys::{Destroyed, Keystore};
use model::{Action, Error, Json, Result, Subject};
use std::sync::Arc;

/// Keystore work reads and writes files: never on an async worker.
async fn on_keystore<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Keystore) -> Result<T> + Send + 'static,
) -> Result<T> {
    let keystore = Arc::clone(&app.keystore);
    let done = tokio::task::spawn_blocking(move || work(&keystore)).await;
    done.map_err(|error| Error::bug("the keystore's worker ended badly").caused_by(error))?
}

/// Counts and health of the keystore, its slots and directories; never key material.
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", security(("token" = [])),
    responses((status = 200, body = Object), (status = 403, body = shapes::Problem)))]
pub async fn status(State(app): State<App>, call: Call) -> Answer {
    allow(&app, &call.access, Action::Operate).await?;
    call.query.finish("none")?;
    // The root is rotated by another process, on the keystore's own machine: what it changed is seen from here on.
    let looked = |keystore: &Keystore| keystore.refresh().and_then(|()| keystore.status());
    let status = on_keystore(&app, looked).await?;
    let text =
        serde_json::to_string(&status).map_err(|error| Error::bug("a status that is no JSON").caused_by(error))?;
    Ok(crate::http::json(StatusCode::OK, text))
}

fn subject(call: &Call, body: &Json) -> Result<Subject> {
    match body.get("customer") {
        None => Ok(Subject::of_tenant(&call.access.tenant)),
        Some(customer) => {
            let rule = "customer is the id of a customer of the tenant, as a string";
            Subject::of_customer(&call.access.tenant, customer.as_str().ok_or_else(|| wrong("customer", rule))?)
        }
    }
}

/// A fresh epoch key, or a further version of a subject's data key.
#[utoipa::path(post, path = "/api/v1/keys/rotations", tag = "keys", security(("token" = [])),
    request_body = shapes::Rotation,
    responses((status = 200, body = Object), (status = 403, body = shapes::Problem), (status = 404, body = shapes::Problem)))]
pub async fn rotate(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Operate).await?;
    call.refuse_idempotency_key()?;
    let body = body::object(&mut call, &["what", "customer"])?;
    match body.get("what").and_then(Json::as_str) {
        Some("epoch") => {
            // The epoch is everybody's: whoever names a customer means another key.
            body::only(&body, &["what"])?;
            of_installation(&app, &call.access, "epoch-rotate").await?;
            act(&app, &call.access, "epoch-rotate", "ordered", String::new()).await?;
            let outcome = on_keystore(&app, Keystore::rotate_epoch).await?;
            app.ledger.mark_keystore().await?;
            Ok(answer(StatusCode::OK, &told(&outcome)))
        }
        Some("subject") => {
            let subject = subject(&call, &body)?;
            let key = app.ledger.subject_key(&call.access, &subject).await?;
            act(&app, &call.access, "key-rotate", "ordered", subject.as_str().to_owned()).await?;
            let version = on_keystore(&app, move |keystore| keystore.rotate_key(key)).await?;
            app.ledger.mark_keystore().await?;
            let body = Json::object().with("subject", subject.as_str()).with("version", u64::from(version));
            Ok(answer(StatusCode::OK, &body))
        }
        _ => {
            let rule = "what is rotated is epoch or subject";
            Err(wrong("what", rule).into())
        }
    }
}

/// What an erasure would take: changes nothing, and tells of nobody who is unknown.
#[utoipa::path(get, path = "/api/v1/erasures", tag = "keys", security(("token" = [])),
    params(("customer" = String, Query)),
    responses((status = 200, body = shapes::ErasurePreview), (status = 403, body = shapes::Problem),
        (status = 404, body = shapes::Problem)))]
pub async fn erasure_preview(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Administer).await?;
    let missing = || Error::invalid("parameter-missing", "name the customer").with("parameter", "customer");
    let customer = call.query.take("customer")?.ok_or_else(missing)?;
    std::mem::take(&mut call.query).finish("customer")?;
    let subject = Subject::of_customer(&call.access.tenant, &customer)?;
    let documents = app.ledger.subject_documents(&call.access, &subject).await?;
    Ok(answer(StatusCode::OK, &Json::object().with("subject", subject.as_str()).with("documents", documents)))
}

/// Erases a customer for good: the key is destroyed in every generation and slot.
#[utoipa::path(post, path = "/api/v1/erasures", tag = "keys", security(("token" = [])),
    request_body = shapes::ErasureOrder,
    responses((status = 200, body = shapes::ErasureResult), (status = 403, body = shapes::Problem),
        (status = 404, body = shapes::Problem)))]
pub async fn erase(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Administer).await?;
    let body = body::object(&mut call, &["customer"])?;
    if body.get("customer").is_none() {
        let rule = "an erasure names its customer; a whole tenant is not erased by accident";
        return Err(Error::invalid("attribute-missing", rule).with("field", "customer").into());
    }
    let subject = subject(&call, &body)?;
    // An unknown subject is refused before anything is recorded about it.
    app.ledger.subject_key(&call.access, &subject).await?;
    act(&app, &call.access, "erase", "ordered", subject.as_str().to_owned()).await?;
    let key = app.ledger.erasure_begin(&call.access, &subject).await?;
    let outcome = on_keystore(&app, move |keystore| keystore.destroy(&[key])).await?;
    app.ledger.mark_keystore().await?;
    // Before it is complete: a copy that fails, or a server that dies, tries again what stands as begun.
    app.relay.erase(&subject).await?;
    if outcome.is_complete() {
        app.ledger.erasure_complete(&call.access, &subject).await?;
    }
    let complete = if outcome.is_complete() { "complete" } else { "incomplete" };
    act(&app, &call.access, "erase", complete, subject.as_str().to_owned()).await?;
    Ok(answer(StatusCode::OK, &told(&outcome).with("subject", subject.as_str())))
}

/// Records that a new root is about to be made. The command line makes it, on the keystore's own machine: a root key
/// never travels over this door.
#[utoipa::path(post, path = "/api/v1/keys/root-rotations", tag = "keys", security(("token" = [])),
    responses((status = 200, body = Object), (status = 403, body = shapes::Problem)))]
pub async fn rotate_root(State(app): State<App>, call: Call) -> Answer {
    allow(&app, &call.access, Action::Administer).await?;
    call.refuse_idempotency_key()?;
    body::none(&call)?;
    call.query.finish("none")?;
    of_installation(&app, &call.access, "root-rotate").await?;
    act(&app, &call.access, "root-rotate", "ordered", String::new()).await?;
    Ok(answer(StatusCode::OK, &Json::object().with("recorded", true)))
}

fn told(outcome: &Destroyed) -> Json {
    let (generation, epoch, failed) = match outcome {
        Destroyed::Complete { generation, epoch } => (*generation, *epoch, Vec::new()),
        Destroyed::Incomplete { generation, epoch, failed } => {
            (*generation, *epoch, failed.iter().map(|slot| Json::from(slot.path.display().to_string())).collect())
        }
    };
    Json::object()
        .with("complete", outcome.is_complete())
        .with("generation", generation)
        .with("epoch", epoch)
        .with("failed", failed)
}
