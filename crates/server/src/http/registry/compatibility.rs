//! Would this schema be accepted? Asked without registering it.

use super::{
    Answer, answer,
    register::{Request, flag},
    store::Store,
};
use crate::{
    http::call::{At, Call},
    identity::allow,
    state::App,
};
use axum::extract::State;
use model::{Action, Json, Result};
use registry::{Earlier, Published, Subject, Versions};

/// Versions with their schemas and what these need.
pub async fn earlier(store: &Store<'_>, versions: impl Iterator<Item = &Published>) -> Result<Vec<Earlier>> {
    let mut all = Vec::new();
    for one in versions {
        let schema = store.schema(one.id).await?.value.schema;
        let needed = store.needed(schema.form, &schema.references).await?;
        all.push(Earlier { version: one.version, schema, needed });
    }
    Ok(all)
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
    allow(app, &call.access, Action::Read).await?;
    let (verbose, normalize) = (flag(&mut call, "verbose")?, flag(&mut call, "normalize")?);
    let store = Store::new(app, &call.access);
    let request = Request::read(&call.body)?;
    let global = store.head().await?.value.level;
    let level_of = |subject: &Subject| subject.level.or(global).unwrap_or_default();
    let (level, before) = match version {
        None => {
            let subject = store.subject(name).await?.value;
            let level = level_of(&subject);
            (level, earlier(&store, subject.before(level)).await?)
        }
        Some(version) => {
            let subject = store.existing(name, Versions::Active).await?.value;
            let found = subject.find(version, Versions::Active)?;
            (level_of(&subject), earlier(&store, std::iter::once(found)).await?)
        }
    };
    let (schema, needed) = request.schema(&store, normalize).await?;
    let why = schema.follows(&needed, &before, level)?;
    let mut told = Json::object().with("is_compatible", why.is_empty());
    if verbose {
        told.set("messages", why.into_iter().map(Json::from).collect::<Vec<_>>());
    }
    Ok(answer(&told))
}
