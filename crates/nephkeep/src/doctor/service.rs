//! What runs: the server and what it says of itself, the port, processes left behind.

use super::Finding;
use crate::{
    client::{Call, Client},
    layout::Layout,
    routes, running,
    settings::Settings,
    wiring,
};
use std::net::TcpListener;

pub async fn examine(layout: &Layout, settings: &Settings) -> Vec<Finding> {
    match running::find(layout) {
        Some(running) => vec![
            Finding::ok("server", format!("pid {} at {}", running.pid, running.url)),
            readiness(&running.url).await,
        ],
        None => vec![stopped(layout), port(settings), left_behind(layout)],
    }
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
