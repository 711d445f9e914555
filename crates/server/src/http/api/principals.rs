//! Principals: made with a token that is shown once, listed, given a new token, revoked.

use super::{answer, positioned, shapes, wrong};
use crate::{
    http::{
        body,
        call::{At, Call},
    },
    identity::{allow, principals as people},
    problem::Answer,
    state::App,
};
use axum::extract::State;
use http::StatusCode;
use ledger::{Content, ListQuery};
use model::{Access, Action, Json, Kind, Principal, ResourceKey, Result, Role, Tenant, json::stored};

fn roles(body: &Json) -> Result<Vec<Role>> {
    let rule = "roles is a list of admin, operator, writer, reader, auditor";
    let listed = body.get("roles").and_then(Json::as_array).ok_or_else(|| wrong("roles", rule))?;
    listed.iter().map(|role| role.as_str().ok_or_else(|| wrong("roles", rule))?.parse()).collect()
}

/// The tenant a request is about: the caller's own unless it names one.
fn tenant(access: &Access, named: Option<&str>) -> Result<Tenant> {
    named.map_or_else(|| Ok(access.tenant.clone()), Tenant::new)
}

/// Makes a principal; its token is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/principals", tag = "principals", security(("token" = [])),
    request_body = shapes::NewPrincipal,
    responses((status = 201, body = shapes::Principal), (status = 400, body = shapes::Problem),
        (status = 403, body = shapes::Problem), (status = 409, body = shapes::Problem)))]
pub async fn create(State(app): State<App>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Administer).await?;
    call.refuse_idempotency_key()?;
    let body = body::object(&mut call, &["name", "roles", "tenant"])?;
    let name = body.get("name").and_then(Json::as_str).ok_or_else(|| wrong("name", "name is a string; add it"))?;
    let named = body.get("tenant").map(|t| t.as_str().ok_or_else(|| wrong("tenant", "tenant is a string")));
    let tenant = tenant(&call.access, named.transpose()?)?;
    let issued = people::create(&app, &call.access, &tenant, name, &roles(&body)?).await?;
    Ok(positioned(StatusCode::CREATED, &people::shown(&issued), issued.position))
}

/// The principals of a tenant.
#[utoipa::path(get, path = "/api/v1/principals", tag = "principals", security(("token" = [])),
    params(("tenant" = Option<String>, Query)),
    responses((status = 200, body = [shapes::Principal]), (status = 403, body = shapes::Problem)))]
pub async fn list(State(app): State<App>, mut call: Call) -> Answer {
    let tenant = tenant(&call.access, call.query.take("tenant")?.as_deref())?;
    call.query.finish("tenant")?;
    let access = people::acting(&call.access, &tenant)?;
    let mut query = ListQuery { limit: app.limits.page, ..ListQuery::default() };
    let mut shown = Vec::new();
    loop {
        let page = app.ledger.list(&access, Kind::Principal, &query).await?;
        for resource in &page.items {
            if let Content::Clear(document) = &resource.document {
                shown.push(Principal::read(&stored(document)?)?.shown());
            }
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(positioned(StatusCode::OK, &Json::Array(shown), page.position));
        }
    }
}

/// One principal.
#[utoipa::path(get, path = "/api/v1/principals/{name}", tag = "principals", security(("token" = [])),
    params(("name" = String, Path), ("tenant" = Option<String>, Query)),
    responses((status = 200, body = shapes::Principal), (status = 404, body = shapes::Problem)))]
pub async fn get(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    let tenant = tenant(&call.access, call.query.take("tenant")?.as_deref())?;
    call.query.finish("tenant")?;
    let access = people::acting(&call.access, &tenant)?;
    let key = ResourceKey::new(&tenant, Kind::Principal, &name)?;
    let (_, principal) = people::read(&app, &access, &key).await?;
    Ok(answer(StatusCode::OK, &principal.shown()))
}

/// A new token; the old one ends at once.
#[utoipa::path(post, path = "/api/v1/principals/{name}/token", tag = "principals", security(("token" = [])),
    params(("name" = String, Path), ("tenant" = Option<String>, Query)),
    responses((status = 200, body = shapes::Principal), (status = 404, body = shapes::Problem)))]
pub async fn rotate(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    call.refuse_idempotency_key()?;
    body::none(&call)?;
    let tenant = tenant(&call.access, call.query.take("tenant")?.as_deref())?;
    call.query.finish("tenant")?;
    let issued = people::rotate(&app, &call.access, &tenant, &name).await?;
    Ok(positioned(StatusCode::OK, &people::shown(&issued), issued.position))
}

/// Ends a principal and its token for good; also across a restore to an earlier moment. The last admin of the
/// installation stays (409 `last-admin`).
#[utoipa::path(delete, path = "/api/v1/principals/{name}", tag = "principals", security(("token" = [])),
    params(("name" = String, Path), ("tenant" = Option<String>, Query)),
    responses((status = 204), (status = 404, body = shapes::Problem), (status = 409, body = shapes::Problem)))]
pub async fn revoke(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    let tenant = tenant(&call.access, call.query.take("tenant")?.as_deref())?;
    call.refuse_idempotency_key()?;
    call.query.finish("tenant")?;
    let position = people::revoke(&app, &call.access, &tenant, &name).await?;
    crate::http::tmf921::gone(position)
}
