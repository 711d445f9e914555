//! What operations take and give beside their own parameters: headers, and answers that any of them may give. Described
//! once, as components, so that no handler can forget them.

use http::Method;
use std::collections::BTreeMap;
use utoipa::{
    Modify,
    openapi::{
        Components, Content, Header, Object, OpenApi as Document, PathItem, Ref, RefOr, Response, ResponseBuilder,
        Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
        schema::ObjectBuilder,
    },
};

/// Of a request: name, and what it does.
const ASKED: [(&str, &str); 6] = [
    ("ledger-position", "Wait until this server has seen this position: read your writes."),
    ("purpose", "Why the data is used; it stands in the audit trail."),
    ("Idempotency-Key", "The same request under the same key gets the first answer again, for at least 24 hours."),
    ("If-Match", "The quoted version from an ETag, or *: otherwise 412."),
    ("If-None-Match", "*: only where there is none yet, otherwise 412."),
    ("Last-Event-ID", "The last event seen of a stream; it goes before `after`."),
];
/// Of an answer.
const GIVEN: [(&str, &str); 2] =
    [("ledger-position", "The position this answer is as of."), ("ETag", "The version, quoted: for If-Match.")];
const PROBLEM: &str = "Problem";

const CONFIGURATION: &str = "/api/v1/configuration/{namespace}/{key}";
const ROLLBACK: &str = "/api/v1/configuration/{namespace}/{key}:rollback";
const NETWORK_INTENTS: &str = "/api/v1/network-intents";

pub struct Headers;

impl Modify for Headers {
    fn modify(&self, document: &mut Document) {
        declare(document.components.get_or_insert_default());
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                describe(path, &method, operation);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let PathItem { get, put, post, delete, .. } = item;
    let all = [(Method::GET, get), (Method::PUT, put), (Method::POST, post), (Method::DELETE, delete)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn declare(components: &mut Components) {
    let text = || ObjectBuilder::new().schema_type(Type::String).build();
    for (name, told) in ASKED {
        let header: Parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .description(Some(told))
            .schema(Some(text()))
            .build();
        components.parameters.insert(name.to_owned(), RefOr::T(header));
    }
    for (name, told) in GIVEN {
        let mut header = Header::new(Object::with_type(Type::String));
        header.description = Some(told.to_owned());
        components.headers.insert(name.to_owned(), RefOr::T(header));
    }
    let problem: Response = ResponseBuilder::new()
        .description("A TMF630 error body")
        .content("application/json", Content::new(Some(Ref::from_schema_name(PROBLEM))))
        .build();
    components.responses.insert(PROBLEM.to_owned(), RefOr::T(problem));
}

fn describe(path: &str, method: &Method, operation: &mut Operation) {
    let parameters = operation.parameters.get_or_insert_default();
    for name in asked(path, method) {
        parameters.push(RefOr::Ref(Ref::new(format!("#/components/parameters/{name}"))));
    }
    let given = given(path, method);
    let responses: &mut BTreeMap<String, RefOr<Response>> = &mut operation.responses.responses;
    for response in responses.iter_mut().filter(|(status, _)| status.starts_with('2')).map(|(_, response)| response) {
        if let RefOr::T(response) = response {
            let header =
                |name: &&str| ((*name).to_owned(), RefOr::Ref(Ref::new(format!("#/components/headers/{name}"))));
            response.headers.extend(given.iter().map(header));
        }
    }
    for status in refusals(path, method) {
        let problem = || RefOr::Ref(Ref::from_response_name(PROBLEM));
        responses.entry((*status).to_owned()).or_insert_with(problem);
    }
}

/// Requests whose first answer is kept under an `Idempotency-Key`.
fn is_kept(path: &str, method: &Method) -> bool {
    let configured = path == CONFIGURATION && [Method::PUT, Method::DELETE].contains(method);
    let posted = ["/api/v1/transactions", NETWORK_INTENTS, ROLLBACK].contains(&path) && *method == Method::POST;
    configured || posted || (path.starts_with("/api/v1/knowledge/") && *method != Method::GET)
}

fn is_conditional(path: &str, method: &Method) -> bool {
    path == ROLLBACK || (path == CONFIGURATION && *method != Method::GET)
}

fn asked(path: &str, method: &Method) -> Vec<&'static str> {
    let mut names = vec!["ledger-position", "purpose"];
    if is_kept(path, method) {
        names.push("Idempotency-Key");
    }
    if is_conditional(path, method) {
        names.push("If-Match");
    }
    if path == CONFIGURATION && *method == Method::PUT {
        names.push("If-None-Match");
    }
    if ["/api/v1/watch", "/api/v1/events/topics/{topic}"].contains(&path) {
        names.push("Last-Event-ID");
    }
    names
}

fn given(path: &str, method: &Method) -> Vec<&'static str> {
    let positioned =
        ["watch", "history", "transactions", "configuration", "principals", "knowledge", "network-intents"];
    let positioned =
        positioned.iter().any(|part| path.strip_prefix("/api/v1/").is_some_and(|rest| rest.starts_with(part)));
    let tagged =
        path == ROLLBACK || (path == CONFIGURATION && *method != Method::DELETE) || path.starts_with(NETWORK_INTENTS);
    // One principal is shown out of its own version, without a place in the log.
    let alone = path == "/api/v1/principals/{name}" && *method == Method::GET;
    let mut names = Vec::new();
    if positioned && !alone {
        names.push("ledger-position");
    }
    if tagged {
        names.push("ETag");
    }
    names
}

fn refusals(path: &str, method: &Method) -> &'static [&'static str] {
    match () {
        () if is_conditional(path, method) => &["307", "400", "401", "403", "409", "412", "422", "429", "503"],
        () if is_kept(path, method) => &["307", "400", "401", "403", "409", "422", "429", "503"],
        () if *method != Method::GET => &["400", "401", "403", "409", "429", "503"],
        () => &["400", "401", "403", "429", "503"],
    }
}
