//! The metrics tier: whatever keeps the samples, behind writes, reads and a status.

use super::{
    contract::Retention,
    engine::{Engine, Login, Version, whole},
    local::{Local, LocalOptions},
    metadata::Metadata,
    place::Place,
    query::{Answering, MetricQuery, Series, Span, data, series},
    scope,
    write::{self, Batches, Counts, Protocol, Refusal, send},
};
use bytes::Bytes;
use model::{Error, Result, Tenant};
use parking_lot::Mutex;
use serde::Serialize;
use std::time::Duration;
use supervisor::State;
use tokio::sync::{OnceCell, watch};

/// Larger bodies are taken apart where blocking is allowed.
const INLINE_BYTES: usize = 256 << 10;
const READ_LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub struct Options {
    pub local: LocalOptions,
    /// For a server elsewhere.
    pub login: Option<String>,
}

/// How an engine is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EngineStatus {
    pub class: &'static str,
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    pub restarts: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// `local`, `remote`, `unavailable` or `off`.
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the engine is written to in, whatever the sender used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_write: Option<&'static str>,
    pub engines: Vec<EngineStatus>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of one remote write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    pub written: Counts,
    pub refused: Counts,
    /// Of the refused: those that were only in the company of an offender when the search for it was given up.
    pub unsorted: Counts,
    /// The first reason for a refusal.
    pub why: String,
}

/// Answers of several engines as one.
#[derive(Debug, Default)]
pub struct Merged {
    pub data: Vec<serde_json::Value>,
    pub warnings: Vec<String>,
}

#[derive(Debug)]
enum Kept {
    Here { states: [watch::Receiver<State>; 2], version: Version, program: String, token: String },
    Elsewhere { version: OnceCell<Version> },
    Nowhere { code: &'static str, reason: String },
}

#[derive(Debug)]
pub struct Tier {
    kept: Kept,
    /// By class; the same one twice when it is elsewhere, none when there is none.
    engines: Vec<(Retention, Engine)>,
    local: Mutex<Option<Local>>,
    metadata: Metadata,
}

impl Tier {
    /// A missing or refused engine is no reason not to start: the tier is unavailable and says why.
    #[must_use]
    pub fn open(place: &Place, options: Options) -> Self {
        match Self::try_open(place, options) {
            Ok(tier) => tier,
            Err(error) => {
                tracing::warn!(code = error.code(), "metrics are unavailable: {error}");
                Self::nowhere(error.code(), error.to_string())
            }
        }
    }

    /// Keeps nothing.
    #[must_use]
    pub fn nowhere(code: &'static str, reason: String) -> Self {
        let kept = Kept::Nowhere { code, reason };
        Self { kept, engines: Vec::new(), local: Mutex::default(), metadata: Metadata::default() }
    }

    fn try_open(place: &Place, options: Options) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build();
        let http = http.map_err(|error| Error::bug("an HTTP client cannot be made").caused_by(error))?;
        let (kept, engines, local) = match place {
            Place::Local(directory) => {
                let local = Local::begin(directory, options.local, &http)?;
                let kept = Kept::Here {
                    states: Retention::ALL.map(|class| local.state(class)),
                    version: local.version().clone(),
                    program: local.program().display().to_string(),
                    token: local.scrape_token().to_owned(),
                };
                (kept, Retention::ALL.map(|class| (class, local.engine(class).clone())).to_vec(), Some(local))
            }
            Place::Remote { base, write } => {
                let login = options.login.map_or(Login::None, Login::Bearer);
                let engine = Engine::new(http, base, write.as_deref(), login, false);
                let engines = vec![(Retention::Governed, engine)];
                (Kept::Elsewhere { version: OnceCell::new() }, engines, None)
            }
            Place::None => {
                let reason = "the settings keep no metrics (stores.metrics = \"none\")".to_owned();
                (Kept::Nowhere { code: "metrics-off", reason }, Vec::new(), None)
            }
        };
        Ok(Self { kept, engines, local: Mutex::new(local), metadata: Metadata::default() })
    }

    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What our own engines scrape `/metrics` with.
    #[must_use]
    pub fn scrape_token(&self) -> Option<&str> {
        if let Kept::Here { token, .. } = &self.kept { Some(token) } else { None }
    }

    /// For drills and tests that kill an engine.
    #[must_use]
    pub fn pid(&self, class: Retention) -> Option<i32> {
        self.local.lock().as_ref().and_then(|local| local.pid(class))
    }

    /// Each change of an engine's state, where it is ours.
    #[must_use]
    pub fn watch(&self, class: Retention) -> Option<watch::Receiver<State>> {
        match &self.kept {
            Kept::Here { states, .. } => Some(states[usize::from(class == Retention::Platform)].clone()),
            _ => None,
        }
    }

    pub async fn status(&self) -> Status {
        let (kind, program, version, reason) = match &self.kept {
            Kept::Here { version, program, .. } => ("local", Some(program.clone()), Some(version.clone()), None),
            Kept::Elsewhere { .. } => {
                let found = self.version().await;
                ("remote", None, found.as_ref().ok().cloned(), found.err().map(|error| error.to_string()))
            }
            Kept::Nowhere { code, reason } => {
                (if *code == "metrics-off" { "off" } else { "unavailable" }, None, None, Some(reason.clone()))
            }
        };
        let remote_write = version.as_ref().map(|version| match version.understands().protocol {
            Protocol::V1 => "1.0",
            Protocol::V2 => "2.0",
        });
        let version = version.map(|version| version.text);
        Status { kind, program, version, remote_write, engines: self.states(), reason }
    }

    /// How our own engines are; nothing where they are not ours.
    #[must_use]
    pub fn states(&self) -> Vec<EngineStatus> {
        let Kept::Here { states, .. } = &self.kept else { return Vec::new() };
        Retention::ALL.iter().zip(states).map(|(class, state)| told(*class, &state.borrow())).collect()
    }

    async fn version(&self) -> Result<Version> {
        match &self.kept {
            Kept::Here { version, .. } => Ok(version.clone()),
            Kept::Elsewhere { version } => {
                let engine = self.engine(Retention::Governed)?;
                version.get_or_try_init(|| engine.version()).await.cloned()
            }
            Kept::Nowhere { .. } => self.engine(Retention::Governed).map(|_| Version::parse("")),
        }
    }

    /// The engine of a class, if it can be asked now.
    fn engine(&self, class: Retention) -> Result<&Engine> {
        let unavailable = |reason: &str| {
            let what = "metrics are unavailable: there is no engine that answers; `nephkeep status` shows why";
            Err(Error::retry("metrics-unavailable", what).with("reason", reason))
        };
        match &self.kept {
            Kept::Nowhere { code, .. } => unavailable(code),
            Kept::Here { states, .. } => match &*states[usize::from(class == Retention::Platform)].borrow() {
                State::Ready { .. } => Ok(&self.engines[usize::from(class == Retention::Platform)].1),
                State::Starting => unavailable("starting"),
                State::Down { .. } => unavailable("down"),
                State::Stopped => unavailable("stopped"),
            },
            Kept::Elsewhere { .. } => Ok(&self.engines[0].1),
        }
    }

    /// Stores a remote write of a tenant.
    pub async fn write(&self, tenant: &Tenant, protocol: Protocol, body: Bytes) -> Result<Written> {
        let understands = self.version().await?.understands();
        let batches = if body.len() > INLINE_BYTES {
            let tenant = tenant.clone();
            let apart = move || write::decode(protocol, &body, &tenant, understands);
            tokio::task::spawn_blocking(apart).await.map_err(|e| Error::bug("decoding ended badly").caused_by(e))??
        } else {
            write::decode(protocol, &body, tenant, understands)?
        };
        let Batches { by_class, refused, described, .. } = batches;
        let Refusal { counts, first, .. } = refused;
        let mut done = Written { refused: counts, why: first, ..Written::default() };
        // All engines first: half a body is stored only where an engine fails in the middle.
        let targets = by_class.iter().map(|(class, batch)| Ok((self.engine(*class)?, batch)));
        for (engine, batch) in targets.collect::<Result<Vec<_>>>()? {
            let sent = send::send(engine, batch).await?;
            done.written.add(sent.written);
            done.refused.add(sent.refused);
            done.unsorted.add(sent.unsorted);
            if done.why.is_empty() {
                done.why = sent.why;
            }
        }
        self.metadata.learn(tenant, &described);
        Ok(done)
    }

    /// Asks for an expression limited to a tenant; the engine's answer goes on as it comes.
    pub async fn expression(
        &self,
        path: &str,
        tenant: &Tenant,
        query: &str,
        mut parameters: Vec<(String, String)>,
        limit: Duration,
    ) -> Result<reqwest::Response> {
        let scoped = scope::expression(query, tenant)?;
        parameters.push(("query".to_owned(), scoped.text));
        // Thanos and its kin answer with what they have unless told not to.
        parameters.push(("partial_response".to_owned(), "false".to_owned()));
        self.engine(scoped.reach.class())?.ask(path, &parameters, limit).await
    }

    /// For this process itself, never for a caller: an expression over the governed series of all tenants.
    pub async fn of_all(&self, query: &str) -> Result<Vec<Series>> {
        let parameters = [("query".to_owned(), query.to_owned())];
        let response = self.engine(Retention::Governed)?.ask("query", &parameters, READ_LIMIT).await?;
        series(&data(&whole(response).await?)?)
    }

    /// Asks for series, label names or values of a tenant, of every engine.
    pub async fn selected(
        &self,
        path: &str,
        tenant: &Tenant,
        selectors: &[String],
        mut parameters: Vec<(String, String)>,
        limit: Duration,
    ) -> Result<Merged> {
        let scoped = selectors.iter().map(|selector| scope::selector(selector, tenant)).collect::<Result<Vec<_>>>()?;
        let scoped = if scoped.is_empty() { vec![scope::everything(tenant)] } else { scoped };
        parameters.extend(scoped.into_iter().map(|selector| ("match[]".to_owned(), selector)));
        parameters.push(("partial_response".to_owned(), "false".to_owned()));
        let mut merged = self.every(path, &parameters, limit).await?;
        merged.data = merged.data.into_iter().flat_map(items).collect();
        if path != "series" {
            merged.data.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            merged.data.dedup();
        }
        Ok(merged)
    }

    /// The data of one endpoint of every engine.
    pub async fn every(&self, path: &str, parameters: &[(String, String)], limit: Duration) -> Result<Merged> {
        let classes: &[Retention] = if self.engines.len() > 1 { &Retention::ALL } else { &[Retention::Governed] };
        let mut merged = Merged::default();
        for class in classes {
            let engine = self.engine(*class)?;
            let response = engine.ask(path, parameters, limit).await?;
            let body = whole(response).await?;
            let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            // The governed engine cannot ask the platform's for labels, which is why both are asked here.
            let known = |said: &&str| *said == "not implemented" && engine.is_local();
            let warned = answer["warnings"].as_array().into_iter().flatten().filter_map(|said| said.as_str());
            let warned = warned.filter(|said| !known(said));
            merged.warnings.extend(warned.map(str::to_owned));
            match data(&body) {
                Err(error) if error.code() == "metrics-incomplete" => merged.data.push(answer["data"].clone()),
                data => merged.data.push(data?),
            }
        }
        Ok(merged)
    }

    /// Stops engines of ours.
    pub async fn stop(&self) -> Result<()> {
        let local = self.local.lock().take();
        match local {
            Some(local) => local.stop().await,
            None => Ok(()),
        }
    }

    async fn read(
        &self,
        path: &str,
        tenant: &Tenant,
        query: &str,
        parameters: Vec<(String, String)>,
    ) -> Result<Vec<Series>> {
        let response = self.expression(path, tenant, query, parameters, READ_LIMIT).await?;
        series(&data(&whole(response).await?)?)
    }
}

fn items(data: serde_json::Value) -> Vec<serde_json::Value> {
    if let serde_json::Value::Array(items) = data { items } else { Vec::new() }
}

fn told(class: Retention, state: &State) -> EngineStatus {
    let (state, pid, restarts, reason) = match state {
        State::Starting => ("starting", None, 0, None),
        State::Ready { pid, restarts } => ("ready", Some(*pid), *restarts, None),
        State::Down { restarts, reason } => ("down", None, *restarts, Some(reason.clone())),
        State::Stopped => ("stopped", None, 0, None),
    };
    EngineStatus { class: class.as_str(), state, pid, restarts, reason }
}

impl MetricQuery for Tier {
    fn query<'a>(&'a self, tenant: &'a Tenant, query: &'a str, at: Option<f64>) -> Answering<'a, Vec<Series>> {
        let parameters = at.map(|at| ("time".to_owned(), format!("{at:.3}"))).into_iter().collect();
        Box::pin(self.read("query", tenant, query, parameters))
    }

    fn query_range<'a>(&'a self, tenant: &'a Tenant, query: &'a str, span: Span) -> Answering<'a, Vec<Series>> {
        let parameters = [("start", span.start), ("end", span.end), ("step", span.step)];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), format!("{value:.3}"))).to_vec();
        Box::pin(self.read("query_range", tenant, query, parameters))
    }

    fn label_values<'a>(
        &'a self,
        tenant: &'a Tenant,
        label: &'a str,
        selectors: &'a [String],
    ) -> Answering<'a, Vec<String>> {
        Box::pin(async move {
            let path = format!("label/{label}/values");
            let merged = self.selected(&path, tenant, selectors, Vec::new(), READ_LIMIT).await?;
            match merged.warnings.into_iter().next() {
                Some(said) => {
                    Err(Error::retry("metrics-incomplete", "a part of the metrics could not be read")
                        .with("said", said))
                }
                None => Ok(merged.data.iter().filter_map(|value| value.as_str()).map(str::to_owned).collect()),
            }
        })
    }
}
