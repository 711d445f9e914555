//! Two Prometheus children of ours, one for each retention class, on loopback with a password of their own.
//!
//! `DIR/lock` (ours), `DIR/installation` (an id, made once), `DIR/scrape-token` and `DIR/password` (0600, anew at each
//! start), `DIR/{governed,platform}/` with `data/`, `prometheus.yml`, `web.yml` and `log`.

mod child;
mod config;
mod program;

pub use config::{SCRAPE_JOB, Scrape};
pub use program::Program;

use super::{
    contract::Retention,
    engine::{Engine, Login, Version},
};
use child::Instance;
use model::{Error, Result};
use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
};
use supervisor::{Account, State, Supervision, file_error, occupy, replace, write_durably};

/// Whom root becomes.
const ACCOUNTS: [&str; 3] = ["prometheus", "_prometheus", "nobody"];
/// Above the well-known ports and below those the system gives to clients.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// The password has 256 random bits: stretching it would only cost time.
const HASH_COST: u32 = 4;

#[derive(Debug, Clone, Default)]
pub struct LocalOptions {
    /// The program; found when not given.
    pub program: Option<PathBuf>,
    /// Our own page, if it is to be kept.
    pub scrape: Option<Scrape>,
}

/// What both engines share.
#[derive(Debug)]
pub(super) struct House {
    directory: PathBuf,
    account: Account,
    program: Program,
    installation: String,
    scrape: Option<Scrape>,
    password_hash: String,
    _lock: File,
}

impl House {
    fn token_file(&self) -> PathBuf {
        self.directory.join("scrape-token")
    }

    fn password_file(&self) -> PathBuf {
        self.directory.join("password")
    }
}

/// The running engines. `stop` them; dropped, they are told to stop and not waited for.
#[derive(Debug)]
pub struct Local {
    house: Arc<House>,
    scrape_token: String,
    engines: [(Retention, Engine); 2],
    supervised: [Supervision; 2],
}

impl Local {
    /// Takes the directory and begins to start the engines; it does not wait until they are ready.
    pub fn begin(directory: &Path, options: LocalOptions, http: &reqwest::Client) -> Result<Self> {
        let program = Program::find(options.program.as_deref())?;
        let account = Account::choose(&ACCOUNTS)?.or_owner_of(&directory.join("governed/data"));
        account.open_house(directory)?;
        let directory = fs::canonicalize(directory).map_err(|e| file_error("resolve", directory, e))?;
        let lock = occupy(&directory, "another nephkeep runs the metrics engines of this directory; stop it")?;
        let (password, scrape_token) = (secret()?, secret()?);
        let password_hash = bcrypt::hash(&password, HASH_COST)
            .map_err(|error| Error::bug("a password cannot be hashed").caused_by(error))?;
        let installation = installation(&directory)?;
        let house =
            House { directory, account, program, installation, scrape: options.scrape, password_hash, _lock: lock };
        replace(&house.password_file(), password.as_bytes(), &house.account)?;
        replace(&house.token_file(), scrape_token.as_bytes(), &house.account)?;
        let ports = free_ports()?;
        let engine = |port: u16| {
            let login = Login::Basic { user: config::USER.to_owned(), password: password.clone() };
            Engine::new(http.clone(), &format!("http://127.0.0.1:{port}"), None, login, true)
        };
        let house = Arc::new(house);
        let begin = |class, port, other_port| {
            Supervision::begin(Instance { house: Arc::clone(&house), class, port, other_port, engine: engine(port) })
        };
        let supervised =
            [begin(Retention::Governed, ports[0], Some(ports[1])), begin(Retention::Platform, ports[1], None)];
        let engines = [(Retention::Governed, engine(ports[0])), (Retention::Platform, engine(ports[1]))];
        Ok(Self { house, scrape_token, engines, supervised })
    }

    #[must_use]
    pub fn version(&self) -> &Version {
        &self.house.program.version
    }

    #[must_use]
    pub fn program(&self) -> &Path {
        &self.house.program.path
    }

    /// What our own page is scraped with.
    #[must_use]
    pub fn scrape_token(&self) -> &str {
        &self.scrape_token
    }

    pub(super) fn engine(&self, class: Retention) -> &Engine {
        &self.engines[usize::from(class == Retention::Platform)].1
    }

    #[must_use]
    pub fn state(&self, class: Retention) -> tokio::sync::watch::Receiver<State> {
        self.supervised[usize::from(class == Retention::Platform)].state()
    }

    /// For drills that kill it.
    #[must_use]
    pub fn pid(&self, class: Retention) -> Option<i32> {
        self.supervised[usize::from(class == Retention::Platform)].pid()
    }

    /// Stops both, waits until their processes are gone (one that was just starting too), and releases the directory.
    pub async fn stop(self) -> Result<()> {
        // With its lock: to the end nobody else begins engines here, whom this would end.
        let Self { house, supervised: [governed, platform], .. } = self;
        let (one, two) = tokio::join!(governed.stop(), platform.stop());
        one.and(two)?;
        end_all(&house.directory).await
    }

    /// The processes that a killed supervisor left behind in a directory.
    #[must_use]
    pub fn left_behind(directory: &Path) -> Vec<i32> {
        let places = Retention::ALL.map(|class| directory.join(class.as_str()).join("data"));
        let places = places.iter().filter_map(|data| fs::canonicalize(data).ok());
        places.flat_map(|data| supervisor::living_in(&data, child::PROGRAM)).collect()
    }

    /// Ends them, unless another supervisor has the directory now.
    pub async fn end_left_behind(directory: &Path) -> Result<()> {
        if !directory.exists() {
            return Ok(());
        }
        let _lock = occupy(directory, "another nephkeep runs the metrics engines of this directory; stop it")?;
        end_all(directory).await
    }
}

/// For who has the directory's lock.
async fn end_all(directory: &Path) -> Result<()> {
    for class in Retention::ALL {
        child::end_orphans(&directory.join(class.as_str()).join("data")).await?;
    }
    Ok(())
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::bug("the system gives no random bytes").caused_by(e))?;
    Ok(bytes)
}

fn secret() -> Result<String> {
    random::<32>().map(hex::encode)
}

/// Stands as an external label on what leaves the engines; the same for ever.
fn installation(directory: &Path) -> Result<String> {
    let path = directory.join("installation");
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(file_error("read", &path, e)),
        _ => {
            let made = hex::encode(random::<8>()?);
            write_durably(&path, made.as_bytes())?;
            Ok(made)
        }
    }
}

/// Two that nobody listens on, from a random place on.
fn free_ports() -> Result<[u16; 2]> {
    let first = usize::from(u16::from_le_bytes(random()?)) % PORTS.len();
    let mut ports = PORTS.cycle().skip(first).take(PORTS.len());
    let mut free = || ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    match (free(), free()) {
        (Some(one), Some(two)) => Ok([one, two]),
        _ => Err(Error::retry("port-taken", "no port is free for the metrics engines").with("ports", "20000 to 31999")),
    }
}
