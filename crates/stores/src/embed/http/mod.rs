//! An embedder behind OpenAI's `POST /v1/embeddings`, which many servers speak.
//!
//! Texts leave this machine: only over TLS unless they stay on it, and only up to the class that is allowed. What comes
//! back is not trusted: another model, other dimensions, what is not a number and answers cut short are refused. What
//! can pass (429, 5xx, a lost connection) is tried again a few times, with growing pauses and not before the server said;
//! then the caller is told, whose own pause is longer. Nothing that the server says of a text or of our key reaches a log.

mod ask;
mod key;
mod pace;

use super::{Embedder, has_words};
use ask::{Asked, Failed};
pub use key::{ApiKey, Key};
use model::{Class, Error, ErrorKind, Result};
use pace::Pace;
use reqwest::Url;
use std::{
    net::IpAddr,
    sync::{Arc, mpsc},
    time::Duration,
};
use tokio::{runtime::Handle, sync::watch};

const CONNECT: Duration = Duration::from_secs(10);
/// Of the texts of one request.
const REQUEST_BYTES: usize = 512 << 10;
const MODEL_MAX_BYTES: usize = 160;
pub const DIMENSIONS_MAX: usize = 16_384;
/// Asked when a text was refused: is it the text, or would every one be?
const PROBE: &str = "handover";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpOptions {
    /// `https://host/v1`: what `/embeddings` stands behind.
    pub url: String,
    pub model: String,
    pub dimensions: usize,
    /// What the server calls the model in its answers, where that is another name.
    pub answers_as: Option<String>,
    /// Asks for this many dimensions: models that can be cut take it, other servers refuse it.
    pub asks_dimensions: bool,
    pub key: Key,
    /// Texts of one request, and requests at a time.
    pub batch: usize,
    pub lanes: usize,
    /// 0: as many as are asked for.
    pub requests_per_minute: u32,
    pub timeout: Duration,
    /// The first pause; each further one is twice as long.
    pub pause: Duration,
    pub class_max: Class,
}

impl HttpOptions {
    #[must_use]
    pub fn new(url: &str, model: &str, dimensions: usize) -> Self {
        Self {
            url: url.to_owned(),
            model: model.to_owned(),
            dimensions,
            answers_as: None,
            asks_dimensions: false,
            key: Key::None,
            batch: 64,
            lanes: 2,
            requests_per_minute: 0,
            timeout: Duration::from_secs(30),
            pause: Duration::from_millis(500),
            class_max: Class::Internal,
        }
    }

    /// What `/embeddings` stands behind, checked.
    pub fn endpoint(&self) -> Result<Url> {
        let malformed = |what: &str| Error::invalid("settings-malformed", what).with("setting", "embedder");
        let url = Url::parse(&format!("{}/embeddings", self.url.trim_end_matches('/')));
        let url = url.map_err(|_| malformed("embedder.url reads like https://host/v1, or hash:384"))?;
        if !url.username().is_empty() || url.password().is_some() {
            let what =
                "embedder.url holds a password; put the key into a file of mode 0600 and name it in embedder.key_file";
            return Err(Error::invalid("secret-in-settings", what));
        }
        let host = url.host_str().unwrap_or_default();
        let here = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
        match url.scheme() {
            "https" => {}
            "http" if here => {}
            _ => {
                return Err(malformed(
                    "an embedder outside this machine needs https: texts of the record are sent to it",
                ));
            }
        }
        if self.model.is_empty() || self.model.len() > MODEL_MAX_BYTES || self.model.chars().any(char::is_control) {
            return Err(malformed("embedder.model is the name of a model, of 1 to 160 bytes"));
        }
        if self.dimensions == 0 || self.dimensions > DIMENSIONS_MAX {
            return Err(malformed("embedder.dimensions says how many numbers a vector of the model has, 1 to 16384"));
        }
        Ok(url)
    }
}

#[derive(Debug)]
pub struct HttpEmbedder {
    shared: Arc<Shared>,
    id: String,
    host: String,
    runtime: Handle,
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Shared {
    client: reqwest::Client,
    url: Url,
    options: HttpOptions,
    pace: Pace,
}

/// How long somebody is ready to wait.
#[derive(Debug, Clone, Copy)]
struct Patience {
    tries: u32,
    /// For a turn; a longer pause is the caller's to make.
    pause: Duration,
    answer: Duration,
}

impl HttpEmbedder {
    /// Its requests run on the runtime that this is called on.
    pub fn new(options: HttpOptions) -> Result<Self> {
        let url = options.endpoint()?;
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .user_agent(concat!("nephkeep/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::bug("an HTTP client cannot be made").caused_by(error))?;
        let id = format!("{}/{}", options.model, options.dimensions);
        let host = url.host_str().unwrap_or_default().to_owned();
        let pace = Pace::new(options.requests_per_minute);
        let shared = Arc::new(Shared { client, url, options, pace });
        Ok(Self { shared, id, host, runtime: Handle::current(), stop: watch::Sender::new(false) })
    }

    /// On the runtime, while this thread waits: it is one that may.
    fn asked(&self, texts: Vec<String>, patience: Patience) -> Result<Vec<Vec<f32>>> {
        let (reply, answer) = mpsc::sync_channel(1);
        let (shared, mut stop) = (Arc::clone(&self.shared), self.stop.subscribe());
        self.runtime.spawn(async move {
            let answered = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => Err(stopping()),
                answered = shared.answered(&texts, patience) => answered,
            };
            // Who does not wait any more needs no answer.
            let _gone = reply.send(answered);
        });
        // The runtime is gone: so is everybody who would be told.
        answer.recv().unwrap_or_else(|_| Err(stopping()))
    }

    fn embedded(&self, texts: &[&str], patience: Patience) -> Result<Vec<Vec<f32>>> {
        let options = &self.shared.options;
        let mut vectors = vec![vec![0.0; options.dimensions]; texts.len()];
        let mut wanted = (0..texts.len()).filter(|at| has_words(texts[*at])).peekable();
        while wanted.peek().is_some() {
            let (mut places, mut bytes) = (Vec::new(), 0);
            while let Some(at) = wanted.next_if(|at| {
                places.is_empty() || (places.len() < options.batch && bytes + texts[*at].len() <= REQUEST_BYTES)
            }) {
                bytes += texts[at].len();
                places.push(at);
            }
            let asked = places.iter().map(|at| texts[*at].to_owned()).collect();
            for (at, vector) in places.into_iter().zip(self.asked(asked, patience)?) {
                vectors[at] = vector;
            }
        }
        Ok(vectors)
    }
}

fn stopping() -> Error {
    Error::retry("stopping", "the server stops; what was asked of the embedder is left undone")
}

impl Embedder for HttpEmbedder {
    fn model(&self) -> &str {
        &self.id
    }
    fn dimensions(&self) -> usize {
        self.shared.options.dimensions
    }
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let answer = self.shared.options.timeout;
        self.embedded(texts, Patience { tries: 4, pause: Duration::from_secs(10), answer })
    }
    fn question(&self, text: &str) -> Result<Vec<f32>> {
        let answer = self.shared.options.timeout.min(Duration::from_secs(10));
        let found = self.embedded(&[text], Patience { tries: 2, pause: Duration::from_secs(2), answer })?.pop();
        found.ok_or_else(|| Error::bug("an embedder gave no vector for a question"))
    }
    fn kind(&self) -> String {
        format!("semantic, at {}", self.host)
    }
    fn is_kept(&self) -> bool {
        true
    }
    fn class_max(&self) -> Class {
        self.shared.options.class_max
    }
    fn pace(&self) -> (usize, usize) {
        (self.shared.options.batch, self.shared.options.lanes)
    }
    fn close(&self) {
        self.stop.send_replace(true);
    }
}

impl Shared {
    async fn answered(&self, texts: &[String], patience: Patience) -> Result<Vec<Vec<f32>>> {
        match self.tried(texts, patience).await {
            // One text alone: is it the text?
            Err(error) if error.kind() == ErrorKind::Invalid && texts.len() == 1 => {
                match self.tried(&[PROBE.to_owned()], patience).await {
                    Err(probe) if probe.kind() == ErrorKind::Invalid => {
                        let what =
                            "the embedder refuses every text as we send it; check embedder.url, model and dimensions";
                        Err(Error::conflict("embedder-settings", what).caused_by(probe))
                    }
                    Err(probe) => Err(probe),
                    Ok(_) => Err(error),
                }
            }
            answered => answered,
        }
    }

    async fn tried(&self, texts: &[String], patience: Patience) -> Result<Vec<Vec<f32>>> {
        let mut pause = self.options.pause;
        for left in (0..patience.tries).rev() {
            self.pace.turn(patience.pause).await?;
            match (Asked { shared: self, texts }).once(patience.answer).await {
                Ok(vectors) => return Ok(vectors),
                Err(Failed { error, after }) => {
                    if error.kind() != ErrorKind::Retry {
                        return Err(error);
                    }
                    self.pace.hold(after.unwrap_or(pause));
                    if left == 0 {
                        return Err(error);
                    }
                    pause *= 2;
                }
            }
        }
        Err(Error::bug("an embedder is asked at least once"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn texts_go_over_tls_or_stay_on_this_machine_and_no_key_is_printed() {
        let code =
            |url: &str| HttpOptions::new(url, "m", 3).endpoint().map(|url| url.to_string()).map_err(|e| e.code());
        assert_eq!(code("https://api.example.com/v1/").unwrap(), "https://api.example.com/v1/embeddings");
        for here in ["http://127.0.0.1:9/v1", "http://[::1]:9/v1", "http://localhost/v1"] {
            assert!(code(here).is_ok(), "{here}");
        }
        for (bad, why) in [
            ("http://api.example.com/v1", "settings-malformed"),
            ("http://127.0.0.1.example.com/v1", "settings-malformed"),
            ("ftp://h/v1", "settings-malformed"),
            ("nonsense", "settings-malformed"),
            ("https://u:p@h/v1", "secret-in-settings"),
        ] {
            assert_eq!(code(bad).unwrap_err(), why, "{bad}");
        }
        let mut options = HttpOptions::new("https://h/v1", "m", 3);
        options.key = Key::Given(ApiKey::read("sk-secret\n").unwrap());
        assert!(!format!("{options:?}").contains("secret"));
    }
}
