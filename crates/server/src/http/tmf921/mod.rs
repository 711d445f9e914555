//! TM Forum TMF921 Intent Management v5 at its usual mount point; the rules of its documents live in `model::tmf921`.

mod answer;
mod hub;
mod report;
mod resource;

pub use answer::{clear, erased, gone, not_found};
pub use resource::create_from;

use super::call::{At, Call};
use crate::{problem::Answer, state::App};
use axum::{
    Router,
    extract::State,
    routing::{delete, get, post},
};
use model::{Kind, tmf921::BASE_PATH};

/// Intents and specifications are served alike; reports and subscriptions are not.
pub fn routes() -> Router<App> {
    let api = Router::new()
        .route("/intent", post(create_intent).get(list_intents))
        .route("/intent/{id}", get(get_intent).patch(patch_intent).delete(delete_intent))
        .route("/intent/{id}/intentReport", get(report::list))
        .route("/intent/{id}/intentReport/{report}", get(report::get).delete(report::delete))
        .route("/intentSpecification", post(create_specification).get(list_specifications))
        .route(
            "/intentSpecification/{id}",
            get(get_specification).patch(patch_specification).delete(delete_specification),
        )
        .route("/hub", post(hub::register))
        .route("/hub/{id}", delete(hub::unregister));
    Router::new().nest(BASE_PATH, api)
}

async fn create_intent(State(app): State<App>, call: Call) -> Answer {
    resource::create(&app, call, Kind::Intent).await
}

async fn list_intents(State(app): State<App>, call: Call) -> Answer {
    resource::list(&app, call, Kind::Intent).await
}

async fn get_intent(State(app): State<App>, At(id): At<String>, call: Call) -> Answer {
    resource::get(&app, call, Kind::Intent, &id).await
}

async fn patch_intent(State(app): State<App>, At(id): At<String>, call: Call) -> Answer {
    resource::patch(&app, call, Kind::Intent, &id).await
}

async fn delete_intent(State(app): State<App>, At(id): At<String>, call: Call) -> Answer {
    resource::delete(&app, call, Kind::Intent, &id).await
}

async fn create_specification(State(app): State<App>, call: Call) -> Answer {
    resource::create(&app, call, Kind::IntentSpecification).await
}

async fn list_specifications(State(app): State<App>, call: Call) -> Answer {
    resource::list(&app, call, Kind::IntentSpecification).await
}

async fn get_specification(State(app): State<App>, At(id): At<String>, call: Call) -> Answer {
    resource::get(&app, call, Kind::IntentSpecification, &id).await
}

async fn patch_specification(State(app): State<App>, At(id): At<String>, call: Call) -> Answer {
    resource::patch(&app, call, Kind::IntentSpecification, &id).await
}

async fn delete_specification(State(app): State<App>, At(id): At<String>, call: Call) -> Answer {
    resource::delete(&app, call, Kind::IntentSpecification, &id).await
}
