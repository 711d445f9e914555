//! What runs: the server and what it says of itself, the port, processes left behind.

use super::Finding;
use crate::{
    client::{Answer, Call, Client},
    credential,
    exit::Failure,
    layout::Layout,
    routes,
    running::{self, Running},
    settings::Settings,
    wiring,
};
use model::Result;
use std::net::TcpListener;

/// A server that runs, and its status as told to the directory's own credential.
pub struct Asked {
    server: Running,
    pub status: Status,
}

pub enum Status {
    /// The credential's file cannot be read, so nothing was asked.
    Unasked(Failure),
    Told(Result<Answer>),
}

/// Asks once: a token that the server does not know is a failed login, which is audited and slows the next one down.
pub async fn ask(layout: &Layout) -> Option<Asked> {
    let server = running::find(layout)?;
    let status = match credential::read(&layout.credential()) {
        Ok(credential) => Status::Told(told(&server.url, credential.token).await),
        Err(failure) => Status::Unasked(failure),
    };
    Some(Asked { server, status })
}

async fn told(url: &str, token: String) -> Result<Answer> {
    Client::new(url.to_owned(), Some(token), None)?.send(Call::get(routes::STATUS)).await
}

pub async fn running(asked: &Asked) -> Vec<Finding> {
    let Running { pid, url, .. } = &asked.server;
    let mut found = vec![Finding::ok("server", format!("pid {pid} at {url}")), readiness(url).await];
    found.extend(credential(&asked.status));
    found
}

pub fn stopped(layout: &Layout, settings: &Settings) -> Vec<Finding> {
    vec![idle(layout), port(settings), left_behind(layout)]
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
fn credential(status: &Status) -> Option<Finding> {
    const CHECK: &str = "credential";
    match status {
        Status::Unasked(_) => None,
        Status::Told(Ok(_)) => Some(Finding::ok(CHECK, "the server knows its token")),
        Status::Told(Err(error)) if error.code() == "credential-unknown" => {
            Some(Finding::fail(CHECK, "the server does not know its token", "nephkeep access recover"))
        }
        Status::Told(Err(error)) => Some(Finding::error(CHECK, error)),
    }
}

fn idle(layout: &Layout) -> Finding {
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
