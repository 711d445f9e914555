//! The load of the power-cut test: single-row commits over many connections, each acknowledgement kept on a real disk.

use ledger::server::Local;
use model::{Error, Result};
use operations::drill::{
    ackfile::{self, Line, Told, Writer},
    work,
};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

const CONNECTIONS: u64 = 24;

/// The file of acknowledgements, and what was recovered so far.
pub struct Acknowledged {
    path: PathBuf,
    writer: Option<Arc<Writer>>,
    next: Arc<AtomicU64>,
}

pub struct Running {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Acknowledged {
    pub fn new(path: &Path) -> Result<Self> {
        let writer = Some(Arc::new(Writer::create(path)?));
        Ok(Self { path: path.to_path_buf(), writer, next: Arc::default() })
    }

    /// What is durable now, as a set; the writer begins anew.
    fn collect(&mut self) -> Result<HashSet<u64>> {
        if let Some(writer) = self.writer.take().and_then(Arc::into_inner) {
            writer.finish()?;
        }
        self.writer = Some(Arc::new(Writer::create(&self.path)?));
        Ok(ackfile::read(&self.path)?.into_iter().map(|line| line.number).collect())
    }
}

async fn connect(server: &Local) -> std::result::Result<(Client, tokio::task::JoinHandle<()>), tokio_postgres::Error> {
    let mut config = tokio_postgres::Config::new();
    config.host_path(server.socket_dir()).port(server.port()).user(server.user()).password(server.password());
    config.dbname("postgres").connect_timeout(Duration::from_secs(5));
    let (client, connection) = config.connect(NoTls).await?;
    let driver = tokio::spawn(async move {
        // The end of the connection shows in the client's own errors.
        let _ended = connection.await;
    });
    Ok((client, driver))
}

fn failed(error: tokio_postgres::Error) -> Error {
    Error::retry("power-cut-failed", "the server does not answer the power-cut test").caused_by(error)
}

pub async fn prepare(server: &Local) -> Result<()> {
    let (client, driver) = connect(server).await.map_err(failed)?;
    let made =
        client.batch_execute("CREATE TABLE acknowledged (number bigint PRIMARY KEY, document bytea NOT NULL)").await;
    driver.abort();
    made.map_err(failed)
}

pub fn begin(server: &Local, acknowledged: &Acknowledged, seed: u64) -> Result<Running> {
    let writer = acknowledged.writer.clone().ok_or_else(|| Error::bug("the file of acknowledgements is closed"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (stop, writer, next) = (stop.clone(), writer.clone(), acknowledged.next.clone());
        let (socket, port) = (server.socket_dir().to_path_buf(), server.port());
        let mut config = tokio_postgres::Config::new();
        config.host_path(socket).port(port).user(server.user()).password(server.password()).dbname("postgres");
        tasks.spawn(async move {
            // A connection that breaks ends its part of the load: the power is going.
            let _cut = insert_until(config, &stop, &writer, &next, seed).await;
        });
    }
    Ok(Running { stop, tasks })
}

async fn insert_until(
    config: tokio_postgres::Config,
    stop: &AtomicBool,
    writer: &Writer,
    next: &AtomicU64,
    seed: u64,
) -> std::result::Result<(), tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    let driver = tokio::spawn(async move {
        let _ended = connection.await;
    });
    let statement = client.prepare("INSERT INTO acknowledged (number, document) VALUES ($1, $2)").await?;
    while !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let document = work::intent(seed, number).into_bytes();
        client.execute(&statement, &[&i64::try_from(number).unwrap_or(i64::MAX), &document]).await?;
        writer.put(line(number, ackfile::digest(&document)));
    }
    driver.abort();
    Ok(())
}

fn line(number: u64, body_digest: u64) -> Line {
    Line {
        told: Told::Created,
        number,
        attempt: 0,
        id: None,
        version: None,
        position: None,
        body_digest,
        sent_us: 0,
        heard_us: 0,
    }
}

impl Running {
    pub async fn end(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(task) = self.tasks.join_next().await {
            task.map_err(|error| Error::bug("a connection of the load ended").caused_by(error))?;
        }
        Ok(())
    }
}

/// How many rows were acknowledged, and how many of them are not there. Without a server, none is.
pub async fn count(server: Option<&Local>, acknowledged: &mut Acknowledged) -> Result<(u64, u64)> {
    let wanted = acknowledged.collect()?;
    let total = wanted.len() as u64;
    let Some(server) = server else { return Ok((total, total)) };
    let (client, driver) = connect(server).await.map_err(failed)?;
    let rows = client.query("SELECT number FROM acknowledged", &[]).await;
    driver.abort();
    // The table itself may be gone, or unreadable: then so are its rows.
    let Ok(rows) = rows else { return Ok((total, total)) };
    let present: HashSet<u64> = rows.iter().filter_map(|row| u64::try_from(row.get::<_, i64>(0)).ok()).collect();
    Ok((total, wanted.difference(&present).count() as u64))
}
