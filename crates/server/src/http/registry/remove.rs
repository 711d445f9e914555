//! Deleting: softly first (hidden, still readable by id), then for good.

use super::{
    Answer, answer, numbers,
    register::flag,
    store::{Held, Store},
};
use crate::{
    http::call::{At, Call},
    identity::allow,
    state::App,
};
use axum::extract::State;
use ledger::Write;
use model::{Action, Error, Json, Result};
use registry::{Mode, Subject, Versions};

/// A version that goes for good is an administrator's; a soft deletion a writer's.
async fn permitted(app: &App, call: &Call, permanent: bool) -> Result<()> {
    allow(app, &call.access, if permanent { Action::Administer } else { Action::Write }).await
}

async fn check_mode(store: &Store<'_>, subject: &Subject) -> Result<()> {
    let mode = subject.mode.or(store.head().await?.value.mode).unwrap_or_default();
    if mode == Mode::ReadOnly {
        let how = "the subject is read-only; set its mode first";
        return Err(Error::refused("schema-mode-forbids", how).with("mode", mode));
    }
    Ok(())
}

fn referenced(by: &[u32]) -> Result<()> {
    let Some(id) = by.first() else { return Ok(()) };
    Err(Error::refused("schema-referenced", "other schemas refer to this version; delete them first").with("id", id))
}

pub async fn version(State(app): State<App>, At((name, version)): At<(String, String)>, mut call: Call) -> Answer {
    let permanent = flag(&mut call, "permanent")?;
    permitted(&app, &call, permanent).await?;
    let store = Store::new(&app, &call.access);
    let mut subject = store.existing(&name, Versions::WithDeleted).await?;
    check_mode(&store, &subject.value).await?;
    let which = if version == registry::LATEST && !permanent { Versions::Active } else { Versions::WithDeleted };
    let found = subject.value.find(&version, which)?.clone();
    referenced(&found.referenced_by)?;
    let softly = "it is deleted softly already; permanent=true deletes it for good";
    let first = "delete it softly first, then for good";
    match (permanent, found.deleted) {
        (false, true) => Err(Error::not_found("schema-version-deleted", softly).with("version", found.version).into()),
        (true, false) => {
            Err(Error::not_found("schema-version-not-deleted", first).with("version", found.version).into())
        }
        _ => {
            let writes = if permanent {
                for_good(&store, &name, &mut subject, found.version).await?
            } else {
                softly_deleted(&store, &name, &mut subject, &[found.version])?
            };
            store.settle(writes).await?;
            Ok(answer(&Json::from(u64::from(found.version))))
        }
    }
}

pub async fn subject(State(app): State<App>, At(name): At<String>, mut call: Call) -> Answer {
    let permanent = flag(&mut call, "permanent")?;
    permitted(&app, &call, permanent).await?;
    let store = Store::new(&app, &call.access);
    let mut subject = store.existing(&name, Versions::WithDeleted).await?;
    check_mode(&store, &subject.value).await?;
    let active: Vec<u32> = subject.value.versions(Versions::Active).map(|one| one.version).collect();
    for one in subject.value.versions(Versions::WithDeleted) {
        referenced(&one.referenced_by)?;
    }
    let softly = "it is deleted softly already; permanent=true deletes it for good";
    if !permanent {
        if active.is_empty() {
            return Err(Error::not_found("schema-subject-deleted", softly).with("subject", name).into());
        }
        let writes = softly_deleted(&store, &name, &mut subject, &active)?;
        store.settle(writes).await?;
        return Ok(answer(&numbers(active)));
    }
    if !active.is_empty() {
        let first = "delete the subject softly first, then for good";
        return Err(Error::not_found("schema-subject-not-deleted", first).with("subject", name).into());
    }
    let all: Vec<u32> = subject.value.versions(Versions::WithDeleted).map(|one| one.version).collect();
    for version in &all {
        // One transaction a version: a subject of thousands is no group of thousands.
        let mut subject = store.existing(&name, Versions::WithDeleted).await?;
        let writes = for_good(&store, &name, &mut subject, *version).await?;
        store.settle(writes).await?;
    }
    Ok(answer(&numbers(all)))
}

fn softly_deleted(store: &Store<'_>, name: &str, subject: &mut Held<Subject>, versions: &[u32]) -> Result<Vec<Write>> {
    for version in versions {
        if let Some(one) = subject.value.get_mut(*version) {
            one.deleted = true;
        }
    }
    Ok(store.subject_write(name, subject)?.into_iter().collect())
}

/// The version goes, its schema too when nothing else uses it, and then what it refers to is told.
async fn for_good(store: &Store<'_>, name: &str, subject: &mut Held<Subject>, version: u32) -> Result<Vec<Write>> {
    let Some(at) = subject.value.versions.iter().position(|one| one.version == version) else {
        return Ok(Vec::new());
    };
    let gone = subject.value.versions.remove(at);
    let mut known = store.schema(gone.id).await?;
    known.value.uses.retain(|(subject, used)| (subject.as_str(), *used) != (name, version));
    let mut writes = Vec::new();
    if known.value.uses.is_empty() {
        let mut targets: Vec<&str> = known.value.schema.references.iter().map(|one| one.subject.as_str()).collect();
        targets.sort_unstable();
        targets.dedup();
        for target in targets {
            if target == name {
                subject.value.versions.iter_mut().for_each(|one| one.referenced_by.retain(|id| *id != gone.id));
                continue;
            }
            let mut other = store.subject(target).await?;
            other.value.versions.iter_mut().for_each(|one| one.referenced_by.retain(|id| *id != gone.id));
            writes.extend(store.subject_write(target, &other)?);
        }
        writes.extend(store.forget(&known)?);
    } else {
        writes.push(store.schema_write(&known)?);
    }
    writes.extend(store.subject_write(name, subject)?);
    Ok(writes)
}
