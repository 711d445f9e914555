//! `up`: initialises the directory if it is empty, starts everything, says where it is and what to type next.

use super::Global;
use crate::{
    background,
    exit::{Failure, Outcome},
    initialise,
    layout::Layout,
    output::{self, Report},
    running,
    settings::Settings,
    wiring::{self, Stack},
};
use clap::Args;
use serde_json::json;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
};

/// Initialise the directory if it is empty, and start everything
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  nephkeep up                                    in the default directory on 127.0.0.1:7210\n  \
    nephkeep up --detach                           in the background; returns when ready\n  \
    nephkeep up /srv/nephkeep --listen 127.0.0.1:0 another directory, any free port\n\n\
    The first start writes recovery-kit.txt. Move it away from this machine: with it and one keystore directory and \
    slot everything can be read; without it, losing the host key loses everything."
)]
pub struct Arguments {
    /// The directory [default: as --dir]
    directory: Option<PathBuf>,
    /// Where to listen, for this start only; port 0 takes any free one [default: as in the settings, 127.0.0.1:7210]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = super::values::listen)]
    listen: Option<SocketAddr>,
    /// Run in the background and return when ready
    #[arg(long, short)]
    detach: bool,
    /// Other settings than DIR/nephkeep.toml
    #[arg(long, env = "NEPHKEEP_SETTINGS", value_name = "FILE", hide_env_values = true)]
    settings: Option<PathBuf>,
    /// Say what would be made and started
    #[arg(long)]
    dry_run: bool,
    /// Set by `--detach` for the process it starts
    #[arg(long, hide = true)]
    background: bool,
}

impl Arguments {
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }
}

pub async fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let layout = global.layout_or(arguments.directory.as_deref())?;
    if arguments.dry_run {
        return plan(global, &layout, arguments);
    }
    if arguments.settings.is_none() {
        initialise::refuse_foreign(&layout)?;
    }
    layout.create()?;
    // Until a start has succeeded nobody was told of the kit.
    let first = !layout.has_started();
    if arguments.detach {
        let started = background::start(&layout, &own_arguments(&layout, arguments)).await?;
        if first {
            initialise::tell(&layout);
        }
        return ready(global, &layout, &started, true);
    }
    if arguments.background {
        background::leave_session();
    }
    let held = running::hold(&layout)?;
    if !layout.is_initialised() && arguments.settings.is_none() {
        wiring::free(listen(&layout, arguments)?).await.map_err(Failure::environment)?;
    }
    initialise::if_empty(&layout, arguments.settings.as_deref())?;
    let mut settings = Settings::load(&layout, arguments.settings.as_deref())?;
    settings.listen = arguments.listen.unwrap_or(settings.listen);
    let mut interrupted = pin!(super::interrupted());
    let stack = Stack::start(&layout, &settings, interrupted.as_mut()).await?;
    held.publish(stack.url()).map_err(|error| running::unwritable(&layout, error))?;
    if let Some(running) = running::find(&layout).filter(|_| !arguments.background) {
        if first {
            initialise::tell(&layout);
        }
        ready(global, &layout, &running, false)?;
    }
    tracing::info!(url = stack.url(), "serving");
    stack.run_until(interrupted).await?;
    drop(held);
    output::note("stopped");
    Ok(())
}

fn own_arguments(layout: &Layout, arguments: &Arguments) -> Vec<std::ffi::OsString> {
    let mut own = vec!["up".into(), layout.root().into(), "--background".into()];
    if let Some(listen) = arguments.listen {
        own.extend(["--listen".into(), listen.to_string().into()]);
    }
    if let Some(settings) = &arguments.settings {
        own.extend(["--settings".into(), settings.into()]);
    }
    own
}

fn ready(global: &Global, layout: &Layout, running: &running::Running, detached: bool) -> Outcome {
    let directory = layout.root().display().to_string();
    let dir = if layout.is_default() { String::new() } else { format!(" --dir {directory}") };
    let mut facts = vec![("url", running.url.clone()), ("directory", directory)];
    let mut value = json!({ "url": running.url, "directory": layout.root(), "pid": running.pid });
    facts.push(("pid", running.pid.to_string()));
    if detached {
        facts.push(("log", layout.log().display().to_string()));
        value["log"] = json!(layout.log());
    }
    facts.push(("next", format!("nephkeep{dir} intent import FILE")));
    facts.push(("stop", format!("{}nephkeep{dir} down", if detached { "" } else { "Ctrl-C, or " })));
    Report::facts(facts, value).print(global.output)
}

/// Where it is to listen; without a settings file, as in the one that is written into an empty directory.
fn listen(layout: &Layout, arguments: &Arguments) -> Outcome<SocketAddr> {
    if let Some(listen) = arguments.listen {
        return Ok(listen);
    }
    let settings = if layout.is_initialised() || arguments.settings.is_some() {
        Settings::load(layout, arguments.settings.as_deref())?
    } else {
        Settings::parse_default(layout.root())?
    };
    Ok(settings.listen)
}

fn plan(global: &Global, layout: &Layout, arguments: &Arguments) -> Outcome {
    let initialised = layout.is_initialised();
    let listen = listen(layout, arguments)?;
    output::note("dry run: nothing was made or started");
    let facts = vec![
        ("directory", layout.root().display().to_string()),
        ("would", if initialised { "start" } else { "initialise and start" }.to_owned()),
        ("listen", listen.to_string()),
    ];
    let value = json!({ "directory": layout.root(), "initialise": !initialised, "listen": listen });
    Report::facts(facts, value).print(global.output)
}
