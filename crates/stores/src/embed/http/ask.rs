//! One request, and what its answer is worth.

use super::{DIMENSIONS_MAX, Shared};
use model::{Error, Result};
use reqwest::{
    Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A number of a vector in JSON, at most.
const NUMBER_BYTES: usize = 32;
/// Around the numbers of an answer.
const AROUND_BYTES: usize = 64 << 10;

pub struct Asked<'a> {
    pub shared: &'a Shared,
    pub texts: &'a [String],
}

pub struct Failed {
    pub error: Error,
    /// When the server said that it may be asked again.
    pub after: Option<Duration>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, after: None }
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [String],
    encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

#[derive(Deserialize)]
struct Answer {
    model: Option<String>,
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    /// Wider than they are kept: what a narrow reader makes of 1e39, an error or infinity, is its build's affair.
    embedding: Vec<f64>,
}

#[derive(Deserialize)]
struct Complaint {
    error: Named,
}

#[derive(Deserialize)]
struct Named {
    code: Option<serde_json::Value>,
    #[serde(rename = "type")]
    sort: Option<String>,
}

impl Asked<'_> {
    pub async fn once(&self, patience: Duration) -> Result<Vec<Vec<f32>>, Failed> {
        let options = &self.shared.options;
        let dimensions = options.asks_dimensions.then_some(options.dimensions);
        let asked = Request { model: &options.model, input: self.texts, encoding_format: "float", dimensions };
        let body =
            serde_json::to_vec(&asked).map_err(|error| Error::bug("a request cannot be written").caused_by(error))?;
        let request = self.shared.client.post(self.shared.url.clone()).timeout(patience);
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        let request = match options.key.get()? {
            Some(key) => request.header(AUTHORIZATION, key.0),
            None => request,
        };
        let response = request.send().await.map_err(|error| unreachable(&error))?;
        let (status, after) = (response.status(), retry_after(response.headers()));
        let most = self.texts.len() * options.dimensions.min(DIMENSIONS_MAX) * NUMBER_BYTES + AROUND_BYTES;
        let body = limited(response, most).await?;
        if status.is_success() { Ok(self.read(&body)?) } else { Err(Failed { error: refused(status, &body), after }) }
    }

    fn read(&self, body: &[u8]) -> Result<Vec<Vec<f32>>> {
        let options = &self.shared.options;
        let Ok(Answer { model, data }) = serde_json::from_slice(body) else {
            return Err(malformed("it is not the JSON of the embeddings interface"));
        };
        let wanted = options.answers_as.as_ref().unwrap_or(&options.model);
        if model.as_ref() != Some(wanted) {
            let what = "the embedder answered with another model than was asked for, and none of its vectors is taken; \
                        if that is the model's other name, set embedder.answers_as";
            let found: String = model.unwrap_or_default().chars().filter(|c| !c.is_control()).take(80).collect();
            return Err(Error::conflict("embedder-other-model", what).with("asked", wanted).with("answered", found));
        }
        let mut vectors: Vec<Option<Vec<f32>>> = vec![None; self.texts.len()];
        for Item { index, embedding } in data {
            if embedding.len() != options.dimensions {
                let what = "the embedder's vectors have another number of dimensions than embedder.dimensions says";
                let error = Error::conflict("embedder-dimensions", what).with("dimensions", embedding.len());
                return Err(error.with("expected", options.dimensions));
            }
            match vectors.get_mut(index) {
                Some(place @ None) => *place = Some(unit(&embedding)?),
                _ => return Err(malformed("it has a vector twice, or one that nobody asked for")),
            }
        }
        let all: Option<Vec<Vec<f32>>> = vectors.into_iter().collect();
        all.ok_or_else(|| malformed("it has fewer vectors than texts were sent"))
    }
}

/// Of length 1. What is not a number, or has no direction, cannot be compared with anything.
fn unit(embedding: &[f64]) -> Result<Vec<f32>> {
    let mut vector: Vec<f32> = embedding.iter().map(|value| *value as f32).collect();
    let length = vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if !length.is_finite() || length < f64::from(f32::MIN_POSITIVE) {
        let what = "the embedder's vector of a text is not finite, or zero; the text has no vector";
        return Err(Error::invalid("embedding-not-finite", what));
    }
    vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    Ok(vector)
}

fn malformed(why: &str) -> Error {
    Error::retry("embedder-answer-malformed", format!("the embedder's answer is not taken: {why}"))
}

/// Never the URL, which the error would repeat.
fn unreachable(error: &reqwest::Error) -> Error {
    let why = if error.is_timeout() {
        "it did not answer in time"
    } else if error.is_connect() {
        "no connection to it can be made"
    } else {
        "the connection to it was lost"
    };
    Error::retry("embedder-unavailable", format!("the embedder cannot be asked: {why}; it is tried again by itself"))
}

async fn limited(mut response: Response, most: usize) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + piece.len() > most {
            return Err(malformed("it is longer than its vectors can be"));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

fn refused(status: StatusCode, body: &[u8]) -> Error {
    let error = match status.as_u16() {
        429 => {
            Error::retry("embedder-busy", "the embedder takes no more requests for now; it is asked again by itself")
        }
        408 | 409 | 425 | 500..=599 => {
            Error::retry("embedder-unavailable", "the embedder fails; it is asked again by itself")
        }
        401 | 403 => Error::refused("embedder-denied", "the embedder does not take our key; mend embedder.key_file"),
        400 | 413 | 422 => {
            Error::invalid("text-not-embeddable", "the embedder refuses the text, which may be too long for its model")
        }
        _ => {
            let what = "the embedder does not answer as one does; check embedder.url and embedder.model";
            Error::conflict("embedder-settings", what)
        }
    };
    let error = error.with("status", status.as_u16());
    match named(body) {
        Some(name) => error.with("said", name),
        None => error,
    }
}

/// The name of the server's error. Its words may repeat a text or a key, so they go nowhere.
fn named(body: &[u8]) -> Option<String> {
    let Complaint { error: Named { code, sort } } = serde_json::from_slice(body).ok()?;
    let code = code.and_then(|code| code.as_str().map(str::to_owned)).or(sort)?;
    let plain = |c: char| c.is_ascii_lowercase() || c == '_';
    (!code.is_empty() && code.len() <= 48 && code.chars().all(plain)).then_some(code)
}

/// Seconds, or a moment.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let wait = at.duration_since(crate::clock::wall());
    Some(Duration::try_from(wait).unwrap_or(Duration::ZERO))
}
