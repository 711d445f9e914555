//! The OpenAPI document of `/api/v1`, generated from the handlers; committed as `schemas/openapi.json`.

mod headers;

use crate::{
    http::{api::*, json},
    problem::Answer,
};
use axum::response::IntoResponse;
use headers::Headers;
use http::StatusCode;
use model::Error;
use std::future::{Ready, ready};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        OpenApi as Document,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "Nephkeep", description = "The record of a telecom intent platform: our own API. TMF921 v5 is served at /tmf-api/intentManagement/v5 as TM Forum publishes it."),
    paths(
        status::status, record::advice, record::keep_baseline, watch::watch, history::history, transactions::transact,
        configuration::list, configuration::get, configuration::put, configuration::delete, configuration::rollback, configuration::versions, configuration::difference,
        principals::list, principals::create, principals::get, principals::revoke, principals::rotate,
        keys::status, keys::rotate, keys::rotate_root, keys::erase, keys::erasure_preview,
        audit::list, audit::checkpoint, audit::reconciliation,
        network_intents::create, network_intents::get,
        knowledge::list, knowledge::put, knowledge::get, knowledge::delete, search::search, search::retrieve,
        migration::show, migration::step,
        copies::list, copies::act,
        events::topics, events::read, events::one, events::open::open,
        events::groups::list, events::groups::get, events::groups::put, events::groups::seek, events::groups::delete,
        events::members::join, events::members::leave, events::members::poll, events::members::commit,
        events::sinks::list, events::sinks::get, events::sinks::put, events::sinks::delete,
        events::letters::list, events::letters::bury, events::letters::retry, events::letters::discard,
    ),
    modifiers(&Token, &Headers),
)]
struct Api;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

pub fn text() -> Result<String, Error> {
    let pretty = Api::openapi().to_pretty_json();
    pretty
        .map(|text| text + "\n")
        .map_err(|error| Error::bug("the OpenAPI document cannot be printed").caused_by(error))
}

pub fn document() -> Ready<Answer> {
    ready(text().map(|text| json(StatusCode::OK, text).into_response()).map_err(Into::into))
}
