//! One client's way to the servers: a keep-alive connection to one of them, redirects to the leader followed.

use operations::drill::{
    wire::{Answer, Connection, Failed},
    work::{Request, Target},
};
use serde_json::Value;
use std::{io, net::SocketAddr, time::Duration};

/// A request that takes longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(3);
const REDIRECTS_MAX: usize = 3;

#[derive(Debug)]
pub struct Door {
    servers: Vec<SocketAddr>,
    token: String,
    /// The server this client prefers now.
    at: usize,
    open: Option<(SocketAddr, Connection)>,
}

/// A request's parts that the caller chooses.
#[derive(Debug, Clone, Copy)]
pub struct Call<'c> {
    pub method: &'c str,
    pub path: &'c str,
    pub idempotency_key: Option<&'c str>,
    pub body: &'c str,
}

/// What came back, if anything.
#[derive(Debug)]
pub enum Reply {
    /// Status and JSON body.
    Answered(u16, Value),
    /// No server was reached: nothing happened.
    NotSent,
    /// It may have happened.
    InDoubt,
}

impl Door {
    pub fn new(servers: Vec<SocketAddr>, token: String, at: usize) -> Self {
        Self { at: at % servers.len().max(1), servers, token, open: None }
    }

    /// Tries another server next time, if there is one.
    pub fn turn(&mut self) {
        self.at = (self.at + 1) % self.servers.len().max(1);
        self.open = None;
    }

    /// Asks the preferred server, then whom it names as the leader.
    pub async fn ask(&mut self, call: Call<'_>) -> Reply {
        let Some(mut server) = self.servers.get(self.at).copied() else { return Reply::NotSent };
        for _ in 0..REDIRECTS_MAX {
            let answer = match self.ask_one(server, call).await {
                Ok(answer) => answer,
                Err(Failed::NotSent(_)) => return Reply::NotSent,
                Err(Failed::InDoubt(_)) => return Reply::InDoubt,
            };
            match leader(&answer) {
                Some(leader) if leader != server => server = leader,
                _ => {
                    let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
                    return Reply::Answered(answer.status, body);
                }
            }
        }
        // They send us in a circle: a follower does nothing.
        Reply::NotSent
    }

    async fn ask_one(&mut self, server: SocketAddr, call: Call<'_>) -> Result<Answer, Failed> {
        let (_, mut connection) = match self.open.take().filter(|(to, _)| *to == server) {
            Some(open) => open,
            None => (server, Connection::open(server, PATIENCE).await.map_err(Failed::NotSent)?),
        };
        let answer = connection.ask(&self.request(server, call)).await?;
        if !answer.closes {
            self.open = Some((server, connection));
        }
        Ok(answer)
    }

    /// Sends and hangs up at once: whether it happens is anybody's guess.
    pub async fn leave(&mut self, call: Call<'_>) -> io::Result<()> {
        let Some(server) = self.servers.get(self.at).copied() else { return Ok(()) };
        let connection = Connection::open(server, PATIENCE).await?;
        connection.send_and_leave(&self.request(server, call)).await
    }

    fn request(&self, server: SocketAddr, call: Call<'_>) -> Vec<u8> {
        let Call { method, path, idempotency_key, body } = call;
        let target = Target { server, token: self.token.clone() };
        Request { method, path, if_match: None, idempotency_key, body }.bytes(&target)
    }
}

/// The address in a 307.
fn leader(answer: &Answer) -> Option<SocketAddr> {
    if answer.status != 307 {
        return None;
    }
    let rest = answer.header("location")?.strip_prefix("http://")?;
    rest.split('/').next()?.parse().ok()
}
