//! The metrics tier of an installation: opened beside the record, never a reason not to serve the record.

use crate::{layout, settings::Settings};
use model::{Error, Result};
use server::identity::principals::HOME_TENANT;
use std::{fs, net::SocketAddr, path::Path, sync::Arc};
use stores::metrics::{Local, LocalOptions, Options, Place, Scrape, Tier};

/// Begins to start its engines and does not wait for them; what keeps it from being used stands in its status.
pub async fn tier(settings: &Settings, listen: SocketAddr) -> Arc<Tier> {
    let login = match settings.metrics_token_file.as_deref().map(token).transpose() {
        Ok(login) => login,
        Err(error) => return Arc::new(Tier::nowhere(error.code(), error.to_string())),
    };
    let every_s = settings.scrape_every_s;
    let scrape = (every_s > 0).then(|| Scrape { address: listen, tenant: HOME_TENANT.to_owned(), every_s });
    let local = LocalOptions { program: settings.prometheus.clone(), scrape };
    let place = settings.metrics.clone();
    // It looks for the program and runs it once to learn its version.
    let opened = tokio::task::spawn_blocking(move || Tier::open(&place, Options { local, login })).await;
    Arc::new(opened.unwrap_or_else(|_| Tier::nowhere("bug", "opening the metrics tier ended badly".to_owned())))
}

fn token(path: &Path) -> Result<String> {
    if !layout::is_private(path).unwrap_or(true) {
        let what = "others may read the file with the metrics token; close it with chmod 600 and change the token";
        return Err(Error::refused("credential-exposed", what).with("path", path.display()));
    }
    let what = "the metrics token cannot be read";
    let text = fs::read_to_string(path).map_err(|e| layout::io_error("credential-unreadable", what, path, e))?;
    Ok(text.trim().to_owned())
}

pub async fn stop(tier: &Tier) {
    if let Err(error) = tier.stop().await {
        tracing::error!(%error, "the metrics engines did not stop as they should");
    }
}

#[must_use]
pub fn left_behind(settings: &Settings) -> Vec<i32> {
    match &settings.metrics {
        Place::Local(directory) => Local::left_behind(directory),
        Place::Remote { .. } | Place::None => Vec::new(),
    }
}

pub async fn end_left_behind(settings: &Settings) -> Result<()> {
    match &settings.metrics {
        Place::Local(directory) => Local::end_left_behind(directory).await,
        Place::Remote { .. } | Place::None => Ok(()),
    }
}
