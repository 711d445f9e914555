//! Settings: a TOML file with five URLs (DESIGN 2), then `NEPHKEEP_*` variables over it.
//!
//! Paths in the file are relative to the file, so a directory may be moved as a whole. Secrets are never settings:
//! a password has a file of its own.

use crate::{
    embedder::{self, Choice},
    exit::Outcome,
    indexes::{self, Indexes},
    layout::{self, Layout},
    running,
};
use model::Error;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use stores::metrics::Place;

/// What `up` writes into an empty directory.
pub const DEFAULT: &str = r#"# Settings of this nephkeep. Paths are relative to this file; every key has a NEPHKEEP_* variable
# that goes before it (stores.record: NEPHKEEP_RECORD). `nephkeep doctor` checks them.

[stores]
# The record: a private PostgreSQL in a directory of its own, or postgres://user@host/database.
record = "local:record"
# Backups and archives.
objects = "file:objects"
# The vectors of the knowledge base.
vectors = "file:vectors"
# Their words, in clear, but for confidential documents, which are not in it.
text = "file:text"
# Metrics: two private Prometheus in a directory, prometheus+http://host:9090 for one elsewhere, or "none".
metrics = "prometheus+local:metrics"

[embedder]
# What makes vectors of texts: hash:384 compares words and needs nobody; for meanings name a server that speaks OpenAI's
# interface (url = "https://host/v1") with model and dimensions, and key_file for its key.
url = "hash:384"

[server]
listen = "127.0.0.1:7210"

[keys]
# PRODUCTION: at least two directories and two slots that do not fail together: other disks, other machines.
directories = ["keystore/a", "keystore/b"]
slots = ["slots/a/epoch.slot", "slots/b/epoch.slot"]
host_key = "host/host.key"

[audit]
directory = "audit"
keys = "audit-key"
"#;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A private PostgreSQL that nephkeep initialises, starts, watches and stops.
    Local(PathBuf),
    /// An existing server. The URL holds no password.
    Postgres { url: String, password_file: Option<PathBuf> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub record: Record,
    pub objects: PathBuf,
    pub vectors: PathBuf,
    pub text: PathBuf,
    pub indexes: Indexes,
    pub metrics: Place,
    /// The Prometheus program; searched for when not said.
    pub prometheus: Option<PathBuf>,
    /// Holds the token for a Prometheus elsewhere.
    pub metrics_token_file: Option<PathBuf>,
    /// How often our own page is kept, in seconds; 0 for never.
    pub scrape_every_s: u32,
    pub embedder: Choice,
    /// Another one to migrate to.
    pub next_embedder: Option<Choice>,
    /// The policy of topics, where it is not the built-in one.
    pub topics: Option<PathBuf>,
    pub listen: SocketAddr,
    /// Where a follower sends writers; `http://LISTEN` when not said.
    pub public_url: Option<String>,
    pub key_directories: Vec<PathBuf>,
    pub slots: Vec<PathBuf>,
    pub host_key: PathBuf,
    pub audit_directory: PathBuf,
    /// The log's signing key and public key.
    pub audit_keys: PathBuf,
    /// For how many months audit rows are kept.
    pub audit_keep_months: u32,
    /// Where `initdb` and `postgres` lie; searched for when not said.
    pub postgresql_bin: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Draft {
    stores: Stores,
    server: Server,
    keys: Keys,
    audit: Audit,
    #[serde(default)]
    embedder: embedder::Draft,
    /// Not of the file.
    #[serde(skip)]
    embedder_key: Option<String>,
    #[serde(default)]
    vectors: indexes::Draft,
    #[serde(default)]
    events: Events,
    #[serde(default)]
    postgresql: Postgresql,
    #[serde(default)]
    metrics: Metrics,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stores {
    record: String,
    record_password_file: Option<String>,
    objects: String,
    events: Option<String>,
    vectors: Option<String>,
    text: Option<String>,
    metrics: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    listen: String,
    public_url: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    directories: Vec<String>,
    slots: Vec<String>,
    host_key: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Audit {
    directory: String,
    keys: String,
    keep_months: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Events {
    topics: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Postgresql {
    bin: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Metrics {
    prometheus: Option<String>,
    token_file: Option<String>,
    scrape_seconds: Option<u32>,
}

/// Variables that are not settings but belong to us.
const OTHER_VARIABLES: [&str; 10] = [
    "NEPHKEEP_DIR",
    "NEPHKEEP_URL",
    "NEPHKEEP_CREDENTIAL_FILE",
    "NEPHKEEP_SETTINGS",
    "NEPHKEEP_OUTPUT",
    "NEPHKEEP_LOG",
    "NEPHKEEP_LOG_FORMAT",
    "NEPHKEEP_SAMPLES",
    "NEPHKEEP_BLESS",
    "NEPHKEEP_TEST_KEYSTORE",
];

impl Settings {
    /// The settings of a directory, or those of another file for it.
    pub fn load(layout: &Layout, file: Option<&Path>) -> Outcome<Self> {
        let path = file.map_or_else(|| layout.settings(), Path::to_path_buf);
        let text = fs::read_to_string(&path).map_err(|error| {
            if error.kind() == std::io::ErrorKind::PermissionDenied {
                return crate::exit::Failure::environment(running::denied(layout, error));
            }
            let what = "the settings file cannot be read; `nephkeep up` writes one into an empty directory";
            crate::exit::Failure::environment(layout::io_error("settings-unreadable", what, &path, error))
        })?;
        let base = std::path::absolute(&path).ok().and_then(|path| path.parent().map(Path::to_path_buf));
        let settings = Self::parse(&text, &base.unwrap_or_default(), variables());
        Ok(settings.map_err(|error| error.with("file", path.display()))?)
    }

    /// Those that `up` writes into an empty directory, with the variables over them.
    pub fn parse_default(root: &Path) -> Outcome<Self> {
        Ok(Self::parse(DEFAULT, root, variables())?)
    }

    #[must_use]
    pub fn keystore(&self) -> keys::Settings {
        keys::Settings {
            directories: self.key_directories.clone(),
            slots: self.slots.clone(),
            host_key: self.host_key.clone(),
        }
    }

    #[must_use]
    pub fn audit(&self) -> audit::Options {
        audit::Options { directory: self.audit_directory.clone(), keys: self.audit_keys.clone(), name: None }
    }

    fn parse(text: &str, base: &Path, variables: BTreeMap<String, String>) -> model::Result<Self> {
        let malformed =
            |error| Error::invalid("settings-malformed", "the settings file is not as it must be").caused_by(error);
        let mut table: toml::Table = toml::from_str(text).map_err(malformed)?;
        fill(&mut table, toml::from_str(DEFAULT).map_err(malformed)?);
        let mut draft = Draft::deserialize(table).map_err(malformed)?;
        draft.overlay(variables)?;
        draft.settle(base)
    }
}

/// What the file does not say is as in the file that `up` writes.
fn fill(table: &mut toml::Table, default: toml::Table) {
    for (name, value) in default {
        match (table.get_mut(&name), value) {
            (Some(toml::Value::Table(own)), toml::Value::Table(default)) => fill(own, default),
            (Some(_), _) => {}
            (None, value) => {
                table.insert(name, value);
            }
        }
    }
}

fn variables() -> BTreeMap<String, String> {
    std::env::vars().filter(|(name, _)| name.starts_with("NEPHKEEP_")).collect()
}

impl Draft {
    fn overlay(&mut self, variables: BTreeMap<String, String>) -> model::Result<()> {
        let list = |text: &str| text.split(':').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        for (name, value) in variables {
            match name.as_str() {
                "NEPHKEEP_RECORD" => self.stores.record = value,
                "NEPHKEEP_RECORD_PASSWORD_FILE" => self.stores.record_password_file = Some(value),
                "NEPHKEEP_OBJECTS" => self.stores.objects = value,
                "NEPHKEEP_EVENTS" => self.stores.events = Some(value),
                "NEPHKEEP_VECTORS" => self.stores.vectors = Some(value),
                "NEPHKEEP_TEXT" => self.stores.text = Some(value),
                "NEPHKEEP_METRICS" => self.stores.metrics = Some(value),
                "NEPHKEEP_LISTEN" => self.server.listen = value,
                "NEPHKEEP_PUBLIC_URL" => self.server.public_url = Some(value),
                "NEPHKEEP_KEY_DIRECTORIES" => self.keys.directories = list(&value),
                "NEPHKEEP_KEY_SLOTS" => self.keys.slots = list(&value),
                "NEPHKEEP_HOST_KEY" => self.keys.host_key = value,
                "NEPHKEEP_AUDIT_DIRECTORY" => self.audit.directory = value,
                "NEPHKEEP_AUDIT_KEYS" => self.audit.keys = value,
                "NEPHKEEP_AUDIT_KEEP_MONTHS" => {
                    self.audit.keep_months = Some(number("audit.keep_months", &value)?);
                }
                "NEPHKEEP_PROMETHEUS" => self.metrics.prometheus = Some(value),
                "NEPHKEEP_METRICS_TOKEN_FILE" => self.metrics.token_file = Some(value),
                "NEPHKEEP_METRICS_SCRAPE_SECONDS" => {
                    self.metrics.scrape_seconds = Some(number("metrics.scrape_seconds", &value)?);
                }
                "NEPHKEEP_TOPICS" => self.events.topics = Some(value),
                "NEPHKEEP_PG_BIN" => self.postgresql.bin = Some(value),
                embedder::KEY_VARIABLE => self.embedder_key = Some(value),
                other if self.embedder.take(other, &value)? || self.vectors.take(other, &value)? => {}
                other if OTHER_VARIABLES.contains(&other) => {}
                other => {
                    let what =
                        "a NEPHKEEP_ variable is set that means nothing; a misspelled setting must not pass unnoticed";
                    return Err(Error::invalid("settings-variable-unknown", what).with("variable", other));
                }
            }
        }
        Ok(())
    }

    fn settle(self, base: &Path) -> model::Result<Settings> {
        only("stores.events", self.stores.events.as_deref(), "record:")?;
        let metrics = self.stores.metrics.as_deref().unwrap_or("prometheus+local:metrics");
        let metrics = Place::parse(metrics, base).map_err(|error| error.with("setting", "stores.metrics"))?;
        let vectors = self.stores.vectors.as_deref().unwrap_or("file:vectors");
        let text = self.stores.text.as_deref().unwrap_or("file:text");
        let listen = self.server.listen.parse().map_err(|_| {
            Error::invalid("settings-malformed", "server.listen must read like 127.0.0.1:7210")
                .with("value", &self.server.listen)
        })?;
        let at = |path: &str| base.join(path);
        let (embedder, next_embedder) = self.embedder.settle(base, self.embedder_key.as_deref())?;
        Ok(Settings {
            embedder,
            next_embedder,
            record: record(&self.stores.record, self.stores.record_password_file.as_deref(), base)?,
            objects: directory("stores.objects", &self.stores.objects, "file", base)?,
            vectors: directory("stores.vectors", vectors, "file", base)?,
            text: directory("stores.text", text, "file", base)?,
            indexes: self.vectors.settle()?,
            metrics,
            scrape_every_s: scrape_seconds(self.metrics.scrape_seconds)?,
            prometheus: self.metrics.prometheus.as_deref().map(at),
            metrics_token_file: self.metrics.token_file.as_deref().map(at),
            topics: self.events.topics.as_deref().map(at),
            listen,
            public_url: self.server.public_url,
            key_directories: at_least_two("keys.directories", &self.keys.directories, base)?,
            slots: at_least_two("keys.slots", &self.keys.slots, base)?,
            host_key: at(&self.keys.host_key),
            audit_directory: at(&self.audit.directory),
            audit_keys: at(&self.audit.keys),
            audit_keep_months: keep_months(self.audit.keep_months)?,
            postgresql_bin: self.postgresql.bin.as_deref().map(at),
        })
    }
}

fn number(setting: &'static str, text: &str) -> model::Result<u32> {
    text.parse().map_err(|_| {
        let error = Error::invalid("settings-malformed", "this setting is a whole number");
        error.with("setting", setting).with("value", text)
    })
}

/// A century is for ever.
fn keep_months(wanted: Option<u32>) -> model::Result<u32> {
    match wanted.unwrap_or(ledger::AUDIT_MONTHS) {
        months @ 1..=1_200 => Ok(months),
        other => {
            let what = "audit.keep_months lies between 1 and 1200";
            Err(Error::invalid("settings-malformed", what).with("value", other))
        }
    }
}

/// A query looks back five minutes: pages kept more rarely would have gaps.
fn scrape_seconds(wanted: Option<u32>) -> model::Result<u32> {
    match wanted.unwrap_or(15) {
        every @ 0..=120 => Ok(every),
        other => {
            let what = "metrics.scrape_seconds lies between 1 and 120; 0 keeps no page of our own";
            Err(Error::invalid("settings-malformed", what).with("value", other))
        }
    }
}

fn only(setting: &'static str, value: Option<&str>, allowed: &str) -> model::Result<()> {
    match value {
        Some(url) if url != allowed => {
            let what = format!("this version knows only {allowed:?} here");
            Err(Error::invalid("settings-store-unsupported", what).with("setting", setting))
        }
        _ => Ok(()),
    }
}

fn record(url: &str, password_file: Option<&str>, base: &Path) -> model::Result<Record> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Ok(Record::Local(directory("stores.record", url, "local", base)?));
    }
    let authority = url.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or(""));
    let in_authority = authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    if in_authority || url.to_ascii_lowercase().contains("password=") {
        let what =
            "stores.record holds a password; put it into a file of mode 0600 and name that in record_password_file";
        return Err(Error::invalid("secret-in-settings", what));
    }
    Ok(Record::Postgres { url: url.to_owned(), password_file: password_file.map(|path| base.join(path)) })
}

/// `scheme:path`, `scheme:///path`; a relative path is relative to the settings file.
fn directory(setting: &'static str, url: &str, scheme: &str, base: &Path) -> model::Result<PathBuf> {
    let path = url.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(':'));
    let path = path.map(|path| path.strip_prefix("//").unwrap_or(path)).filter(|path| !path.is_empty());
    let path = path.ok_or_else(|| {
        let what = format!("must read like {scheme}:///some/directory");
        Error::invalid("settings-store-unsupported", what).with("setting", setting)
    })?;
    Ok(base.join(path))
}

/// One keystore directory is one accident away from losing everybody's data.
fn at_least_two(setting: &'static str, paths: &[String], base: &Path) -> model::Result<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = paths.iter().map(|path| base.join(path)).collect();
    let distinct: std::collections::BTreeSet<_> = paths.iter().collect();
    if distinct.len() < 2 || distinct.len() < paths.len() {
        return Err(
            Error::invalid("settings-keys-single", "name at least two different directories").with("setting", setting)
        );
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str, variables: &[(&str, &str)]) -> model::Result<Settings> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::parse(text, Path::new("/base"), variables)
    }

    #[test]
    fn the_default_file_is_valid_and_relative_to_itself() {
        let settings = parse(DEFAULT, &[]).unwrap();
        assert_eq!(settings.record, Record::Local("/base/record".into()));
        assert_eq!(settings.objects, Path::new("/base/objects"));
        assert_eq!(settings.vectors, Path::new("/base/vectors"));
        assert_eq!(settings.text, Path::new("/base/text"));
        assert_eq!(settings.metrics, Place::Local("/base/metrics".into()));
        assert_eq!(settings.listen.port(), 7210);
        assert!(settings.listen.ip().is_loopback());
        assert_eq!(settings.slots.len(), 2);
    }

    #[test]
    fn what_a_file_does_not_say_has_its_default() {
        assert_eq!(parse("", &[]).unwrap(), parse(DEFAULT, &[]).unwrap());
        let own = parse("[server]\nlisten = \"127.0.0.1:1\"\n[stores]\nrecord = \"local:r\"", &[]).unwrap();
        assert_eq!((own.listen.port(), own.record), (1, Record::Local("/base/r".into())));
        assert_eq!(own.audit_directory, Path::new("/base/audit"));
    }

    #[test]
    fn a_variable_goes_before_the_file_and_a_misspelled_one_is_refused() {
        let settings =
            parse(DEFAULT, &[("NEPHKEEP_RECORD", "local:///other"), ("NEPHKEEP_KEY_SLOTS", "/x:/y:/z")]).unwrap();
        assert_eq!(settings.record, Record::Local("/other".into()));
        assert_eq!(settings.slots.len(), 3);
        assert_eq!(settings.audit_keep_months, 84);
        let settings = parse(DEFAULT, &[("NEPHKEEP_AUDIT_KEEP_MONTHS", "120")]).unwrap();
        assert_eq!(settings.audit_keep_months, 120);
        for wrong in ["0", "1201", "7y"] {
            let error = parse(DEFAULT, &[("NEPHKEEP_AUDIT_KEEP_MONTHS", wrong)]).unwrap_err();
            assert_eq!(error.code(), "settings-malformed", "{wrong}");
        }
        let variables = [("NEPHKEEP_METRICS", "none"), ("NEPHKEEP_PROMETHEUS", "bin/prometheus")];
        let settings = parse(DEFAULT, &variables).unwrap();
        assert_eq!((settings.metrics, settings.prometheus), (Place::None, Some("/base/bin/prometheus".into())));
        assert_eq!(parse(DEFAULT, &[("NEPHKEEP_LISTNE", "x")]).unwrap_err().code(), "settings-variable-unknown");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let cases = [
            ("local:record", "sqlite:record", "settings-store-unsupported"),
            ("local:record", "postgres://u:secret@h/d", "secret-in-settings"),
            ("local:record", "postgres://u@h/d?password=x", "secret-in-settings"),
            ("file:objects", "s3://bucket", "settings-store-unsupported"),
            ("prometheus+local:metrics", "influx://host", "settings-store-unsupported"),
            ("prometheus+local:metrics", "prometheus+http://u:secret@h", "secret-in-settings"),
            ("keystore/b", "keystore/a", "settings-keys-single"),
            ("127.0.0.1:7210", "7210", "settings-malformed"),
            ("[audit]", "[audti]", "settings-malformed"),
        ];
        for (from, to, code) in cases {
            let error = parse(&DEFAULT.replace(from, to), &[]).unwrap_err();
            assert_eq!(error.code(), code, "{to}");
            assert!(!error.to_string().contains("secret@"), "{error}");
        }
        let postgres = parse(&DEFAULT.replace("local:record", "postgres://u@h/d"), &[]).unwrap();
        assert!(matches!(postgres.record, Record::Postgres { .. }));
    }
}
