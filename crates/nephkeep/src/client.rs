//! The command line's own HTTP client. Finds the server and the credential of a directory by itself.

use crate::{credential, exit::Outcome, layout::Layout, pages, running};
use futures_util::StreamExt;
use model::{Error, ErrorKind, Json, Result};
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::Value;
use std::{collections::BTreeSet, path::PathBuf, sync::Mutex, time::Duration};

/// Where and as whom; the options every verb that talks to a server has.
#[derive(Debug, Clone, Default)]
pub struct Target {
    pub directory: Option<PathBuf>,
    pub url: Option<String>,
    pub credential_file: Option<PathBuf>,
    pub purpose: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    purpose: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(&'static str, String)>,
    body: Option<bytes::Bytes>,
}

#[derive(Debug)]
pub struct Answer {
    pub headers: HeaderMap,
    pub text: String,
}

const REDIRECTS_MAX: usize = 4;

impl Call {
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: Vec::new(), headers: Vec::new(), body: None }
    }
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }
    #[must_use]
    pub fn query(mut self, name: &str, value: impl ToString) -> Self {
        self.query.push((name.to_owned(), value.to_string()));
        self
    }
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
    #[must_use]
    pub fn json(self, value: &Value) -> Self {
        self.body("application/json", value.to_string().into_bytes())
    }
    #[must_use]
    pub fn body(mut self, media_type: &str, bytes: impl Into<bytes::Bytes>) -> Self {
        self.body = Some(bytes.into());
        self.header("content-type", media_type)
    }
}

impl Answer {
    pub fn value(&self) -> Result<Value> {
        serde_json::from_str(&self.text)
            .map_err(|error| Error::corrupt("answer-malformed", "the server's answer is not JSON").caused_by(error))
    }
    /// As our own value: numbers keep their digits.
    pub fn json(&self) -> Result<Json> {
        model::json::parse(self.text.as_bytes())
            .map_err(|error| Error::corrupt("answer-malformed", "the server's answer is not JSON").caused_by(error))
    }
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Client {
    /// An explicit URL, else the server that runs on the directory.
    pub fn find(target: &Target) -> Outcome<Self> {
        let layout = Layout::find(target.directory.as_deref())?;
        let url = match &target.url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => running::look(&layout)?.ok_or_else(|| not_running(&layout))?.url,
        };
        let file = target.credential_file.clone().unwrap_or_else(|| layout.credential());
        let token = credential::read(&file)?.token;
        Ok(Self::new(url, Some(token), target.purpose.clone())?)
    }

    pub fn new(base: String, token: Option<String>, purpose: Option<String>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .pool_max_idle_per_host(256)
            .user_agent(concat!("nephkeep/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .build()
            .map_err(|error| Error::bug("the HTTP client cannot be made").caused_by(error))?;
        Ok(Self { http, base, token, purpose })
    }

    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends, follows a follower's 307 to the leader, and turns a problem body into an error.
    pub async fn send(&self, call: Call) -> Result<Answer> {
        let response = self.open(call, Some(Duration::from_secs(90))).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.map_err(|error| unreachable_server(&self.base, error))?;
        if status.is_success() { Ok(Answer { headers, text }) } else { Err(problem(status, &headers, &text)) }
    }

    /// Server-sent events: `each` gets the data of one event, and says whether to go on.
    pub async fn events(&self, call: Call, mut each: impl FnMut(&str) -> bool) -> Result<()> {
        let response = self.open(call.header("accept", "text/event-stream"), None).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        if !status.is_success() {
            let text = response.text().await.unwrap_or_default();
            return Err(problem(status, &headers, &text));
        }
        let mut stream = response.bytes_stream();
        let mut pending = Vec::new();
        while let Some(chunk) = stream.next().await {
            pending.extend_from_slice(&chunk.map_err(|error| unreachable_server(&self.base, error))?);
            while let Some(at) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=at).collect();
                let line = String::from_utf8_lossy(&line);
                if let Some(data) = line.strip_prefix("data:")
                    && !each(data.trim())
                {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn open(&self, call: Call, limit: Option<Duration>) -> Result<reqwest::Response> {
        let mut url = self.address(&call)?;
        for _ in 0..REDIRECTS_MAX {
            let response = self.request(&call, &url, limit).send().await;
            let response = response.map_err(|error| unreachable_server(&self.base, error))?;
            if response.status() != StatusCode::TEMPORARY_REDIRECT {
                return Ok(response);
            }
            url = leader(&response, &url)?;
        }
        Err(Error::retry("leader-unsettled", "the servers keep sending writers to one another; try again shortly"))
    }

    fn address(&self, call: &Call) -> Result<String> {
        let mut url = reqwest::Url::parse(&format!("{}{}", self.base, call.path)).map_err(|error| {
            let what = "the server's URL must read like http://127.0.0.1:7210";
            Error::invalid("url-malformed", what).with("url", &self.base).caused_by(error)
        })?;
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        Ok(url.into())
    }

    fn request(&self, call: &Call, url: &str, limit: Option<Duration>) -> reqwest::RequestBuilder {
        let mut request = self.http.request(call.method.clone(), url);
        if let Some(limit) = limit {
            request = request.timeout(limit);
        }
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(purpose) = &self.purpose {
            request = request.header("purpose", purpose);
        }
        match &call.body {
            Some(body) => request.body(body.clone()),
            None => request,
        }
    }
}

/// The address in a 307. A token goes to the same host only, whatever the port, or anywhere under TLS.
fn leader(response: &reqwest::Response, asked: &str) -> Result<String> {
    let location = response.headers().get("location").and_then(|value| value.to_str().ok());
    let unknown =
        || Error::retry("leader-unsettled", "this server does not lead and knows no leader; try again shortly");
    redirected(asked, location.ok_or_else(unknown)?)
}

fn redirected(asked: &str, location: &str) -> Result<String> {
    let base = reqwest::Url::parse(asked).ok();
    let target = base.as_ref().and_then(|base| base.join(location).ok());
    let safe = |target: &reqwest::Url| {
        let same_host =
            base.as_ref().is_some_and(|base| base.host() == target.host() && base.scheme() == target.scheme());
        same_host || target.scheme() == "https"
    };
    target.filter(safe).map(String::from).ok_or_else(|| {
        let what =
            "the leader is on another host and not under TLS, where no token is sent; ask it directly with --url";
        Error::refused("redirect-unsafe", what).with("location", crate::output::printable(location))
    })
}

fn not_running(layout: &Layout) -> Error {
    let what = "no nephkeep runs on this directory";
    Error::retry("server-not-running", what).with("directory", layout.root().display())
}

fn unreachable_server(base: &str, error: reqwest::Error) -> Error {
    let error = error.without_url();
    // reqwest tells what it did; why that failed stands at the end of the chain.
    let mut why: &(dyn std::error::Error + 'static) = &error;
    while let Some(source) = why.source() {
        why = source;
    }
    let why = why.to_string();
    Error::retry("server-unreachable", format!("the server does not answer: {why}")).with("url", base).caused_by(error)
}

/// What the server calls by its HTTP name has another one on the command line.
const OF_THE_DOOR: [(&str, &str); 2] = [
    ("GET /api/v1/copies lists them", "`nephkeep status` lists them"),
    ("the version of If-Match", "the version given with --if-version"),
];

/// A TMF630 error body, or one in Prometheus's own shape, as the error it was on the server. Interfaces with a body of
/// their own may name the code in a header.
fn problem(status: StatusCode, headers: &HeaderMap, text: &str) -> Error {
    let body: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let word = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or("");
    let kind = match status.as_u16() {
        401 | 403 => ErrorKind::Refused,
        404 | 410 => ErrorKind::NotFound,
        409 | 412 => ErrorKind::Conflict,
        429 | 502..=504 => ErrorKind::Retry,
        400..=499 => ErrorKind::Invalid,
        _ => ErrorKind::Bug,
    };
    let reason = [word("reason"), word("message"), word("error")].into_iter().find(|words| !words.is_empty());
    let ours = |reason: &str| OF_THE_DOOR.iter().fold(reason.to_owned(), |said, (door, ours)| said.replace(door, ours));
    let nobody = || format!("the server answered {status}, not as a nephkeep does: is this its address?");
    let mut message = reason.map_or_else(nobody, |reason| crate::output::printable(&ours(reason)));
    for (name, fact) in body.get("context").and_then(Value::as_object).into_iter().flatten() {
        let fact = fact.as_str().map_or_else(|| fact.to_string(), str::to_owned);
        message.push_str(&crate::output::printable(&format!(" [{name}: {fact}]")));
    }
    let beside = headers.get("error-code").and_then(|code| code.to_str().ok()).unwrap_or("");
    let of_the_engine = match word("errorType") {
        "bad_data" => "promql-malformed",
        "execution" => "promql-failed",
        "timeout" | "canceled" => "metrics-timeout",
        _ => "",
    };
    let code = [beside, word("code"), of_the_engine].into_iter().find(|code| !code.is_empty());
    match code.and_then(known) {
        Some(code) => Error::new(kind, code, message),
        None => Error::new(kind, "server-refused", message).with("status", status.as_u16()),
    }
}

/// A code as a string that lives as long as the program: codes of another version are kept too, a bounded number.
fn known(code: &str) -> Option<&'static str> {
    const OTHERS_MAX: usize = 256;
    static OTHERS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    if let Some((code, _)) = pages::find(code) {
        return Some(code);
    }
    let spelled = code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if code.is_empty() || code.len() > 64 || !spelled {
        return None;
    }
    let mut others = OTHERS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(code) = others.get(code) {
        return Some(code);
    }
    if others.len() >= OTHERS_MAX {
        return None;
    }
    let kept: &'static str = Box::leak(code.to_owned().into_boxed_str());
    others.insert(kept);
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_follows_a_redirect_to_the_same_host_or_under_tls_only() {
        let asked = "http://127.0.0.1:7210/a?b=1";
        assert_eq!(redirected(asked, "http://127.0.0.1:7211/a").ok().as_deref(), Some("http://127.0.0.1:7211/a"));
        assert_eq!(redirected(asked, "/c").ok().as_deref(), Some("http://127.0.0.1:7210/c"));
        assert!(redirected(asked, "https://leader.example/a").is_ok());
        assert!(redirected(asked, "http://leader.example/a").is_err_and(|error| error.code() == "redirect-unsafe"));
    }

    #[test]
    fn a_problem_becomes_the_error_it_was() {
        let body = r#"{"code":"port-taken","reason":"taken by \u001b[31mother","context":{"address":"x:1"}}"#;
        let error = problem(StatusCode::CONFLICT, &HeaderMap::new(), body);
        assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, "port-taken"));
        assert_eq!(error.to_string(), "taken by \\u{1b}[31mother [address: x:1]");
        let other = problem(StatusCode::GONE, &HeaderMap::new(), r#"{"code":"of-another-version","reason":"x"}"#);
        assert_eq!((other.kind(), other.code()), (ErrorKind::NotFound, "of-another-version"));
        let body = r#"{"status":"error","errorType":"execution","error":"y"}"#;
        let engine = problem(StatusCode::UNPROCESSABLE_ENTITY, &HeaderMap::new(), body);
        assert_eq!((engine.kind(), engine.code(), engine.message()), (ErrorKind::Invalid, "promql-failed", "y"));
        let beside = HeaderMap::from_iter([("error-code".parse().unwrap(), "schema-unknown".parse().unwrap())]);
        let foreign = problem(StatusCode::NOT_FOUND, &beside, r#"{"error_code":40403,"message":"z"}"#);
        assert_eq!((foreign.code(), foreign.message()), ("schema-unknown", "z"));
        let error = problem(StatusCode::INTERNAL_SERVER_ERROR, &HeaderMap::new(), "<html>");
        assert_eq!((error.kind(), error.code()), (ErrorKind::Bug, "server-refused"));
    }
}
