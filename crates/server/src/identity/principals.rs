//! Principals in the record: loaded, created, rotated, revoked; the first admin, and the last.
//!
//! A revocation is durable in the transparency log before the record (RECORD 11): a restore to an earlier moment
//! replays it, so a revoked token does not come back.

use super::{Identity, act, allow, token::Token};
use crate::{clock, state::App};
use ledger::{Group, Op, Precondition, Receipt, Write};
use model::{Access, Action, Error, Json, Kind, Position, Principal, ResourceKey, Result, Role, Tenant, Version, json};

/// The tenant of the installation's own admins; only they make principals for other tenants.
pub const HOME_TENANT: &str = "default";
pub const FIRST_ADMIN: &str = "local-admin";

/// A principal with its token, shown once.
#[derive(Debug)]
pub struct Issued {
    pub principal: Principal,
    pub token: Token,
    pub version: Version,
    pub position: Position,
}

/// Fills the directory from the record; returns where to follow the log from.
pub async fn load(app: &App) -> Result<Position> {
    let (all, at) = app.ledger.everywhere(Kind::Principal).await?;
    let mut identities = Vec::with_capacity(all.len());
    for resource in &all {
        identities.extend(Identity::read(resource)?);
    }
    app.authenticator.directory().replace(&identities, at);
    Ok(at)
}

/// The first admin of an installation that has no principal yet.
pub async fn bootstrap(app: &App) -> Result<Option<Issued>> {
    if !app.authenticator.directory().is_empty() {
        return Ok(None);
    }
    let tenant = Tenant::new(HOME_TENANT)?;
    let system = Access::new("nephkeep", &[Role::Admin], &tenant, "bootstrap");
    match create(app, &system, &tenant, FIRST_ADMIN, &[Role::Admin]).await {
        Ok(issued) => Ok(Some(issued)),
        // Another server of this record was faster.
        Err(error) if error.code() == "already-exists" => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same caller, acting for a tenant it may act for.
pub fn acting(access: &Access, tenant: &Tenant) -> Result<Access> {
    let acting = Access { tenant: tenant.clone(), ..access.clone() };
    if access.tenant == *tenant || (access.tenant.as_str() == HOME_TENANT && access.has(Role::Admin)) {
        return Ok(acting);
    }
    let why = "principals of another tenant are made by an admin of the installation's own tenant";
    Err(Error::refused("tenant-denied", why).with("field", "tenant"))
}

pub async fn create(app: &App, access: &Access, tenant: &Tenant, name: &str, roles: &[Role]) -> Result<Issued> {
    let access = acting(access, tenant)?;
    let token = Token::generate()?;
    let principal = Principal::new(name, tenant, roles, &hex::encode(token.hash()), clock::wall())?;
    let key = ResourceKey::new(tenant, Kind::Principal, name)?;
    let written = write(app, &access, &key, Op::Create, Some(&principal)).await?;
    issued(app, principal, token, &key, &written)
}

fn issued(app: &App, principal: Principal, token: Token, key: &ResourceKey, written: &Receipt) -> Result<Issued> {
    let version = written.writes.first().map_or(0, |written| written.version);
    let position = written.position;
    app.authenticator.directory().learn(&Identity::of(&principal, key, position)?);
    Ok(Issued { principal, token, version, position })
}

/// A new token; the old one ends at once.
pub async fn rotate(app: &App, access: &Access, tenant: &Tenant, name: &str) -> Result<Issued> {
    let access = acting(access, tenant)?;
    let key = ResourceKey::new(tenant, Kind::Principal, name)?;
    let (version, mut principal) = read(app, &access, &key).await?;
    let token = Token::generate()?;
    principal.token_hash = hex::encode(token.hash());
    ordered(app, &access, &key, "token-rotate").await?;
    let written = write(app, &access, &key, Op::Replace { expected: version }, Some(&principal)).await?;
    issued(app, principal, token, &key, &written)
}

/// Ends a principal for good, unless nobody were left who could administer the installation.
pub async fn revoke(app: &App, access: &Access, tenant: &Tenant, name: &str) -> Result<Position> {
    let access = acting(access, tenant)?;
    allow(app, &access, Action::Administer).await?;
    let key = ResourceKey::new(tenant, Kind::Principal, name)?;
    // Two admins who revoke one another at the same time: one of them stays.
    let _lane = app.lane(&ResourceKey::new(tenant, Kind::Principal, FIRST_ADMIN)?).await;
    read(app, &access, &key).await?;
    let preconditions = remaining_admin(app, &key)?.map(|other| (other, Precondition::Present)).into_iter().collect();
    ordered(app, &access, &key, "principal-revoke").await?;
    let writes = vec![Write { key: key.clone(), op: Op::Delete { expected: None }, document: None }];
    let receipt = app.ledger.write(&access, Group { writes, preconditions, ..Group::default() }).await?;
    app.authenticator.directory().learn(&Identity::ended(&key, receipt.position));
    Ok(receipt.position)
}

pub async fn read(app: &App, access: &Access, key: &ResourceKey) -> Result<(Version, Principal)> {
    let found = app.ledger.read(access, key).await?;
    let missing = || Error::not_found("not-found", "there is no such principal; list them").with("kind", key.kind);
    let resource = found.ok_or_else(missing)?;
    let ledger::Content::Clear(document) = &resource.document else { return Err(missing()) };
    Ok((resource.version, Principal::read(&json::stored(document)?)?))
}

/// Another admin of the installation, where this is one; it must still be there when this one is gone.
fn remaining_admin(app: &App, key: &ResourceKey) -> Result<Option<ResourceKey>> {
    let admins = app.authenticator.directory().admins(&key.tenant);
    if key.tenant.as_str() != HOME_TENANT || !admins.iter().any(|name| **name == *key.id) {
        return Ok(None);
    }
    let Some(other) = admins.iter().find(|name| ***name != *key.id) else {
        let why = "this is the last admin of the installation: make another one first, or give this one a new token";
        return Err(Error::conflict("last-admin", why).with("id", &key.id));
    };
    ResourceKey::new(&key.tenant, Kind::Principal, other).map(Some)
}

/// A new token for the installation's first admin, who is made again where it is gone or is no admin any more. For
/// whoever owns the server's directory: the way back in when every other token is lost.
pub async fn recover(app: &App) -> Result<Issued> {
    let tenant = Tenant::new(HOME_TENANT)?;
    let access = Access::new("nephkeep", &[Role::Admin], &tenant, "recovery");
    let key = ResourceKey::new(&tenant, Kind::Principal, FIRST_ADMIN)?;
    let token = Token::generate()?;
    let principal = Principal::new(FIRST_ADMIN, &tenant, &[Role::Admin], &hex::encode(token.hash()), clock::wall())?;
    let op = match app.ledger.read(&access, &key).await? {
        Some(there) => Op::Replace { expected: there.version },
        None => Op::Create,
    };
    ordered(app, &access, &key, "admin-recover").await?;
    let written = write(app, &access, &key, op, Some(&principal)).await?;
    issued(app, principal, token, &key, &written)
}

async fn ordered(app: &App, access: &Access, key: &ResourceKey, action: &str) -> Result<()> {
    allow(app, access, Action::Administer).await?;
    act(app, access, action, "ordered", key.id.to_string()).await
}

async fn write(
    app: &App,
    access: &Access,
    key: &ResourceKey,
    op: Op,
    principal: Option<&Principal>,
) -> Result<Receipt> {
    let writes = vec![Write { key: key.clone(), op, document: principal.map(Principal::prepared) }];
    app.ledger.write(access, Group { writes, ..Group::default() }).await
}

/// What may be shown of a new principal, with its token this once.
#[must_use]
pub fn shown(issued: &Issued) -> Json {
    issued.principal.shown().with("token", issued.token.reveal())
}
