//! The PostgreSQL that the tests of one process share; each takes a database of its own. It ends with the process,
//! however that ends. It runs without fsync: a ledger on it is opened with `without_durability`.

use ledger::server::{Local, LocalOptions};
use std::{
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
    sync::atomic::{AtomicU32, Ordering},
};
use tokio_postgres::{Client, Config, NoTls, config::Host};

/// A directory that the server's account may pass through.
#[must_use]
pub fn directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("nephkeep-test-").tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    directory
}

#[must_use]
pub fn config_of(local: &Local) -> Config {
    let mut config = Config::new();
    config.host_path(local.socket_dir()).port(local.port()).user(local.user()).password(local.password());
    config.dbname("postgres");
    config
}

pub async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// As the settings would name the database.
#[must_use]
pub fn url_of(config: &Config) -> String {
    let Host::Unix(socket) = &config.get_hosts()[0] else { unreachable!() };
    let password = std::str::from_utf8(config.get_password().unwrap()).unwrap();
    let (user, name) = (config.get_user().unwrap(), config.get_dbname().unwrap());
    format!("postgres://{user}:{password}@/{name}?host={}", socket.display())
}

/// A fresh, empty database on the shared server.
pub async fn database() -> Config {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::SeqCst));
    let mut config = server().clone();
    let client = connect(&config).await.unwrap();
    client.batch_execute(&format!("CREATE DATABASE {name} STRATEGY file_copy")).await.unwrap();
    config.dbname(&name);
    config
}

fn server() -> &'static Config {
    static SERVER: OnceLock<Config> = OnceLock::new();
    SERVER.get_or_init(|| std::thread::spawn(start).join().unwrap())
}

/// On a thread and runtime of its own that outlive every test's.
fn start() -> Config {
    let directory = directory().keep();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let extra = vec![("fsync".to_owned(), "off".to_owned()), ("shared_buffers".to_owned(), "32MB".to_owned())];
    let options = LocalOptions { extra, ..LocalOptions::default() };
    let local = runtime.block_on(Local::start(&directory.join("record"), options)).unwrap();
    let config = config_of(&local);
    end_with_us(local.pid().unwrap(), directory);
    std::thread::spawn(move || {
        runtime.block_on(std::future::pending::<()>());
        drop(local);
    });
    config
}

/// A shell that waits for our end (its standard input closes) and then ends the server and removes its files.
fn end_with_us(pid: i32, directory: PathBuf) {
    let script = format!(
        "read -r never; kill -QUIT {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.1; done; rm -rf '{}'",
        directory.display()
    );
    let child = Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    // Its input stays open as long as this process lives.
    Box::leak(Box::new(child));
}
