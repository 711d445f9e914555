//! The directory of a private server: what lies where, who owns it, and how it comes to be.
//!
//! `lock` (ours, held while a supervisor lives), `password` (ours, 0600), `data/` and `socket/` (the account's),
//! `log` (ours; the server inherits it open). Where `DIR/socket` is too long a path for a socket, a short
//! directory serves and `socket-path` records it.

use super::{binaries::Binaries, local::LocalOptions, settings};
use model::{Error, Result};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};
use supervisor::{Account, Log, file_error, make_directory, replace, sync_directory, write_durably};

pub const USER: &str = "nephkeep";
const SOCKET_RECORD: &str = "socket-path";
/// Whom root becomes, in this order, when nobody is named.
const ACCOUNTS: [&str; 3] = ["postgres", "_postgres", "nobody"];

/// Never shown, not even for debugging.
#[derive(Clone)]
pub(crate) struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// A prepared and locked directory.
#[derive(Debug)]
pub(super) struct Cluster {
    pub directory: PathBuf,
    pub data: PathBuf,
    pub socket_dir: PathBuf,
    pub account: Account,
    pub binaries: Binaries,
    pub password: Secret,
    /// Released by closing it, also by our death; never inherited by a child (close-on-exec).
    _lock: File,
}

impl Cluster {
    pub(super) async fn prepare(directory: &Path, options: &LocalOptions) -> Result<Self> {
        let account = account(options)?.or_owner_of(&directory.join("data"));
        account.open_house(directory)?;
        let directory = fs::canonicalize(directory).map_err(|e| file_error("resolve", directory, e))?;
        let lock = lock(&directory)?;
        let data = directory.join("data");
        let binaries = match &options.binaries {
            Some(place) => Binaries::only_at(place, data_version(&data)?)?,
            None => Binaries::find(data_version(&data)?)?,
        };
        let password = password(&directory)?;
        if data_version(&data)?.is_none() {
            create(&binaries, &account, &directory, &password.0).await?;
        }
        let socket_dir = socket_dir(&directory, &account)?;
        Ok(Self { directory, data, socket_dir, account, binaries, password, _lock: lock })
    }

    /// Our settings, anew at each start, so that an upgrade of nephkeep is an upgrade of them.
    pub(super) fn write_settings(&self, extra: &[(String, String)]) -> Result<()> {
        self.account.own(&self.data, 0o700)?;
        self.account.own(&self.socket_dir, 0o700)?;
        let statements = self.binaries.has_library(settings::STATEMENTS);
        let text = settings::render(&self.socket_dir, statements, extra);
        replace(&self.data.join("postgresql.conf"), text.as_bytes(), &self.account)?;
        replace(&self.data.join("pg_hba.conf"), settings::HOST_BASED.as_bytes(), &self.account)
    }

    pub(super) fn log(&self) -> Log {
        Log::of(&self.directory)
    }
}

pub(super) fn account(options: &LocalOptions) -> Result<Account> {
    match &options.account {
        Some(name) => Account::choose(&[name]),
        None => Account::choose(&ACCOUNTS),
    }
}

/// Our own lock: `postmaster.pid` can be empty after a power cut and says nothing about a supervisor.
pub(super) fn lock(directory: &Path) -> Result<File> {
    let message = "another nephkeep runs the local server of this directory; stop it, or connect to its socket";
    supervisor::occupy(directory, message)
}

/// The version a data directory was made by; `None` where there is none yet. A directory with foreign files is refused.
fn data_version(data: &Path) -> Result<Option<u32>> {
    match fs::read_to_string(data.join("PG_VERSION")) {
        Ok(text) => text.trim().parse().map(Some).map_err(|_| foreign(data)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let occupied = fs::read_dir(data).is_ok_and(|mut entries| entries.next().is_some());
            if occupied { Err(foreign(data)) } else { Ok(None) }
        }
        Err(e) => Err(file_error("read", data, e)),
    }
}

fn foreign(data: &Path) -> Error {
    let message = "the data directory is neither empty nor a PostgreSQL data directory; nothing was touched";
    Error::refused("directory-foreign", message).with("directory", data.display())
}

/// The password of a fresh or an existing directory; made once, durable before `initdb` learns it.
fn password(directory: &Path) -> Result<Secret> {
    let path = directory.join("password");
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(Secret(text.trim().to_owned())),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(file_error("read", &path, e)),
        _ => {}
    }
    if directory.join("data/PG_VERSION").exists() {
        let message = "the password file of the local server is missing or empty; restore it from where you keep it";
        return Err(Error::refused("password-missing", message).with("path", path.display()));
    }
    let mut bytes = [0_u8; 24];
    getrandom::fill(&mut bytes).map_err(|e| Error::bug("the system gives no random bytes").caused_by(e))?;
    let text = hex::encode(bytes);
    write_durably(&path, text.as_bytes())?;
    Ok(Secret(text))
}

/// What a client of a private server needs: where its socket lies, and the password.
pub(crate) fn client_of(directory: &Path) -> Result<(PathBuf, String)> {
    let path = directory.join("password");
    let password = fs::read_to_string(&path).map_err(|e| file_error("read", &path, e))?;
    Ok((socket_dir_of(directory), password.trim().to_owned()))
}

/// Where the socket of a directory that was prepared before lies.
pub(super) fn socket_dir_of(directory: &Path) -> PathBuf {
    match fs::read_to_string(directory.join(SOCKET_RECORD)) {
        Ok(text) if !text.is_empty() => PathBuf::from(text),
        _ => directory.join("socket"),
    }
}

/// Made aside and renamed: a directory that exists is a complete one, whatever interrupts us.
async fn create(binaries: &Binaries, account: &Account, directory: &Path, password: &str) -> Result<()> {
    let (fresh, data, secret) = (directory.join("data.new"), directory.join("data"), directory.join("password.initdb"));
    super::postmaster::end_orphans(&fresh).await?;
    match fs::remove_dir_all(&fresh) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(file_error("remove", &fresh, e)),
        _ => {}
    }
    make_directory(&fresh, account)?;
    replace(&secret, password.as_bytes(), account)?;
    let outcome = initdb(binaries, account, &fresh, &secret).await;
    let _ = fs::remove_file(&secret);
    outcome?;
    // An empty `data` (somebody prepared a mount point's parent) gives way to the rename.
    fs::rename(&fresh, &data).map_err(|e| file_error("rename", &fresh, e))?;
    sync_directory(directory)
}

async fn initdb(binaries: &Binaries, account: &Account, fresh: &Path, secret: &Path) -> Result<()> {
    let mut command = tokio::process::Command::new(binaries.program("initdb"));
    command
        .args(["--data-checksums", "--auth=scram-sha-256", "--locale=C", "--encoding=UTF8", "--username", USER])
        .arg("--pwfile")
        .arg(secret)
        .arg("--pgdata")
        .arg(fresh)
        .env_clear()
        .current_dir("/");
    if account.dropped {
        command.uid(account.uid).gid(account.gid);
    }
    let output = command.kill_on_drop(true).output().await.map_err(|e| file_error("run initdb on", fresh, e))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let last =
        words.lines().rfind(|line| line.contains("error") || line.contains("FATAL")).unwrap_or("no reason given");
    let code = if words.contains("No space left") { "disk-full" } else { "initdb-failed" };
    Err(Error::refused(code, "PostgreSQL could not initialise the data directory")
        .with("directory", fresh.display())
        .with("said", last))
}

fn socket_dir(directory: &Path, account: &Account) -> Result<PathBuf> {
    let name = format!(".s.PGSQL.{}", settings::PORT);
    let (near, record) = (directory.join("socket"), directory.join(SOCKET_RECORD));
    if near.join(&name).as_os_str().len() <= settings::SOCKET_PATH_MAX {
        let _ = fs::remove_file(&record);
        make_directory(&near, account)?;
        return Ok(near);
    }
    let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|base| !account.dropped && base.is_dir());
    let digest = hex::encode(Sha256::digest(directory.as_os_str().as_encoded_bytes()));
    let far = base.unwrap_or_else(|| PathBuf::from("/tmp")).join(format!("nephkeep-{}", &digest[..16]));
    make_directory(&far, account)?;
    write_durably(&record, far.as_os_str().as_encoded_bytes())?;
    Ok(far)
}
