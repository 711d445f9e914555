//! What is written to: the same program alone, and an installation with its own two.

use super::sender::{Message, Sender};
use crate::{
    home::Home,
    stand::{connect, failed},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use model::Result;
use operations::drill::{site::Site, wire::Connection};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use stores::metrics::{Local, Program};
use tokio::time::{Instant, sleep};

const READY_LIMIT: Duration = Duration::from_secs(60);
/// Of an engine whose blocks are all written and merged.
const REST: Duration = Duration::from_secs(3);
const SETTLE_LIMIT: Duration = Duration::from_secs(900);
const POLL: Duration = Duration::from_millis(50);
/// For an answer: the long queries take their time.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// One Prometheus with the flags of ours, without a password.
pub struct Alone {
    child: Child,
    address: SocketAddr,
}

impl Alone {
    pub fn start(place: &Path, program: &Program) -> Result<Self> {
        let wrong = |error: std::io::Error| failed("Prometheus alone does not start").caused_by(error);
        let directory = place.join("alone");
        fs::create_dir_all(&directory).map_err(wrong)?;
        let config = json!({ "storage": { "tsdb": { "out_of_order_time_window": "1h" } } });
        fs::write(directory.join("prometheus.yml"), format!("{config}\n")).map_err(wrong)?;
        let address = (20_500..21_000_u16).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let address = address.into_iter().find(|address| TcpListener::bind(address).is_ok());
        let address = address.ok_or_else(|| failed("no port is free for Prometheus alone"))?;
        let mut command = Command::new(&program.path);
        command.current_dir(&directory).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.args([
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--web.enable-remote-write-receiver",
        ]);
        command.args(["--enable-feature=exemplar-storage,native-histograms", "--log.level=warn"]);
        command.args(["--storage.tsdb.retention.time=731d", &format!("--web.listen-address={address}")]);
        Ok(Self { child: command.spawn().map_err(wrong)?, address })
    }

    pub async fn answers(&self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < READY_LIMIT {
            if let Ok(mut connection) = Connection::open(self.address, Duration::from_secs(2)).await
                && let Ok(answer) = connection.ask(b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\n\r\n").await
                && answer.status == 200
            {
                return Ok(());
            }
            sleep(POLL).await;
        }
        Err(failed("Prometheus alone is not ready in time"))
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub fn sender(&self, message: Message) -> Sender {
        Sender { server: self.address, path: "/api/v1/write", authorization: None, message }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // Gone already, when it cannot be killed.
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// An installation whose own page is not kept.
pub struct Door {
    /// Dropped first, as in a stand.
    _home: Home,
    site: Site,
    metrics: PathBuf,
}

impl Door {
    pub async fn start(place: &Path) -> Result<Self> {
        let home = Home::make(place, "bench")?;
        let variables = [("NEPHKEEP_METRICS", "prometheus+local:metrics"), ("NEPHKEEP_METRICS_SCRAPE_SECONDS", "0")];
        let mut site = home.site(&variables);
        let metrics = site.layout.root.join("metrics");
        site.start().await?;
        let door = Self { _home: home, site, metrics };
        let begun = Instant::now();
        while !door.is_ready().await {
            if begun.elapsed() > READY_LIMIT {
                return Err(failed("the metrics engines are not ready in time"));
            }
            sleep(POLL).await;
        }
        Ok(door)
    }

    async fn is_ready(&self) -> bool {
        self.asked("/prometheus/api/v1/query?query=nephkeep_record_epoch%20or%20up").await.is_ok()
    }

    /// A question to the door.
    pub async fn asked(&self, path: &str) -> Result<Vec<u8>> {
        let mut connection = self.connection().await?;
        asked(&mut connection, &self.head(path)?).await
    }

    pub async fn connection(&self) -> Result<Connection> {
        connect(self.site.target()?.server, PATIENCE).await
    }

    pub fn head(&self, path: &str) -> Result<String> {
        let target = self.site.target()?;
        Ok(format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n", target.server, target.token))
    }

    pub fn sender(&self, message: Message) -> Result<Sender> {
        let target = self.site.target()?;
        let authorization = Some(format!("Bearer {}", target.token));
        Ok(Sender { server: target.server, path: "/prometheus/api/v1/write", authorization, message })
    }

    pub fn pid(&self) -> Option<i32> {
        self.site.pid()
    }

    pub fn engines(&self) -> Vec<i32> {
        Local::left_behind(&self.metrics)
    }

    pub fn data(&self) -> PathBuf {
        self.metrics.join("governed/data")
    }

    /// The governed engine itself: where it listens, and what it takes for a login.
    pub fn engine(&self) -> Result<(SocketAddr, String)> {
        let password = fs::read_to_string(self.metrics.join("password"));
        let password = password.map_err(|error| failed("the engines have no password").caused_by(error))?;
        let address = self.engines().into_iter().find_map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let governed = line.contains("/governed/");
            let address = line.split('\0').find_map(|flag| flag.strip_prefix("--web.listen-address="))?.parse().ok();
            address.filter(|_| governed)
        });
        let address = address.ok_or_else(|| failed("the governed engine is not found"))?;
        Ok((address, format!("Basic {}", STANDARD.encode(format!("nephkeep:{password}")))))
    }

    pub async fn stop(&mut self) -> Result<()> {
        self.site.stop().await
    }
}

/// The body of a good answer.
pub async fn asked(connection: &mut Connection, request: &str) -> Result<Vec<u8>> {
    let answer = connection.ask(request.as_bytes()).await.map_err(|error| failed(format!("no answer: {error:?}")))?;
    if answer.status == 200 {
        return Ok(answer.body);
    }
    let said = String::from_utf8_lossy(&answer.body).into_owned();
    Err(failed("a question was not answered").with("status", answer.status).with("said", said))
}

/// A block as its engine wrote it.
pub struct Block {
    samples: u64,
    bytes: u64,
}

impl Block {
    pub fn bytes_per_sample(&self) -> f64 {
        self.bytes as f64 / (self.samples as f64).max(1.0)
    }

    pub fn details(&self) -> Value {
        json!({ "samples": self.samples, "bytes": self.bytes, "bytes_per_sample": self.bytes_per_sample() })
    }
}

/// Waits until the engine has written and merged its blocks: what it still has to do would be taken for the cost of
/// what is measured.
pub async fn settled(data: &Path) -> Result<()> {
    let (begun, mut before, mut since) = (Instant::now(), BTreeSet::new(), Instant::now());
    while since.elapsed() < REST {
        if begun.elapsed() > SETTLE_LIMIT {
            return Err(failed("the engine's blocks do not come to rest"));
        }
        let now = names(data)?;
        let writes = now.iter().any(|name| name.to_string_lossy().contains(".tmp"));
        if writes || now != before {
            (before, since) = (now, Instant::now());
        }
        sleep(POLL).await;
    }
    Ok(())
}

fn names(data: &Path) -> Result<BTreeSet<OsString>> {
    let entries = fs::read_dir(data).map_err(|error| failed("the engine's data cannot be read").caused_by(error))?;
    Ok(entries.flatten().map(|entry| entry.file_name()).collect())
}

/// The largest block with samples from this time on only.
pub fn block(data: &Path, from_ms: i64) -> Result<Option<Block>> {
    let found = names(data)?.into_iter().filter_map(|name| read(&data.join(name), from_ms));
    Ok(found.max_by_key(|block| block.samples))
}

fn read(directory: &Path, from_ms: i64) -> Option<Block> {
    let meta: Value = serde_json::from_slice(&fs::read(directory.join("meta.json")).ok()?).ok()?;
    if meta["minTime"].as_i64()? < from_ms {
        return None;
    }
    Some(Block { samples: meta["stats"]["numSamples"].as_u64()?, bytes: size(directory) })
}

fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => size(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.map(of).sum()
}
