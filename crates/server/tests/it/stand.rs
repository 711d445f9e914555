//! A server on a fresh record, and a client that speaks HTTP to it.

use audit::TransparencyLog;
use http::{HeaderMap, Method, StatusCode};
use keys::Keystore;
use ledger::{Ledger, connection::Connector};
use relay::{
    Engine, KeystoreKeys, Relay, Slots,
    events::{Events, Topics, topics::BUILT_IN},
    knowledge::ToTexts,
};
use serde_json::Value;
use server::{Limits, Parts, Server, Settings, sinks};
use std::{path::PathBuf, sync::Arc, time::Duration};
use stores::{
    embed::{Embedder, HashEmbedder, WideHashEmbedder},
    metrics::Tier,
    text::TextCopy,
    vectors::{Basis, CopyKeys, Policy, VectorCopy},
};
use testkit::postgresql;
use tokio::{sync::oneshot, task::JoinHandle};

/// What a follower names.
pub const LEADER: &str = "http://leader.example:7";
pub const TMF: &str = "/tmf-api/intentManagement/v5";

pub struct Stand {
    pub base: String,
    pub admin: String,
    pub app: server::App,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
    database: String,
    /// Its own, and that of the keystore.
    directories: Vec<tempfile::TempDir>,
}

pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self
    }
    /// A TMF630 error body with this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let body = self.json();
        assert_eq!((body["code"].as_str(), body["@type"].as_str()), (Some(code), Some("Error")), "{body}");
        assert_eq!(body["status"], status.to_string());
        assert!(body["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{body}");
        body
    }
}

pub struct Ask {
    method: Method,
    path: String,
    request: reqwest::RequestBuilder,
    token: Option<String>,
}

impl Ask {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }
    pub fn token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }
    pub fn anonymous(mut self) -> Self {
        self.token = None;
        self
    }
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }
    pub fn body(mut self, kind: &str, body: impl Into<reqwest::Body>) -> Self {
        self.request = self.request.header("content-type", kind).body(body);
        self
    }
    pub async fn send(self) -> Reply {
        let request = match self.token {
            Some(token) => self.request.bearer_auth(token),
            None => self.request,
        };
        let response = request.send().await.unwrap();
        let reply = Reply {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        };
        crate::official::check(&self.method, &self.path, &reply);
        reply
    }
}

fn no_series() -> Tier {
    Tier::nowhere("prometheus-missing", "none was asked for".to_owned())
}

impl Stand {
    pub async fn new() -> Self {
        Self::with(Limits { watch_wait: Duration::from_secs(5), ..Limits::default() }).await
    }

    pub async fn with(limits: Limits) -> Self {
        Self::with_series(limits, no_series()).await
    }

    pub async fn with_series(limits: Limits, series: Tier) -> Self {
        let directory = postgresql::directory();
        let (keystore, _) = Keystore::create(&keys::Settings::under(&directory.path().join("keys"))).unwrap();
        Self::open(
            postgresql::url_of(&postgresql::database().await),
            Arc::new(keystore),
            limits,
            None,
            directory,
            series,
        )
        .await
    }

    /// A second server on the same record; it follows as long as this one leads.
    pub async fn beside(&self) -> Self {
        let (database, keystore) = (self.database.clone(), Arc::clone(&self.app.keystore));
        Self::open(
            database,
            keystore,
            self.app.limits.clone(),
            Some(self.admin.clone()),
            postgresql::directory(),
            no_series(),
        )
        .await
    }

    /// Stops, and starts again on the same record, with the same limits.
    pub async fn again(mut self) -> Self {
        let (database, keystore) = (self.database.clone(), Arc::clone(&self.app.keystore));
        let (limits, admin) = (self.app.limits.clone(), self.admin.clone());
        let mut directories = std::mem::take(&mut self.directories);
        self.stop().await;
        let mut again = Self::open(database, keystore, limits, Some(admin), postgresql::directory(), no_series()).await;
        again.directories.append(&mut directories);
        again
    }

    async fn open(
        database: String,
        keystore: Arc<Keystore>,
        limits: Limits,
        admin: Option<String>,
        directory: tempfile::TempDir,
        series: Tier,
    ) -> Self {
        let audit = Arc::new(TransparencyLog::open(&directory.path().join("log")).unwrap());
        let settings = ledger::Settings {
            holder_url: Some(LEADER.to_owned()),
            change_partition: 10_000,
            without_durability: true,
            ..ledger::Settings::default()
        };
        let connector = Connector::new(&database.parse().unwrap()).unwrap();
        let ledger = Ledger::open(settings, connector, Arc::clone(&keystore), Arc::clone(&audit)).await.unwrap();
        let series = Arc::new(series);
        let keys: Arc<dyn CopyKeys> = Arc::new(KeystoreKeys(Arc::clone(&keystore)));
        let engine: Engine = Arc::new(move |directory, embedder| {
            let (model, dimensions, keys) = (embedder.model().into(), embedder.dimensions(), Arc::clone(&keys));
            VectorCopy::new(directory, Basis { model, dimensions, keys, policy: Policy::default() })
        });
        let texts = TextCopy::new(&directory.path().join("text"), ());
        let slots = Slots::new(&directory.path().join("vectors"), engine);
        let embedders: Vec<Arc<dyn Embedder>> = vec![Arc::new(HashEmbedder), Arc::new(WideHashEmbedder)];
        let relay = Arc::new(Relay::with_vectors(&ledger, slots, embedders, vec![(texts, Arc::new(ToTexts))]).unwrap());
        relay.start();
        let events = Arc::new(Events::new(&ledger, Topics::read(BUILT_IN).unwrap()));
        let parts = Parts { ledger, keystore, audit, relay, events, series };
        let listen = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(Settings { listen, limits, sinks: sinks::Policy::default() }, parts).await.unwrap();
        let first = server.bootstrap().await.unwrap().map(|issued| issued.token.reveal().to_owned());
        let admin = admin.or(first).expect("a fresh record has no principal");
        let (base, app) = (format!("http://{}", server.address()), server.app().clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move { server.serve(async { drop(stopped.await) }).await.unwrap() });
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { base, admin, app, client, stop: Some(stop), served, database, directories: vec![directory] }
    }

    pub fn ask(&self, method: Method, path: &str) -> Ask {
        let request = self.client.request(method.clone(), format!("{}{path}", self.base));
        Ask { method, path: path.to_owned(), request, token: Some(self.admin.clone()) }
    }
    pub fn get(&self, path: &str) -> Ask {
        self.ask(Method::GET, path)
    }
    pub fn post(&self, path: &str) -> Ask {
        self.ask(Method::POST, path)
    }
    pub fn patch(&self, path: &str) -> Ask {
        self.ask(Method::PATCH, path)
    }
    pub fn put(&self, path: &str) -> Ask {
        self.ask(Method::PUT, path)
    }
    pub fn delete(&self, path: &str) -> Ask {
        self.ask(Method::DELETE, path)
    }
    /// The token of a new principal of the home tenant.
    pub async fn principal(&self, name: &str, roles: &[&str]) -> String {
        let body = serde_json::json!({ "name": name, "roles": roles });
        let made = self.post("/api/v1/principals").json(&body).send().await.expect(201);
        made.json()["token"].as_str().unwrap().to_owned()
    }

    /// A minimal intent; returns its id.
    pub async fn intent(&self, name: &str) -> String {
        let made = self.post(&format!("{TMF}/intent")).json(&intent(name)).send().await.expect(201);
        made.json()["id"].as_str().unwrap().to_owned()
    }

    /// Stops politely; everything it waited for must end.
    /// The file of a generation of the vector copy.
    pub fn vectors(&self, generation: u64) -> PathBuf {
        self.directories[0].path().join(format!("vectors/generation-{generation}.vectors"))
    }

    /// The directory of a generation of the text copy.
    pub fn texts(&self, generation: u64) -> PathBuf {
        self.directories[0].path().join(format!("text/generation-{generation}"))
    }

    pub async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.served).await.unwrap();
        self.app.relay.close().await;
        self.app.ledger.close().await;
    }
}

pub fn intent(name: &str) -> Value {
    serde_json::json!({
        "@type": "Intent",
        "name": name,
        "expression": { "@type": "JsonLdExpression", "iri": "urn:example:intent", "expressionValue": { "iccid": 8944500102198304826_u64 } },
    })
}
