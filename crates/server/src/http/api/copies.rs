//! The copies: how far each is, whether it holds what the record says, and making it anew.
//!
//! An action stands behind a copy's name: `…/vectors:verify`, `…/vectors:rebuild`.

use super::{answer, shapes, wrong};
use crate::{
    http::{
        body,
        call::{At, Call},
    },
    identity::{act as act_of, allow, of_installation, principals::HOME_TENANT},
    problem::Answer,
    state::App,
};
use axum::extract::State;
use http::StatusCode;
use model::{Access, Action, Error, Json, Kind, ResourceKey, Result, Tenant};
use relay::{
    Difference, Repaired, Status, Verified,
    counters::{self, Miscount, Reconciled},
    recall::{Figures, Shown},
};
use std::time::Duration;
use stores::vectors::Explained;

/// Tenants whose index is explained.
const INDEXES_SHOWN: usize = 100;
/// Keys that one repair names.
const KEYS_MAX: usize = 1_000;
/// Not one of the relay's copies: samples do not come from the log, but counters of documents can be compared with it.
const METRICS: &str = "metrics";
/// Of the counters' samples that are compared.
const WINDOW_S: u64 = 3_600;
const VERIFY: &str = "copy-verify";
const REBUILD: &str = "copy-rebuild";

pub fn shown(status: &Status) -> Json {
    let mut shown = Json::object()
        .with("name", status.name)
        .with("generation", status.generation)
        .with("position", status.position.map_or(Json::Null, |position| position.to_string().into()))
        .with("lag_changes", status.lag_changes)
        .with("lag_seconds", Json::Number(format!("{:.3}", status.lag_seconds).into()))
        .with("damaged", status.damaged);
    if status.unshaped > 0 {
        shown.set("unshaped", status.unshaped);
    }
    if let Some(why) = status.rebuilt_because {
        shown.set("rebuilt_because", why);
    }
    if let Some(what) = status.leaves_out {
        shown.set("leaves_out", what);
    }
    if let Some((code, message)) = &status.error {
        shown.set("error", Json::object().with("code", &**code).with("message", &**message));
    }
    shown
}

/// Which index serves a tenant's searches, and why; of all tenants for the installation's own principals.
pub fn indexes(app: &App, access: &Access) -> Vec<Json> {
    let Ok(vectors) = app.relay.vectors() else { return Vec::new() };
    let tenant = (access.tenant.as_str() != HOME_TENANT).then_some(&access.tenant);
    let milliseconds = |time: Duration| Json::Number(format!("{:.1}", time.as_secs_f64() * 1_000.0).into());
    let shown = |of: &Explained| {
        Json::object()
            .with("tenant", of.tenant.as_str())
            .with("index", of.index)
            .with("why", &*of.why)
            .with("vectors", of.vectors as u64)
            .with("scan_p95_ms", of.scan_p95.map_or(Json::Null, milliseconds))
            .with("graph_bytes", of.graph_bytes as u64)
    };
    let measured = app.relay.recall().shown();
    let with_recall = |of: &Explained| match measured.iter().find(|measured| measured.tenant == of.tenant) {
        Some(measured) => shown(of).with("recall", recall(measured)),
        None => shown(of),
    };
    vectors.explained(tenant).iter().take(INDEXES_SHOWN).map(with_recall).collect()
}

/// What the recall monitor has measured, and the effort that follows from it.
fn recall(of: &Shown) -> Json {
    let share = |share: f64| Json::Number(format!("{share:.4}").into());
    let mut shown = Json::object()
        .with("target", share(of.target))
        .with("ef", of.effort.ef as u64)
        .with("rescore", of.effort.rescore as u64)
        .with("ghosts", of.ghosts)
        .with("unfound", of.missing);
    if let Some(Figures { n, mean, p5, zero, bound }) = of.figures {
        shown.set("samples", n as u64);
        shown.set("mean", share(mean));
        shown.set("p5", share(p5));
        shown.set("without_any", zero as u64);
        shown.set("lower_bound", bound.map_or(Json::Null, share));
    }
    shown
}

fn difference(difference: &Difference) -> Json {
    let position = |at: Option<model::Position>| at.map_or(Json::Null, |at| at.to_string().into());
    Json::object()
        .with("what", difference.what.as_str())
        .with("tenant", difference.key.tenant.as_str())
        .with("kind", difference.key.kind.as_str())
        .with("id", &*difference.key.id)
        .with("record", position(difference.record))
        .with("copy", position(difference.copy))
}

fn verified(found: &Verified) -> Json {
    Json::object()
        .with("name", found.name)
        .with("generation", found.generation)
        .with("position", found.position.to_string())
        .with("keys", found.keys)
        .with("objects", found.objects)
        .with("differing", found.differing)
        .with("differences", found.differences.iter().map(difference).collect::<Vec<_>>())
        .with("unshaped", found.unshaped)
        .with("unshaped_named", found.unshaped_named.iter().map(unshaped).collect::<Vec<_>>())
}

/// `left`: keys of which the copy holds a later state than the record's; only a rebuild of all mends them. `absent`: keys
/// of which the record holds nothing.
fn repaired(name: &str, repaired: &Repaired) -> Json {
    Json::object()
        .with("name", name)
        .with("applied", repaired.applied)
        .with("left", repaired.left.iter().map(difference).collect::<Vec<_>>())
        .with("absent", repaired.absent.iter().map(key).collect::<Vec<_>>())
}

fn key(key: &ResourceKey) -> Json {
    Json::object().with("tenant", key.tenant.as_str()).with("kind", key.kind.as_str()).with("id", &*key.id)
}

fn unshaped((of, code): &(ResourceKey, &'static str)) -> Json {
    key(of).with("code", *code)
}

/// A verdict in the shape of a copy's; a key is a counter of one life of counting, an object a change it counted.
fn reconciled(found: &Reconciled) -> Json {
    let miscount = |found: &Miscount| {
        Json::object()
            .with("what", "different")
            .with("tenant", &*found.tenant)
            .with("kind", "counter")
            .with("id", format!("{} after {} through {}", found.counter, found.from, found.through))
            .with("record", found.record)
            .with("copy", found.copy)
    };
    Json::object()
        .with("name", METRICS)
        .with("generation", found.lives)
        .with("position", found.position.to_string())
        .with("keys", found.counters)
        .with("objects", found.changes)
        .with("unsampled", found.unsampled)
        .with("differing", found.differing)
        .with("differences", found.differences.iter().map(miscount).collect::<Vec<_>>())
}

/// Every copy, how far it has come and what keeps it; for the installation's own principals also which documents it
/// cannot hold.
#[utoipa::path(get, path = "/api/v1/copies", tag = "copies", security(("token" = [])),
    responses((status = 200, body = Object), (status = 403, body = shapes::Problem)))]
pub async fn list(State(app): State<App>, call: Call) -> Answer {
    allow(&app, &call.access, Action::Operate).await?;
    call.query.finish("none")?;
    let ours = call.access.tenant.as_str() == HOME_TENANT;
    let all = |status: &Status| match shown(status) {
        copy if ours => copy.with("unshaped_named", status.unshaped_named.iter().map(unshaped).collect::<Vec<_>>()),
        copy => copy,
    };
    let copies: Vec<Json> = app.relay.status().iter().map(all).collect();
    Ok(answer(StatusCode::OK, &Json::object().with("copies", copies)))
}

/// `NAME:verify` compares a copy with the record, key by key, at one position (`metrics:verify` the counters of documents
/// of the last hour, for principals of the installation's own tenant); `NAME:rebuild` makes it anew while the
/// old one is read, or, with a body `{"keys": [{"tenant"?, "kind", "id"}]}`, only these keys.
#[utoipa::path(post, path = "/api/v1/copies/{name}", tag = "copies", security(("token" = [])),
    params(("name" = String, Path, description = "NAME:verify or NAME:rebuild")),
    responses((status = 200, body = Object), (status = 403, body = shapes::Problem), (status = 404, body = shapes::Problem)))]
pub async fn act(State(app): State<App>, At(target): At<String>, mut call: Call) -> Answer {
    allow(&app, &call.access, Action::Operate).await?;
    let asked = body::optional(&mut call, if target.ends_with(":rebuild") { &["keys"] } else { &[] })?;
    let (name, action) = target.split_once(':').ok_or_else(unknown)?;
    let done = match action {
        "verify" if name == METRICS => {
            permitted(&app, &call, name, VERIFY, String::new()).await?;
            reconciled(&counters::reconcile(&app.ledger, &app.series, &call.access.tenant, WINDOW_S).await?)
        }
        _ if name == METRICS => {
            let what = "samples have no other source: metrics are verified, not rebuilt";
            return Err(Error::invalid("copy-action-unknown", what).into());
        }
        "verify" => {
            permitted(&app, &call, name, VERIFY, String::new()).await?;
            verified(&app.relay.verify(name).await?)
        }
        "rebuild" => match keys(&call, &asked)? {
            None => {
                permitted(&app, &call, name, REBUILD, String::new()).await?;
                verified(&app.relay.rebuild(name).await?)
            }
            Some(keys) => {
                permitted(&app, &call, name, REBUILD, format!(", {} keys", keys.len())).await?;
                repaired(name, &app.relay.repair(name, &keys).await?)
            }
        },
        _ => return Err(unknown().into()),
    };
    Ok(answer(StatusCode::OK, &done))
}

fn unknown() -> Error {
    let what = "behind the copy's name and a colon stands verify or rebuild";
    Error::invalid("copy-action-unknown", what)
}

/// A copy holds the keys of all tenants, and an answer names some: for the installation's own principals, on record.
async fn permitted(app: &App, call: &Call, name: &str, action: &str, detail: String) -> Result<()> {
    of_installation(app, &call.access, action).await?;
    if name != METRICS {
        app.relay.known(name)?;
    }
    act_of(app, &call.access, action, "ordered", format!("{name}{detail}")).await
}

fn keys(call: &Call, body: &Json) -> Result<Option<Vec<ResourceKey>>> {
    if call.body.is_empty() {
        return Ok(None);
    }
    let wrong = |rule: &str| wrong("keys", rule);
    let rule = "keys is a list of {tenant?, kind, id}";
    let listed = body.get("keys").and_then(Json::as_array).ok_or_else(|| wrong(rule))?;
    if listed.is_empty() || listed.len() > KEYS_MAX {
        return Err(wrong("keys has 1 to 1000 members; rebuild the whole copy for more"));
    }
    let key = |item: &Json| {
        body::only(item, &["tenant", "kind", "id"])?;
        let text = |name| item.get(name).and_then(Json::as_str).ok_or_else(|| wrong(rule));
        let tenant = match item.get("tenant") {
            None => call.access.tenant.clone(),
            Some(tenant) => Tenant::new(tenant.as_str().ok_or_else(|| wrong("tenant is the name of a tenant"))?)?,
        };
        ResourceKey::new(&tenant, text("kind")?.parse::<Kind>()?, text("id")?)
    };
    listed.iter().map(key).collect::<Result<_>>().map(Some)
}
