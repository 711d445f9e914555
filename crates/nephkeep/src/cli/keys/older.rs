//! `keys recover --accept-older`: the way through when the newest generations of the keystore are lost for good. Refused
//! everywhere else, because an old keystore would bring erased keys back and hand ids out twice (RECORD 8); here both are
//! prevented, and what is lost is counted.

use super::report;
use crate::{
    exit::{Failure, Outcome},
    output::{self, Report},
    settings::Settings,
    wiring,
};
use keys::Keystore;
use ledger::{
    connection::Connector,
    keystore_mark::{self, Accepted},
};
use model::{Error, Result};

/// No server runs: the record is started for this alone.
pub async fn accept(settings: &Settings, keystore: &Keystore, generation: u64) -> Outcome<Report> {
    if keystore.generation() != generation {
        let what = "the keystore at hand has another generation than the one that you accept; nothing was changed in the \
                    record";
        let error = Error::refused("generation-unconfirmed", what).with("given", generation);
        return Err(error.with("found", keystore.generation()).into());
    }
    let (local, url) = wiring::record(&settings.record, settings).await.map_err(Failure::environment)?;
    let accepted = async { keystore_mark::accept_older(&Connector::new(&url)?, keystore).await };
    let accepted: Result<Accepted> = accepted.await;
    if let Some(local) = local {
        local.stop().await.map_err(Failure::environment)?;
    }
    let accepted = accepted.map_err(Failure::environment)?;
    if accepted.found >= accepted.demanded {
        output::note("the record demands no newer generation than this one; there was nothing to accept");
    } else {
        let Accepted { found, demanded, generation, subjects_lost, erased_again } = accepted;
        output::note(&format!(
            "generations {} to {demanded} are given up; generation {generation} follows them",
            found + 1
        ));
        output::note(&format!(
            "{subjects_lost} subjects had their key only there: what was stored of them reads as erased, and they have \
             fresh keys from now on"
        ));
        output::note(&format!("{erased_again} keys that were erased since generation {found} are destroyed again"));
    }
    report(&accepted)
}
