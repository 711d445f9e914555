//! The PostgreSQL all tests share; each takes a database of its own. It ends with the test process.

use ledger::server::{Local, LocalOptions};
use std::{
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};
use tokio_postgres::{Config, NoTls, config::Host};

/// A directory that the server's account may pass through.
pub fn directory() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().prefix("nephkeep-test-").tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    directory
}

/// The URL of a fresh, empty database.
pub async fn database() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::SeqCst));
    let config = shared();
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(&format!("CREATE DATABASE {name} STRATEGY file_copy")).await.unwrap();
    let Host::Unix(socket) = &config.get_hosts()[0] else { unreachable!() };
    let password = std::str::from_utf8(config.get_password().unwrap()).unwrap();
    let user = config.get_user().unwrap();
    format!("postgres://{user}:{password}@/{name}?host={}", socket.display())
}

fn shared() -> &'static Config {
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
    let mut config = Config::new();
    config.host_path(local.socket_dir()).port(local.port()).user(local.user()).password(local.password());
    config.dbname("postgres");
    let script = format!(
        "read -r never; kill -QUIT {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.1; done; rm -rf '{}'",
        directory.display(),
        pid = local.pid().unwrap(),
    );
    let child = Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
    // Its input stays open as long as this process lives.
    Box::leak(Box::new(child));
    std::thread::spawn(move || {
        runtime.block_on(std::future::pending::<()>());
        drop(local);
    });
    config
}
