//! `metrics …`: PromQL, limited to the caller's tenant like everything at that door.

use super::Global;
use crate::{
    client::Call,
    exit::Outcome,
    output::{self, Report},
    routes,
};
use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use model::Error;
use serde_json::Value;

/// Ask the metrics: PromQL over the samples of your tenant
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Query(Query),
    Range(Range),
}

/// Evaluate an expression at one time
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep metrics query nephkeep_record_published_position\n  \
    nephkeep metrics query 'sum by (status) (rate(nephkeep_http_requests_total[5m]))'\n  \
    nephkeep metrics query up --at 2026-11-25T10:00:00Z -o json")]
struct Query {
    /// The expression
    expression: String,
    /// The time (RFC 3339) [default: now]
    #[arg(long, value_name = "TIME", value_parser = super::values::time)]
    at: Option<Timestamp>,
}

/// Evaluate an expression at every step of a range
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  nephkeep metrics range nephkeep_copy_lag_seconds\n  \
    nephkeep metrics range 'rate(nephkeep_record_groups_total[5m])' --last 24h --step 5m\n  \
    nephkeep metrics range up --until 2026-11-25T10:00:00Z --last 30m -o json")]
struct Range {
    /// The expression
    expression: String,
    /// How far back from its end the range begins: 90s, 30m, 36h
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    last: SignedDuration,
    /// Where it ends (RFC 3339) [default: now]
    #[arg(long, value_name = "TIME", value_parser = super::values::time)]
    until: Option<Timestamp>,
    /// The time between two points [default: a sixtieth of the range]
    #[arg(long, value_name = "DURATION")]
    step: Option<SignedDuration>,
}

const HEADER: [&str; 3] = ["series", "time", "value"];

pub async fn run(global: &Global, arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::Query(verb) => {
            let call = Call::get(routes::QUERY).query("query", &verb.expression);
            told(global, call.maybe("time", verb.at.map(seconds))).await
        }
        Verb::Range(verb) => {
            let end = verb.until.unwrap_or_else(crate::clock::wall);
            let start = end.checked_sub(verb.last).map_err(|error| {
                let what = "the range begins before any time that can be told";
                Error::invalid("parameter-malformed", what).with("parameter", "last").caused_by(error)
            })?;
            let step = verb.step.unwrap_or_else(|| (verb.last / 60).max(SignedDuration::from_secs(1)));
            let call = Call::get(routes::QUERY_RANGE).query("query", &verb.expression);
            let call = call.query("start", seconds(start)).query("end", seconds(end));
            told(global, call.query("step", step.as_secs_f64())).await
        }
    }
}

fn seconds(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

async fn told(global: &Global, call: Call) -> Outcome {
    let mut answer = global.client()?.send(call).await?.value()?;
    for warning in answer["warnings"].as_array().into_iter().flatten() {
        output::note(&format!("warning: {}", output::printable(warning.as_str().unwrap_or_default())));
    }
    let data = answer["data"].take();
    Report::new(&HEADER, rows(&data), data).print(global.output)
}

/// One row for each point.
fn rows(data: &Value) -> Vec<Vec<String>> {
    let result = &data["result"];
    if let (Some("scalar" | "string"), Some(pair)) = (data["resultType"].as_str(), result.as_array()) {
        return vec![point(data["resultType"].as_str().unwrap_or_default(), pair)];
    }
    let mut rows = Vec::new();
    for item in result.as_array().into_iter().flatten() {
        let name = name(&item["metric"]);
        let one = item["value"].as_array().or_else(|| item["histogram"].as_array());
        let many = item["values"].as_array().or_else(|| item["histograms"].as_array());
        let points = one.into_iter().chain(many.into_iter().flatten().filter_map(Value::as_array));
        rows.extend(points.map(|pair| point(&name, pair)));
    }
    rows
}

fn point(name: &str, pair: &[Value]) -> Vec<String> {
    let time = pair.first().and_then(Value::as_f64).unwrap_or_default();
    let time = SignedDuration::try_from_secs_f64(time).ok().and_then(|since| Timestamp::from_duration(since).ok());
    let time = time.map_or_else(|| "?".to_owned(), |time| format!("{time:.3}"));
    let value = match pair.get(1) {
        Some(Value::String(text)) => text.clone(),
        Some(histogram) => histogram.to_string(),
        None => "?".to_owned(),
    };
    vec![name.to_owned(), time, value]
}

/// As Prometheus writes a series: `name{label="value"}`.
fn name(metric: &Value) -> String {
    let labels = metric.as_object().into_iter().flatten().filter(|(label, _)| *label != "__name__");
    let labels: Vec<String> = labels.map(|(label, value)| format!("{label}={value}")).collect();
    let name = metric["__name__"].as_str().unwrap_or_default();
    if labels.is_empty() && !name.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_of_answer_becomes_rows() {
        let told = |data: Value| rows(&data).into_iter().map(|row| row.join(" ")).collect::<Vec<_>>();
        let metric = json!({ "__name__": "up", "job": "x" });
        let vector = json!({ "resultType": "vector", "result": [{ "metric": metric, "value": [60.5, "1"] }] });
        assert_eq!(told(vector), ["up{job=\"x\"} 1970-01-01T00:01:00.500Z 1"]);
        let values = json!([[60, "1"], [75, "NaN"]]);
        let matrix = json!({ "resultType": "matrix", "result": [{ "metric": {}, "values": values }] });
        assert_eq!(told(matrix), ["{} 1970-01-01T00:01:00.000Z 1", "{} 1970-01-01T00:01:15.000Z NaN"]);
        let scalar = json!({ "resultType": "scalar", "result": [0, "2"] });
        assert_eq!(told(scalar), ["scalar 1970-01-01T00:00:00.000Z 2"]);
        assert_eq!(told(json!({ "resultType": "vector", "result": [] })), Vec::<String>::new());
    }
}
