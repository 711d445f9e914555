//! Subjects and their versions, read.

use super::{
    Answer, answer, numbers,
    register::{Request, flag},
    store::{Known, Store},
};
use crate::{
    http::{
        call::{At, Call},
        json,
    },
    identity::allow,
    state::App,
};
use axum::extract::State;
use http::StatusCode;
use ledger::{Content, ListQuery};
use model::{Action, Error, Json, Kind, Result};
use registry::{Published, Subject, Versions};

pub fn which(call: &mut Call) -> Result<Versions> {
    Ok(if flag(call, "deleted")? { Versions::WithDeleted } else { Versions::Active })
}

/// All subjects that begin so, with their names.
pub async fn all(store: &Store<'_>, prefix: &str) -> Result<Vec<(String, Subject)>> {
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let limit = store.app.limits.page;
        let query = ListQuery { id_prefix: Some(format!("subject/{prefix}")), after, limit, ..ListQuery::default() };
        let page = store.app.ledger.list(store.access, Kind::Schema, &query).await?;
        for resource in &page.items {
            let name = resource.key.id.strip_prefix("subject/").unwrap_or_default();
            if let Content::Clear(document) = &resource.document {
                found.push((name.to_owned(), Subject::read(&model::json::stored(document)?)?));
            }
        }
        after = page.next;
        if after.is_none() {
            found.sort_by(|a, b| a.0.cmp(&b.0));
            return Ok(found);
        }
    }
}

/// `subjectPrefix`; `:*:` stands for every context, and there is one.
pub fn prefix(call: &mut Call) -> Result<String> {
    let prefix = call.query.take("subjectPrefix")?.unwrap_or_default();
    Ok(prefix.trim_start_matches(":*:").to_owned())
}

/// `offset` and `limit`; clients say -1 for "all".
pub fn page(call: &mut Call) -> Result<(usize, usize)> {
    let mut number = |name: &'static str, absent: usize| match call.query.take(name)? {
        None => Ok(absent),
        Some(text) => match text.parse::<i64>() {
            Ok(number) => Ok(usize::try_from(number).unwrap_or(absent)),
            Err(_) => Err(Error::invalid("parameter-malformed", "a whole number is expected").with("parameter", name)),
        },
    };
    Ok((number("offset", 0)?, number("limit", usize::MAX)?))
}

pub async fn list(State(app): State<App>, mut call: Call) -> Answer {
    let (prefix, only) = (prefix(&mut call)?, flag(&mut call, "deletedOnly")?);
    let which = which(&mut call)?;
    let (offset, limit) = page(&mut call)?;
    let subjects = all(&Store::new(&app, &call.access), &prefix).await?;
    let shown = |subject: &Subject| {
        let active = subject.versions(Versions::Active).next().is_some();
        let any = subject.versions(Versions::WithDeleted).next().is_some();
        if only { any && !active } else { active || (any && which == Versions::WithDeleted) }
    };
    let names = subjects.into_iter().filter(|(_, subject)| shown(subject)).map(|(name, _)| Json::from(name));
    Ok(answer(&names.skip(offset).take(limit).collect::<Vec<_>>().into()))
}

pub async fn versions(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    let only = flag(&mut call, "deletedOnly")?;
    let which = if only { Versions::WithDeleted } else { which(&mut call)? };
    let (offset, limit) = page(&mut call)?;
    let subject = Store::new(&app, &call.access).existing(&name, which).await?.value;
    let wanted = subject.versions(which).filter(|one| !only || one.deleted).map(|one| one.version);
    Ok(answer(&numbers(wanted.skip(offset).take(limit))))
}

fn described(name: &str, published: &Published, known: &Known) -> Json {
    let shown = Json::object()
        .with("subject", name)
        .with("version", u64::from(published.version))
        .with("id", u64::from(published.id));
    known.shown(shown)
}

pub async fn version(State(app): State<App>, At((name, version)): At<(String, String)>, mut call: Call) -> Answer {
    let which = which(&mut call)?;
    let store = Store::new(&app, &call.access);
    let subject = store.existing(&name, which).await?.value;
    let published = subject.find(&version, which)?;
    Ok(answer(&described(&name, published, &store.schema(published.id).await?.value)))
}

/// `…/schema`: the text alone; `…/referencedby`: ids of the schemas that refer to it.
pub async fn about_version(
    State(app): State<App>,
    At((name, version, what)): At<(String, String, String)>,
    mut call: Call,
) -> Answer {
    let which = which(&mut call)?;
    let store = Store::new(&app, &call.access);
    let subject = store.existing(&name, which).await?.value;
    let published = subject.find(&version, which)?;
    match what.as_str() {
        "schema" => Ok(json(StatusCode::OK, store.schema(published.id).await?.value.schema.text)),
        "referencedby" => Ok(answer(&numbers(published.referenced_by.iter().copied()))),
        _ => Err(Error::not_found("path-unknown", "behind a version stands schema or referencedby").into()),
    }
}

/// Whether a subject has this very schema, and as which version.
pub async fn lookup(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Read).await?;
    let (which, normalize) = (which(&mut call)?, flag(&mut call, "normalize")?);
    let store = Store::new(&app, &call.access);
    let request = Request::read(&call.body)?;
    let subject = store.existing(&name, which).await?.value;
    let (schema, _) = request.schema(&store, normalize).await?;
    let id = store.identified(&schema.identity()).await?;
    let published = subject.versions(which).rfind(|one| Some(one.id) == id);
    let how = "the subject has no such schema; register it at subjects/SUBJECT/versions";
    let published = published.ok_or_else(|| Error::not_found("schema-unknown", how).with("subject", &name))?;
    Ok(answer(&described(&name, published, &store.schema(published.id).await?.value)))
}
