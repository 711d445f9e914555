//! etcd, where it is installed: put and get of the same documents through its JSON gateway, one node, same disk.

use crate::{
    machine::{Sampler, Used},
    provenance,
    stand::failed,
};
use model::{Error, Result};
use operations::drill::{wire::Connection, work};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Etcd {
    server: Child,
    pub version: Option<String>,
    address: SocketAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    Put,
    Get,
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join("etcd")).find(|program| program.is_file())
}

/// Base64 as the gateway wants keys and values.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |word, (at, byte)| word | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

impl Etcd {
    /// None where it is not installed.
    pub async fn start(place: &Path) -> Result<Option<Self>> {
        let Some(program) = program() else { return Ok(None) };
        let version = provenance::version(&program);
        let (client, peer) = ("127.0.0.1:21379", "127.0.0.1:21380");
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(place.join("etcd")).args(["--name", "bench"]);
        command.args(["--listen-client-urls", &format!("http://{client}")]);
        command.args(["--advertise-client-urls", &format!("http://{client}")]);
        command.args(["--listen-peer-urls", &format!("http://{peer}")]);
        command.args(["--initial-advertise-peer-urls", &format!("http://{peer}")]);
        command.args(["--initial-cluster", &format!("bench=http://{peer}"), "--log-level", "error"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command.spawn().map_err(|error| failed("etcd does not start").caused_by(error))?;
        let address = client.parse().map_err(|_| Error::bug("an address that is none"))?;
        let etcd = Self { server, version, address };
        let begun = Instant::now();
        while etcd.once(Ask::Put, 0).await.is_err() {
            if begun.elapsed() > PATIENCE {
                return Err(failed("etcd does not answer"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(Some(etcd))
    }

    async fn once(&self, ask: Ask, number: u64) -> Result<()> {
        let mut connection =
            Connection::open(self.address, PATIENCE).await.map_err(|error| failed("etcd").caused_by(error))?;
        perform(&mut connection, ask, number).await
    }

    /// Closed loop over this many connections; per second.
    pub async fn run(&self, ask: Ask, connections: usize, seconds: f64) -> Result<(f64, Used)> {
        let sampler = Sampler::begin();
        let (begun, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            let (next, address) = (next.clone(), self.address);
            tasks.spawn(async move {
                let opened = Connection::open(address, PATIENCE).await;
                let mut connection = opened.map_err(|error| failed("etcd").caused_by(error))?;
                let mut done = 0u64;
                while begun.elapsed().as_secs_f64() < seconds {
                    perform(&mut connection, ask, next.fetch_add(1, Ordering::Relaxed)).await?;
                    done += 1;
                }
                Ok::<u64, Error>(done)
            });
        }
        let mut done = 0;
        while let Some(task) = tasks.join_next().await {
            done += task.map_err(|error| Error::bug("a client of etcd ended").caused_by(error))??;
        }
        let pid = i32::try_from(self.server.id()).unwrap_or(0);
        Ok((done as f64 / begun.elapsed().as_secs_f64(), sampler.end(Some(pid), &[])))
    }
}

async fn perform(connection: &mut Connection, ask: Ask, number: u64) -> Result<()> {
    let key = base64(format!("intent-{}", number % 10_000).as_bytes());
    let (path, body) = match ask {
        Ask::Put => {
            let value = base64(work::intent(5, number).as_bytes());
            ("/v3/kv/put", format!(r#"{{"key":"{key}","value":"{value}"}}"#))
        }
        Ask::Get => ("/v3/kv/range", format!(r#"{{"key":"{key}"}}"#)),
    };
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = connection.ask(request.as_bytes()).await.map_err(|error| failed(format!("etcd: {error:?}")))?;
    if answer.status == 200 { Ok(()) } else { Err(failed("etcd refuses").with("status", answer.status)) }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.server.kill().and_then(|()| self.server.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_usual_one() {
        for (text, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(text.as_bytes()), coded);
        }
    }
}
