//! Reading metrics: the trait others read by, and the answers of Prometheus's API behind it.

use model::{Error, Result, Tenant};
use serde_json::Value;
use std::{fmt, future::Future, pin::Pin};

pub type Answering<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// From, to and step in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    pub start: f64,
    pub end: f64,
    pub step: f64,
}

/// One series of an answer: its labels, and (seconds, value) in order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub labels: Vec<(String, String)>,
    pub samples: Vec<(f64, f64)>,
}

impl Series {
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }
}

/// The reading side of the metrics copy. An answer with warnings is incomplete, hence an error: unknown is never good.
pub trait MetricQuery: Send + Sync + fmt::Debug {
    /// At a time, or now.
    fn query<'a>(&'a self, tenant: &'a Tenant, query: &'a str, at: Option<f64>) -> Answering<'a, Vec<Series>>;
    fn query_range<'a>(&'a self, tenant: &'a Tenant, query: &'a str, span: Span) -> Answering<'a, Vec<Series>>;
    /// The values of a label in the series that match all selectors; of all series where there are none.
    fn label_values<'a>(
        &'a self,
        tenant: &'a Tenant,
        label: &'a str,
        selectors: &'a [String],
    ) -> Answering<'a, Vec<String>>;
}

/// The data of an answer of Prometheus's API, or what was wrong with it.
pub fn data(body: &[u8]) -> Result<Value> {
    let mut answer: Value = serde_json::from_slice(body).map_err(|error| unreadable().caused_by(error))?;
    if answer["status"] != "success" {
        let words = answer["error"].as_str().unwrap_or("no reason given").to_owned();
        return Err(match answer["errorType"].as_str() {
            Some("bad_data") => Error::invalid("promql-malformed", words),
            Some("execution") => Error::invalid("promql-failed", words),
            Some("timeout" | "canceled") => Error::retry("metrics-timeout", words),
            _ => Error::retry("metrics-engine-failed", words),
        });
    }
    if let Some(first) = answer["warnings"].as_array().and_then(|warnings| warnings.first()) {
        let what = "the answer is incomplete: a part of the metrics could not be read";
        let said = first.as_str().unwrap_or_default().to_owned();
        return Err(Error::retry("metrics-incomplete", what).with("said", said));
    }
    Ok(answer["data"].take())
}

fn unreadable() -> Error {
    Error::retry("metrics-engine-failed", "the metrics engine answered with something that is no answer")
}

/// The series of a query's data: vectors, matrices, and a scalar as one series without labels.
pub fn series(data: &Value) -> Result<Vec<Series>> {
    let result = &data["result"];
    match data["resultType"].as_str() {
        Some("scalar") => Ok(vec![Series { labels: Vec::new(), samples: vec![sample(result)?] }]),
        Some("vector" | "matrix") => {
            let items = result.as_array().ok_or_else(unreadable)?;
            // Native histograms have no single value; they are left to those who ask for the JSON.
            let plain = items.iter().filter(|item| item.get("value").is_some() || item.get("values").is_some());
            plain.map(one).collect()
        }
        _ => Err(unreadable()),
    }
}

fn one(item: &Value) -> Result<Series> {
    let labels = item["metric"].as_object().ok_or_else(unreadable)?;
    let labels = labels.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
    let samples = match item.get("values").and_then(Value::as_array) {
        Some(values) => values.iter().map(sample).collect::<Result<_>>()?,
        None => vec![sample(&item["value"])?],
    };
    Ok(Series { labels: labels.collect(), samples })
}

fn sample(pair: &Value) -> Result<(f64, f64)> {
    let time = pair[0].as_f64().ok_or_else(unreadable)?;
    let value = match pair[1].as_str().ok_or_else(unreadable)? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().map_err(|_| unreadable())?,
    };
    Ok((time, value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_become_series_and_a_warning_is_never_good() {
        let body = br#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1.5,"+Inf"]}]}}"#;
        let series = series(&data(body).unwrap()).unwrap();
        assert_eq!((series[0].label("a"), series[0].samples[0]), (Some("b"), (1.5, f64::INFINITY)));
        let warned =
            br#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["one part is down"]}"#;
        let error = data(warned).unwrap_err();
        assert_eq!((error.code(), error.fact("said")), ("metrics-incomplete", Some("one part is down")));
    }

    #[test]
    fn errors_keep_prometheus_words_and_nonsense_is_an_error() {
        let told = |kind: &str| data(format!(r#"{{"status":"error","errorType":"{kind}","error":"why"}}"#).as_bytes());
        for (kind, code) in [
            ("bad_data", "promql-malformed"),
            ("execution", "promql-failed"),
            ("timeout", "metrics-timeout"),
            ("unavailable", "metrics-engine-failed"),
        ] {
            let error = told(kind).unwrap_err();
            assert_eq!((error.code(), error.message()), (code, "why"));
        }
        for nonsense in ["", "{", "[]", "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\"}}"] {
            assert!(data(nonsense.as_bytes()).and_then(|data| series(&data)).is_err(), "{nonsense}");
        }
    }
}
