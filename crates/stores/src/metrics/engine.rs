//! One engine as it is reached: where, by whom, in which version.

use super::write::{self, Protocol};
use http::StatusCode;
use model::{Error, Result, select::encode};
use std::time::Duration;

/// A sender gives up before its own patience ends.
const WRITE_LIMIT: Duration = Duration::from_secs(25);
/// An answer that is taken apart here, not passed on as it comes.
const ANSWER_BYTES: usize = 64 << 20;

/// A Prometheus by its release: what it is worth knowing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub text: String,
    major: u32,
    minor: u32,
}

impl Version {
    /// `2.42.0+ds`, `3.16.0`; unknown forms count as old.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut numbers = text.trim_start_matches('v').split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
        let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Self { text: text.to_owned(), major, minor }
    }

    #[must_use]
    pub fn at_least(&self, major: u32, minor: u32) -> bool {
        (self.major, self.minor) >= (major, minor)
    }

    /// Since 3.0 a receiver takes both messages and names of any letters.
    #[must_use]
    pub fn understands(&self) -> write::Engine {
        let new = self.at_least(3, 0);
        write::Engine { protocol: if new { Protocol::V2 } else { Protocol::V1 }, any_names: new }
    }
}

/// Who we are to it.
#[derive(Clone)]
pub enum Login {
    None,
    Basic { user: String, password: String },
    Bearer(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Self::None) { "None" } else { "(secret)" })
    }
}

#[derive(Debug, Clone)]
pub struct Engine {
    http: reqwest::Client,
    /// Without a slash at its end; the API lies below.
    base: String,
    write: String,
    login: Login,
    local: bool,
}

impl Engine {
    #[must_use]
    pub fn new(http: reqwest::Client, base: &str, write: Option<&str>, login: Login, local: bool) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        let write = write.map_or_else(|| format!("{base}/api/v1/write"), str::to_owned);
        Self { http, base, write, login, local }
    }

    #[must_use]
    pub fn is_local(&self) -> bool {
        self.local
    }

    fn as_us(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.login {
            Login::None => request,
            Login::Basic { user, password } => request.basic_auth(user, Some(password)),
            Login::Bearer(token) => request.bearer_auth(token),
        }
    }

    pub(super) fn post_write(&self) -> reqwest::RequestBuilder {
        self.as_us(self.http.post(&self.write)).timeout(WRITE_LIMIT)
    }

    /// Asks an endpoint of the API with parameters in the body, where an engine takes them, else in the path.
    pub async fn ask(&self, path: &str, parameters: &[(String, String)], limit: Duration) -> Result<reqwest::Response> {
        let url = format!("{}/api/v1/{path}", self.base);
        let posted = matches!(path, "query" | "query_range" | "query_exemplars" | "series" | "labels");
        let form = form(parameters);
        let request = if posted {
            let kind = "application/x-www-form-urlencoded";
            self.http.post(url).header(http::header::CONTENT_TYPE, kind).body(form)
        } else {
            self.http.get(format!("{url}?{form}"))
        };
        self.as_us(request).timeout(limit).send().await.map_err(|error| self.unreachable(error))
    }

    /// Whether it answers queries now.
    pub async fn is_ready(&self) -> bool {
        let request = self.as_us(self.http.get(format!("{}/-/ready", self.base))).timeout(Duration::from_secs(2));
        request.send().await.is_ok_and(|response| response.status() == StatusCode::OK)
    }

    /// What it says of its own version.
    pub async fn version(&self) -> Result<Version> {
        let response = self.ask("status/buildinfo", &[], Duration::from_secs(5)).await?;
        let body = response.bytes().await.map_err(|error| self.unreachable(error))?;
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        match answer.pointer("/data/version").and_then(serde_json::Value::as_str) {
            Some(text) => Ok(Version::parse(text)),
            None => Err(Error::retry("metrics-engine-failed", "the metrics engine does not tell its version")),
        }
    }

    /// The cause names no secret: reqwest shows the URL, which holds none.
    pub(super) fn unreachable(&self, error: reqwest::Error) -> Error {
        let (code, what) = if error.is_timeout() {
            ("metrics-timeout", "the metrics engine did not answer in time; ask for less, or try again")
        } else {
            ("metrics-unavailable", "the metrics engine cannot be reached; `nephkeep status` shows how it is")
        };
        Error::retry(code, what).caused_by(error.without_url())
    }
}

/// The whole of an answer that is read here; longer ones are refused before they fill the memory.
pub(super) async fn whole(mut response: reqwest::Response) -> Result<Vec<u8>> {
    let broken = |error: reqwest::Error| {
        Error::retry("metrics-engine-failed", "the metrics engine's answer broke off").caused_by(error.without_url())
    };
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(broken)? {
        if body.len() + piece.len() > ANSWER_BYTES {
            let what = "the metrics engine's answer is too long; ask for a shorter range, or narrow it with match[]";
            return Err(Error::invalid("metrics-answer-too-long", what).with("limit", ANSWER_BYTES));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// `application/x-www-form-urlencoded`.
#[must_use]
pub fn form(parameters: &[(String, String)]) -> String {
    let pairs = parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_tells_what_a_receiver_takes() {
        for (text, protocol) in [
            ("2.42.0+ds", Protocol::V1),
            ("2.53.1", Protocol::V1),
            ("3.0.0", Protocol::V2),
            ("v3.16.0-rc.1", Protocol::V2),
            ("", Protocol::V1),
            ("devel", Protocol::V1),
        ] {
            assert_eq!(Version::parse(text).understands().protocol, protocol, "{text}");
        }
    }

    #[test]
    fn a_form_is_encoded_and_a_login_is_never_shown() {
        let parameters = [("query".to_owned(), "a{b=\"c d\"}".to_owned()), ("x".to_owned(), String::new())];
        assert_eq!(form(&parameters), "query=a%7Bb%3D%22c%20d%22%7D&x=");
        let login = Login::Basic { user: "u".into(), password: "hidden".into() };
        assert!(!format!("{login:?}{:?}", Login::Bearer("hidden".into())).contains("hidden"));
    }
}
