//! `serve`: the server alone, on stores that exist already. Initialises nothing, starts no PostgreSQL.

use super::Global;
use crate::{
    exit::{Failure, Outcome},
    output::{self, Report},
    running,
    settings::{Record, Settings},
    wiring::Stack,
};
use clap::Args;
use model::Error;
use serde_json::json;
use std::{net::SocketAddr, path::PathBuf, pin::pin};

/// Run the server alone on existing stores
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep --dir /srv/second serve --settings second.toml\n\n\
    The settings name stores.record = \"postgres://user@host/database\" (also a local record's socket) and the same \
    keystore as the first server. Two servers on one record: one leads, the other follows and takes over.")]
pub struct Arguments {
    /// Where to listen; port 0 takes any free one
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = super::values::listen)]
    listen: Option<SocketAddr>,
    /// The settings [default: DIR/nephkeep.toml]
    #[arg(long, env = "NEPHKEEP_SETTINGS", value_name = "FILE", hide_env_values = true)]
    settings: Option<PathBuf>,
}

pub async fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let layout = global.layout()?;
    let mut settings = Settings::load(&layout, arguments.settings.as_deref())?;
    settings.listen = arguments.listen.unwrap_or(settings.listen);
    if matches!(settings.record, Record::Local(_)) {
        let what = "serve starts no PostgreSQL; name an existing one in stores.record, or use `nephkeep up`";
        return Err(Failure::environment(Error::invalid("record-not-served", what)));
    }
    layout.create()?;
    let held = running::hold(&layout)?;
    let mut interrupted = pin!(super::interrupted());
    let stack = Stack::start(&layout, &settings, interrupted.as_mut()).await?;
    held.publish(stack.url()).map_err(|error| running::unwritable(&layout, error))?;
    let facts = vec![("url", stack.url().to_owned()), ("directory", layout.root().display().to_string())];
    Report::facts(facts, json!({ "url": stack.url(), "directory": layout.root() })).print(global.output)?;
    stack.run_until(interrupted).await?;
    output::note("stopped");
    drop(held);
    Ok(())
}
