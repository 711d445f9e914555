//! The first principal: an admin whose credential file lies in the directory, so that the command line needs no set-up.
//!
//! The record learns the token's hash first and the file is written second: when that is interrupted, or the file is
//! lost, the next start gives the admin a new token. Whoever owns the directory may do that anyway, also by order
//! (`nephkeep access recover`); it is audited.

use crate::{
    credential::{self, Credential},
    exit::{Failure, Outcome},
    layout::Layout,
    recovery,
};
use ledger::Leadership;
use server::{
    App, Server,
    identity::principals::{self, Issued},
};

pub async fn admin(layout: &Layout, server: &Server) -> Outcome {
    let first = server.bootstrap().await.map_err(Failure::environment)?;
    match first {
        Some(issued) => written(layout, &issued)?,
        None if layout.credential().exists() && !layout.recovery_order().exists() => return Ok(()),
        None if !matches!(server.app().ledger.leadership(), Leadership::Leader { .. }) => {
            tracing::info!("this server follows: use the credential of the leader's directory");
        }
        None => recovered(layout, server.app()).await?,
    }
    recovery::settle(layout);
    Ok(())
}

/// A new token for the installation's own admin, in the file.
pub async fn recovered(layout: &Layout, app: &App) -> Outcome {
    tracing::warn!("writing an admin credential with a new token");
    let issued = principals::recover(app).await.map_err(Failure::environment)?;
    written(layout, &issued)
}

fn written(layout: &Layout, issued: &Issued) -> Outcome {
    let (principal, tenant) = (issued.principal.name.clone(), issued.principal.tenant.as_str().to_owned());
    let token = issued.token.reveal().to_owned();
    credential::write(&layout.credential(), &Credential { principal, tenant, token })
}
