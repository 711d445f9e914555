//! The peers: pgbench on a PostgreSQL with the same settings and disk, and etcd where it is installed.

use crate::{
    home::Home,
    machine::{Sampler, Used},
    provenance,
    stand::failed,
};
use ledger::server::{Local, LocalOptions};
use model::Result;
use operations::drill::work;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tokio_postgres::NoTls;

/// What pgbench does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// `BEGIN`, resource, audit and change row, `COMMIT`, at SERIALIZABLE: what an application would write.
    ThreeRows,
    /// The same three rows by one call of a function.
    OneCall,
    /// `pgbench -S`.
    Select,
}

impl Script {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ThreeRows => "pgbench, three rows in a SERIALIZABLE transaction",
            Self::OneCall => "pgbench, three rows by one call of a function",
            Self::Select => "pgbench -S",
        }
    }
}

/// A PostgreSQL of its own, set up like ours.
#[derive(Debug)]
pub struct Peer {
    server: Local,
    files: PathBuf,
    pgbench: PathBuf,
    /// Dropped last: the guard waits until nobody has the server's directory.
    _home: Home,
}

/// One pgbench run.
#[derive(Debug, Clone, Copy)]
pub struct Tps {
    pub per_second: f64,
    pub used: Used,
}

const TABLES: &str = "
    CREATE TABLE resource (id uuid PRIMARY KEY, version bigint NOT NULL, document text NOT NULL);
    CREATE TABLE audit (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT now(),
        principal text NOT NULL, action text NOT NULL, id uuid NOT NULL);
    CREATE TABLE change (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid NOT NULL, document text NOT NULL);
    CREATE FUNCTION put(document text) RETURNS uuid LANGUAGE plpgsql AS $$
    DECLARE made uuid := gen_random_uuid();
    BEGIN
        INSERT INTO resource VALUES (made, 1, document);
        INSERT INTO audit (principal, action, id) VALUES ('bench', 'create', made);
        INSERT INTO change (id, document) VALUES (made, document);
        RETURN made;
    END $$;";

impl Peer {
    pub async fn start(place: &Path) -> Result<Self> {
        // As ours, but with room for 256 clients.
        let extra = vec![("max_connections".to_owned(), "300".to_owned())];
        let home = Home::make(place, "peer")?;
        let directory = home.without_server()?.join("record");
        let server = Local::start(&directory, LocalOptions { extra, ..LocalOptions::default() }).await?;
        let files = place.join("pgbench");
        let beside = Local::find_binaries()?.program("pgbench");
        let pgbench = if beside.exists() { beside } else { "pgbench".into() };
        fs::create_dir(&files).map_err(|error| failed("no directory for pgbench").caused_by(error))?;
        let peer = Self { server, files, pgbench, _home: home };
        peer.prepare().await?;
        Ok(peer)
    }

    async fn prepare(&self) -> Result<()> {
        let server = &self.server;
        let mut config = tokio_postgres::Config::new();
        config.host_path(server.socket_dir()).port(server.port()).user(server.user()).password(server.password());
        let refused = |error| failed("the peer's PostgreSQL refuses").caused_by(error);
        let (client, connection) = config.dbname("postgres").connect(NoTls).await.map_err(refused)?;
        let driver = tokio::spawn(connection);
        let made = client.batch_execute(TABLES).await;
        drop(client);
        let _ended = driver.await;
        made.map_err(refused)?;
        // The password goes by file, as libpq wants it: private.
        let line = format!("*:*:*:{}:{}\n", server.user(), server.password());
        // pgbench takes what follows a colon for a variable.
        let document = work::intent(11, 11).replace(':', ";");
        let id = "lpad(to_hex(:r::bigint), 32, '0')::uuid";
        let three = format!(
            "\\set r random(1, 9000000000000000000)\nBEGIN;\n\
             INSERT INTO resource VALUES ({id}, 1, '{document}');\n\
             INSERT INTO audit (principal, action, id) VALUES ('bench', 'create', {id});\n\
             INSERT INTO change (id, document) VALUES ({id}, '{document}');\nCOMMIT;\n"
        );
        for (name, text) in [("pass", line), ("three.sql", three), ("call.sql", format!("SELECT put('{document}');\n"))]
        {
            let path = self.files.join(name);
            fs::write(&path, text).map_err(|error| failed("a pgbench file cannot be written").caused_by(error))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
                .map_err(|error| failed("a pgbench file cannot be closed").caused_by(error))?;
        }
        self.pgbench(&["-i", "-q", "-s", "10"])?;
        Ok(())
    }

    fn pgbench(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.pgbench);
        command.arg("-h").arg(self.server.socket_dir()).args(["-p", &self.server.port().to_string()]);
        command.args(["-U", self.server.user()]).args(arguments).arg("postgres");
        command.env("PGPASSFILE", self.files.join("pass"));
        let output = command.output().map_err(|error| failed("pgbench does not start").caused_by(error))?;
        if output.status.success() {
            return Ok(output);
        }
        let said = String::from_utf8_lossy(&output.stderr).lines().take(3).collect::<Vec<_>>().join(" / ");
        Err(failed("pgbench failed").with("said", said))
    }

    pub fn run(&self, script: Script, clients: usize, seconds: f64) -> Result<Tps> {
        let clients = clients.to_string();
        let seconds = format!("{:.0}", seconds.ceil());
        let three = self.files.join("three.sql").display().to_string();
        let call = self.files.join("call.sql").display().to_string();
        let mut arguments = vec!["-n", "-M", "prepared", "-j", "2", "-c", &clients, "-T", &seconds];
        match script {
            Script::ThreeRows => arguments.extend(["-f", &three]),
            Script::OneCall => arguments.extend(["-f", &call]),
            Script::Select => arguments.push("-S"),
        }
        let sampler = Sampler::begin();
        let output = self.pgbench(&arguments)?;
        let used = sampler.end(None, &self.server.processes());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // Without a transaction in the time given it prints none: too many clients for this machine.
        let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse().ok());
        let per_second = tps.unwrap_or(0.0);
        Ok(Tps { per_second, used })
    }

    pub fn version(&self) -> Option<String> {
        provenance::version(&self.pgbench)
    }

    pub async fn stop(self) -> Result<()> {
        self.server.stop().await
    }
}
