//! Would this schema be accepted? Asked without registering it.

use super::{
    Answer, answer,
    register::{Request, flag},
    store::Store,
};
use crate::{
    http::call::{At, Call},
    state::App,
};
use axum::extract::State;
use model::{Json, Result};
use registry::{Earlier, Level, Schema, Subject, Versions};

/// The active versions of a subject, oldest first, with what they need.
pub async fn earlier(store: &Store<'_>, subject: &Subject) -> Result<Vec<Earlier>> {
    let mut all = Vec::new();
    for one in subject.versions(Versions::Active) {
        all.push(with_needed(store, one.version, one.id).await?);
    }
    Ok(all)
}

async fn with_needed(store: &Store<'_>, version: u32, id: u32) -> Result<Earlier> {
    let schema: Schema = store.schema(id).await?.value.schema;
    let needed = store.needed(&schema.references).await?;
    Ok(Earlier { version, schema, needed })
}

/// Against the versions that the subject's level names.
pub async fn with_level(State(app): State<App>, At(subject): At<String>, call: Call) -> Answer {
    check(&app, call, &subject, None).await
}

/// Against one version alone.
pub async fn with_version(State(app): State<App>, At((subject, version)): At<(String, String)>, call: Call) -> Answer {
    check(&app, call, &subject, Some(&version)).await
}

async fn check(app: &App, mut call: Call, name: &str, version: Option<&str>) -> Answer {
    let (verbose, normalize) = (flag(&mut call, "verbose")?, flag(&mut call, "normalize")?);
    let store = Store::new(app, &call.access);
    let request = Request::read(&call.body)?;
    let head = store.head().await?.value;
    let (subject, before) = match version {
        None => {
            let subject = store.subject(name).await?.value;
            let before = earlier(&store, &subject).await?;
            (subject, before)
        }
        Some(version) => {
            let subject = store.existing(name, Versions::Active).await?.value;
            let found = subject.find(version, Versions::Active)?;
            let before = with_needed(&store, found.version, found.id).await?;
            (subject, vec![before])
        }
    };
    let level: Level = subject.level.or(head.level).unwrap_or_default();
    let schema = request.schema(&store, normalize).await?;
    let why = schema.follows(&store.needed(&schema.references).await?, &before, level)?;
    let mut told = Json::object().with("is_compatible", why.is_empty());
    if verbose {
        told.set("messages", why.into_iter().map(Json::from).collect::<Vec<_>>());
    }
    Ok(answer(&told))
}
