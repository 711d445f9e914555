//! What runs: the server and what it says of itself, the port, processes left behind.

use super::Finding;
use crate::{
    client::{Call, Client},
    credential,
    layout::Layout,
    routes, running,
    settings::Settings,
    wiring,
};
use std::net::TcpListener;

pub async fn examine(layout: &Layout, settings: &Settings) -> Vec<Finding> {
    let found = running(layout).await;
    if found.is_empty() { vec![stopped(layout), port(settings), left_behind(layout)] } else { found }
}

/// Of a server that runs; nothing where none does.
pub async fn running(layout: &Layout) -> Vec<Finding> {
    let Some(running) = running::find(layout) else { return Vec::new() };
    let server = Finding::ok("server", format!("pid {} at {}", running.pid, running.url));
    let mut found = vec![server, readiness(&running.url).await];
    found.extend(credential(layout, &running.url).await);
    found
}

async fn readiness(url: &str) -> Finding {
    let answer = match Client::new(url.to_owned(), None, None) {
        Ok(client) => client.send(Call::get(routes::READY)).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(_) => Finding::ok("readiness", "it answers and is ready"),
        Err(error) => Finding::error("readiness", &error),
    }
}

/// Whether the server knows the token of the directory's own credential; a file that cannot be read is told of elsewhere.
async fn credential(layout: &Layout, url: &str) -> Option<Finding> {
    const CHECK: &str = "credential";
    let token = credential::read(&layout.credential()).ok()?.token;
    let answer = match Client::new(url.to_owned(), Some(token), None) {
        Ok(client) => client.send(Call::get(routes::STATUS)).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(_) => Some(Finding::ok(CHECK, "the server knows its token")),
        Err(error) if error.code() == "credential-unknown" => {
            Some(Finding::fail(CHECK, "the server does not know its token", "nephkeep access recover"))
        }
        Err(error) => Some(Finding::error(CHECK, &error)),
    }
}

fn stopped(layout: &Layout) -> Finding {
    if running::is_held(layout) {
        return Finding::warn("server", "starting or stopping", "look again in a moment");
    }
    Finding::warn("server", "not running", "nephkeep up")
}

fn port(settings: &Settings) -> Finding {
    match TcpListener::bind(settings.listen) {
        Ok(_) => Finding::ok("port", format!("{} is free", settings.listen)),
        Err(error) => Finding::fail("port", format!("{}: {error}", settings.listen), "nephkeep explain port-taken"),
    }
}

fn left_behind(layout: &Layout) -> Finding {
    let left = wiring::left_behind(layout);
    if left.is_empty() {
        return Finding::ok("left behind", "no processes");
    }
    Finding::warn("left behind", format!("{} processes without their server", left.len()), "nephkeep down")
}
