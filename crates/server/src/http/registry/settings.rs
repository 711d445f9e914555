//! Compatibility levels and modes, of the registry and of subjects. Setting them is an administrator's.

use super::{
    Answer, answer,
    register::flag,
    store::{Head, Held, Store},
};
use crate::{
    http::call::{At, Call},
    identity::allow,
    state::App,
};
use axum::extract::State;
use model::{Action, Error, Json, Result, json};
use registry::{Level, Mode, Subject};

fn word(call: &Call, field: &'static str) -> Result<String> {
    let body = json::parse(&call.body)?;
    let missing = || Error::invalid("schema-invalid", "add this attribute, a string").with("field", field);
    body.get(field).and_then(Json::as_str).map(str::to_owned).ok_or_else(missing)
}

/// Before anything is looked at.
async fn administered<'c>(app: &'c App, call: &'c Call) -> Result<Store<'c>> {
    allow(app, &call.access, Action::Administer).await?;
    Ok(Store::new(app, &call.access))
}

async fn change_head(store: &Store<'_>, change: impl FnOnce(&mut Head)) -> Result<()> {
    let mut head = store.head().await?;
    change(&mut head.value);
    store.settle(vec![store.head_write(&head)?]).await
}

/// Decided and changed on the same reading.
async fn change_subject<T>(store: &Store<'_>, name: &str, change: impl FnOnce(&mut Subject) -> Result<T>) -> Result<T> {
    let mut subject: Held<Subject> = store.subject(name).await?;
    let told = change(&mut subject.value)?;
    store.settle(store.subject_write(name, &subject)?.into_iter().collect()).await?;
    Ok(told)
}

fn unset(code: &'static str, what: &str, name: &str) -> Error {
    let how = format!("the subject has no {what} of its own; ask with defaultToGlobal=true");
    Error::not_found(code, how).with("subject", name)
}

fn shown(field: &str, value: impl ToString) -> Answer {
    Ok(answer(&Json::object().with(field, value.to_string())))
}

pub async fn level(State(app): State<App>, call: Call) -> Answer {
    let head = Store::new(&app, &call.access).head().await?.value;
    shown("compatibilityLevel", head.level.unwrap_or_default())
}

pub async fn set_level(State(app): State<App>, call: Call) -> Answer {
    let store = administered(&app, &call).await?;
    let level: Level = word(&call, "compatibility")?.parse()?;
    change_head(&store, |head| head.level = Some(level)).await?;
    shown("compatibility", level)
}

pub async fn unset_level(State(app): State<App>, call: Call) -> Answer {
    change_head(&administered(&app, &call).await?, |head| head.level = None).await?;
    shown("compatibilityLevel", Level::default())
}

pub async fn subject_level(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    let or_global = flag(&mut call, "defaultToGlobal")?;
    let store = Store::new(&app, &call.access);
    let own = store.subject(&name).await?.value.level;
    match own {
        Some(level) => shown("compatibilityLevel", level),
        None if or_global => shown("compatibilityLevel", store.head().await?.value.level.unwrap_or_default()),
        None => Err(unset("schema-level-unset", "level", &name).into()),
    }
}

pub async fn set_subject_level(State(app): State<App>, At(name): At<String>, call: Call) -> Answer {
    let store = administered(&app, &call).await?;
    let level: Level = word(&call, "compatibility")?.parse()?;
    let set = |subject: &mut Subject| {
        subject.level = Some(level);
        Ok(())
    };
    change_subject(&store, &name, set).await?;
    shown("compatibility", level)
}

pub async fn unset_subject_level(State(app): State<App>, At(name): At<String>, call: Call) -> Answer {
    let store = administered(&app, &call).await?;
    let missing = || unset("schema-level-unset", "level", &name);
    let level = change_subject(&store, &name, |subject| subject.level.take().ok_or_else(missing)).await?;
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
    allow(&app, &call.access, Action::Administer).await?;
    let mode: Mode = word(&call, "mode")?.parse()?;
    let forced = flag(&mut call, "force")?;
    let store = Store::new(&app, &call.access);
    // Read before it is looked for subjects: one that comes meanwhile takes an id, and this write is lost.
    let mut head = store.head().await?;
    if mode == Mode::Import && !forced && !store.is_empty().await? {
        return Err(must_be_empty().into());
    }
    head.value.mode = Some(mode);
    store.settle(vec![store.head_write(&head)?]).await?;
    shown("mode", mode)
}

pub async fn subject_mode(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    let or_global = flag(&mut call, "defaultToGlobal")?;
    let store = Store::new(&app, &call.access);
    let own = store.subject(&name).await?.value.mode;
    match own {
        Some(mode) => shown("mode", mode),
        None if or_global => shown("mode", store.head().await?.value.mode.unwrap_or_default()),
        None => Err(unset("schema-mode-unset", "mode", &name).into()),
    }
}

pub async fn set_subject_mode(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Administer).await?;
    let mode: Mode = word(&call, "mode")?.parse()?;
    let forced = flag(&mut call, "force")?;
    let set = |subject: &mut Subject| {
        if mode == Mode::Import && !forced && !subject.versions.is_empty() {
            return Err(must_be_empty());
        }
        subject.mode = Some(mode);
        Ok(())
    };
    change_subject(&Store::new(&app, &call.access), &name, set).await?;
    shown("mode", mode)
}

pub async fn unset_subject_mode(State(app): State<App>, At(name): At<String>, call: Call) -> Answer {
    let store = administered(&app, &call).await?;
    let missing = || unset("schema-mode-unset", "mode", &name);
    let mode = change_subject(&store, &name, |subject| subject.mode.take().ok_or_else(missing)).await?;
    shown("mode", mode)
}
