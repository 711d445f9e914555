//! The first principal: an admin whose credential file lies in the directory, so that the command line needs no set-up.
//!
//! The record learns the token's hash first and the file is written second: when that is interrupted, or the file is
//! lost, the next start gives the admin a new token. Whoever owns the directory may do that anyway; it is audited.

use crate::{
    credential::{self, Credential},
    exit::Failure,
    layout::Layout,
    output,
};
use ledger::{Group, Leadership, Ledger, Op, Write};
use model::{Access, Error, Kind, ResourceKey, Result, Role, Tenant, principal::Principal};
use server::identity::token::Token;

const ADMIN: &str = "admin";
const TENANT: &str = "default";

pub async fn admin(layout: &Layout, ledger: &Ledger) -> Result<()> {
    if layout.credential().exists() {
        return Ok(());
    }
    if !matches!(ledger.leadership(), Leadership::Leader { .. }) {
        output::note("this server follows; the credential of the leader's directory is the one to use");
        return Ok(());
    }
    let tenant = Tenant::new(TENANT)?;
    let token = Token::generate()?;
    let roles = [Role::Admin, Role::Operator, Role::Writer, Role::Reader, Role::Auditor];
    let hash = hex::encode(token.hash());
    let principal = Principal::new(ADMIN, &tenant, &roles, &hash, jiff::Timestamp::now())?;
    let key = ResourceKey::new(&tenant, Kind::Principal, ADMIN)?;
    let write = Write { key, op: Op::Put, document: Some(principal.prepared()) };
    let access = Access::new("nephkeep-up", &[Role::Admin], &tenant, "first-admin");
    ledger.write(&access, Group { writes: vec![write], ..Group::default() }).await?;
    let credential = Credential { principal: ADMIN.into(), tenant: TENANT.into(), token: token.reveal().to_owned() };
    credential::write(&layout.credential(), &credential).map_err(plain)
}

fn plain(failure: Failure) -> Error {
    match failure {
        Failure::Error { error, .. } => error,
        Failure::Reported(_) => Error::bug("a credential file was reported about instead of written"),
    }
}
