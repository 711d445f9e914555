//! Compatibility levels and modes, of the registry and of subjects. Setting them is an administrator's.

use super::{
    Answer, answer,
    register::flag,
    store::{Head, Held, Store},
    subjects::all,
};
use crate::{
    http::call::{At, Call},
    identity::allow,
    state::App,
};
use axum::extract::State;
use model::{Action, Error, Json, Result, json};
use registry::{Level, Mode, Subject, Versions};

fn word(call: &Call, field: &'static str) -> Result<String> {
    let body = json::parse(&call.body)?;
    let missing = || Error::invalid("schema-invalid", "add this attribute, a string").with("field", field);
    body.get(field).and_then(Json::as_str).map(str::to_owned).ok_or_else(missing)
}

fn contended() -> Error {
    Error::retry("schema-contended", "others change the registry at the same time; send this again")
}

async fn change_head(app: &App, call: &Call, change: impl FnOnce(&mut Head)) -> Result<()> {
    allow(app, &call.access, Action::Administer).await?;
    let store = Store::new(app, &call.access);
    let mut head = store.head().await?;
    change(&mut head.value);
    if store.commit(vec![store.head_write(&head)?]).await? { Ok(()) } else { Err(contended()) }
}

async fn change_subject(app: &App, call: &Call, name: &str, change: impl FnOnce(&mut Subject)) -> Result<()> {
    allow(app, &call.access, Action::Administer).await?;
    let store = Store::new(app, &call.access);
    let mut subject: Held<Subject> = store.subject(name).await?;
    change(&mut subject.value);
    let writes: Vec<_> = store.subject_write(name, &subject)?.into_iter().collect();
    if writes.is_empty() || store.commit(writes).await? { Ok(()) } else { Err(contended()) }
}

fn shown(field: &str, value: impl ToString) -> Answer {
    Ok(answer(&Json::object().with(field, value.to_string())))
}

pub async fn level(State(app): State<App>, call: Call) -> Answer {
    let head = Store::new(&app, &call.access).head().await?.value;
    shown("compatibilityLevel", head.level.unwrap_or_default())
}

pub async fn set_level(State(app): State<App>, call: Call) -> Answer {
    let level: Level = word(&call, "compatibility")?.parse()?;
    change_head(&app, &call, |head| head.level = Some(level)).await?;
    shown("compatibility", level)
}

pub async fn unset_level(State(app): State<App>, call: Call) -> Answer {
    change_head(&app, &call, |head| head.level = None).await?;
    shown("compatibilityLevel", Level::default())
}

pub async fn subject_level(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    let or_global = flag(&mut call, "defaultToGlobal")?;
    let store = Store::new(&app, &call.access);
    let own = store.subject(&name).await?.value.level;
    let how = "the subject has no level of its own; ask with defaultToGlobal=true";
    match own {
        Some(level) => shown("compatibilityLevel", level),
        None if or_global => shown("compatibilityLevel", store.head().await?.value.level.unwrap_or_default()),
        None => Err(Error::not_found("schema-level-unset", how).with("subject", name).into()),
    }
}

pub async fn set_subject_level(State(app): State<App>, At(name): At<String>, call: Call) -> Answer {
    let level: Level = word(&call, "compatibility")?.parse()?;
    change_subject(&app, &call, &name, |subject| subject.level = Some(level)).await?;
    shown("compatibility", level)
}

pub async fn unset_subject_level(State(app): State<App>, At(name): At<String>, call: Call) -> Answer {
    let own = Store::new(&app, &call.access).subject(&name).await?.value.level;
    let how = "the subject has no level of its own";
    let level = own.ok_or_else(|| Error::not_found("schema-level-unset", how).with("subject", &name))?;
    change_subject(&app, &call, &name, |subject| subject.level = None).await?;
    shown("compatibilityLevel", level)
}

pub async fn mode(State(app): State<App>, call: Call) -> Answer {
    shown("mode", Store::new(&app, &call.access).head().await?.value.mode.unwrap_or_default())
}

fn must_be_empty() -> Error {
    let how = "ids could clash with what is registered already; force=true if they do not";
    Error::refused("schema-mode-forbids", how).with("mode", Mode::Import)
}

pub async fn set_mode(State(app): State<App>, mut call: Call) -> Answer {
    let mode: Mode = word(&call, "mode")?.parse()?;
    if mode == Mode::Import && !flag(&mut call, "force")? && !all(&Store::new(&app, &call.access), "").await?.is_empty()
    {
        return Err(must_be_empty().into());
    }
    change_head(&app, &call, |head| head.mode = Some(mode)).await?;
    shown("mode", mode)
}

pub async fn subject_mode(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    let or_global = flag(&mut call, "defaultToGlobal")?;
    let store = Store::new(&app, &call.access);
    let own = store.subject(&name).await?.value.mode;
    let how = "the subject has no mode of its own; ask with defaultToGlobal=true";
    match own {
        Some(mode) => shown("mode", mode),
        None if or_global => shown("mode", store.head().await?.value.mode.unwrap_or_default()),
        None => Err(Error::not_found("schema-mode-unset", how).with("subject", name).into()),
    }
}

pub async fn set_subject_mode(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    let mode: Mode = word(&call, "mode")?.parse()?;
    let forced = flag(&mut call, "force")?;
    let subject = Store::new(&app, &call.access).subject(&name).await?.value;
    if mode == Mode::Import && !forced && subject.versions(Versions::WithDeleted).next().is_some() {
        return Err(must_be_empty().into());
    }
    change_subject(&app, &call, &name, |subject| subject.mode = Some(mode)).await?;
    shown("mode", mode)
}

pub async fn unset_subject_mode(State(app): State<App>, At(name): At<String>, call: Call) -> Answer {
    let own = Store::new(&app, &call.access).subject(&name).await?.value.mode;
    let how = "the subject has no mode of its own";
    let mode = own.ok_or_else(|| Error::not_found("schema-mode-unset", how).with("subject", &name))?;
    change_subject(&app, &call, &name, |subject| subject.mode = None).await?;
    shown("mode", mode)
}
