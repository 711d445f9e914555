//! The first principal: an admin whose credential file lies in the directory, so that the command line needs no set-up.
//!
//! The record learns the token's hash first and the file is written second: when that is interrupted, or the file is
//! lost, the next start gives the admin a new token. Whoever owns the directory may do that anyway; it is audited.

use crate::{
    credential::{self, Credential},
    exit::{Failure, Outcome},
    layout::Layout,
};
use ledger::Leadership;
use model::{Access, ErrorKind, Result, Role, Tenant};
use server::{
    App, Server,
    identity::principals::{self, FIRST_ADMIN, HOME_TENANT, Issued},
};

pub async fn admin(layout: &Layout, server: &Server) -> Outcome {
    let first = server.bootstrap().await.map_err(Failure::environment)?;
    let issued = match first {
        Some(issued) => issued,
        None if layout.credential().exists() => return Ok(()),
        None if !matches!(server.app().ledger.leadership(), Leadership::Leader { .. }) => {
            tracing::info!("this server follows: use the credential of the leader's directory");
            return Ok(());
        }
        None => again(server.app()).await.map_err(Failure::environment)?,
    };
    let principal = issued.principal;
    let token = issued.token.reveal().to_owned();
    let tenant = principal.tenant.as_str().to_owned();
    credential::write(&layout.credential(), &Credential { principal: principal.name, tenant, token })
}

/// The file is gone: a new token, or a new admin where the first one was revoked.
async fn again(app: &App) -> Result<Issued> {
    tracing::warn!("the admin credential file is gone; writing one with a new token");
    let tenant = Tenant::new(HOME_TENANT)?;
    let access = Access::new("nephkeep", &[Role::Admin], &tenant, "bootstrap");
    match principals::rotate(app, &access, &tenant, FIRST_ADMIN).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            principals::create(app, &access, &tenant, FIRST_ADMIN, &[Role::Admin]).await
        }
        issued => issued,
    }
}
