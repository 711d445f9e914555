//! Schemas by id, and what the registry knows at all.

use super::{
    Answer, answer,
    register::flag,
    store::Store,
    subjects::{all, page, prefix, which},
};
use crate::{
    http::{
        call::{At, Call},
        json,
    },
    state::App,
};
use axum::extract::State;
use http::StatusCode;
use model::{Error, Json, Result};
use registry::Form;
use std::future::{Ready, ready};

/// Clients ask whether somebody is there.
pub fn root() -> Ready<axum::response::Response> {
    ready(answer(&Json::object()))
}

/// One context, the unnamed one.
pub async fn contexts(_: Call) -> Answer {
    Ok(answer(&vec![Json::from(".")].into()))
}

pub async fn types(_: Call) -> Answer {
    Ok(answer(&Form::ALL.map(|form| Json::from(form.as_str())).to_vec().into()))
}

fn number(id: &str) -> Result<u32> {
    let unknown = || Error::not_found("schema-unknown", "an id is a number; ids are given at registration");
    id.parse().map_err(|_| unknown())
}

pub async fn by_id(State(app): State<App>, At(id): At<String>, mut call: Call) -> Answer {
    let with_max = flag(&mut call, "fetchMaxId")?;
    let store = Store::new(&app, &call.access);
    let mut shown = store.schema(number(&id)?).await?.value.shown(Json::object());
    if with_max {
        shown.set("maxId", u64::from(store.head().await?.value.next.saturating_sub(1)));
    }
    Ok(answer(&shown))
}

/// `…/schema`: the text alone; `…/subjects`, `…/versions`: where it is used.
pub async fn about_id(State(app): State<App>, At((id, what)): At<(String, String)>, mut call: Call) -> Answer {
    let which = which(&mut call)?;
    let store = Store::new(&app, &call.access);
    let known = store.schema(number(&id)?).await?.value;
    if what == "schema" {
        return Ok(json(StatusCode::OK, known.schema.text));
    }
    let mut uses = Vec::new();
    for (name, version) in &known.uses {
        let subject = store.subject(name).await?.value;
        if subject.versions(which).any(|one| one.version == *version) {
            uses.push((name.clone(), *version));
        }
    }
    let used = |(name, version): &(String, u32)| {
        Json::object().with("subject", name.as_str()).with("version", u64::from(*version))
    };
    let shown: Vec<Json> = match what.as_str() {
        "versions" => uses.iter().map(used).collect(),
        "subjects" => {
            uses.dedup_by(|a, b| a.0 == b.0);
            uses.into_iter().map(|(name, _)| name.into()).collect()
        }
        _ => return Err(Error::not_found("path-unknown", "behind an id stands schema, subjects or versions").into()),
    };
    Ok(answer(&shown.into()))
}

pub async fn list(State(app): State<App>, mut call: Call) -> Answer {
    let (prefix, latest) = (prefix(&mut call)?, flag(&mut call, "latestOnly")?);
    let which = which(&mut call)?;
    let (offset, limit) = page(&mut call)?;
    let store = Store::new(&app, &call.access);
    let mut wanted = Vec::new();
    for (name, subject) in all(&store, &prefix).await? {
        let versions: Vec<_> = subject.versions(which).map(|one| (name.clone(), one.version, one.id)).collect();
        let from = if latest { versions.len().saturating_sub(1) } else { 0 };
        wanted.extend(versions.into_iter().skip(from));
    }
    let mut shown = Vec::new();
    for (name, version, id) in wanted.into_iter().skip(offset).take(limit.min(store.app.limits.page as usize)) {
        let base = Json::object().with("subject", name).with("version", u64::from(version)).with("id", u64::from(id));
        shown.push(store.schema(id).await?.value.shown(base));
    }
    Ok(answer(&shown.into()))
}
