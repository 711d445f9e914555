//! Prometheus's surface on real engines: remote write, queries, tenants, errors, promtool.

use crate::stand::{Reply, Stand};
use bytes::Bytes;
use serde_json::{Value, json};
use server::{Limits, http::prometheus::MetricLimits};
use std::path::Path;
use stores::metrics::{Protocol, SCRAPE_JOB, Tier, form};
use testkit::{
    postgresql::directory,
    prometheus::{missing, now_ms, open, packed, ready, version_1},
};

const API: &str = "/prometheus/api/v1";

async fn engines(directory: &Path) -> Tier {
    let tier = open(directory);
    ready(&tier).await;
    tier
}

/// One series with one sample.
fn body(labels: &[(&str, &str)], value: f64, at_ms: i64) -> Bytes {
    version_1(&[(labels, value, at_ms)])
}

async fn write(stand: &Stand, token: &str, body: Bytes) -> Reply {
    let request = stand.post(&format!("{API}/write")).token(token).header("content-encoding", "snappy");
    request.body(Protocol::V1.content_type(), body).send().await
}

fn written(reply: &Reply) -> &str {
    reply.header("x-prometheus-remote-write-samples-written")
}

async fn get(stand: &Stand, token: &str, path: &str, parameters: &[(&str, &str)]) -> Reply {
    let parameters: Vec<_> = parameters.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    stand.get(&format!("{API}/{path}?{}", form(&parameters))).token(token).send().await
}

async fn data(stand: &Stand, token: &str, path: &str, parameters: &[(&str, &str)]) -> Value {
    let answer = get(stand, token, path, parameters).await.expect(200).json();
    assert_eq!(answer["status"], "success", "{answer}");
    answer["data"].clone()
}

/// Prometheus's error shape with this status and type.
#[track_caller]
fn refused(reply: &Reply, status: u16, kind: &str) -> String {
    assert_eq!(reply.status.as_u16(), status, "{}", reply.text);
    let body = reply.json();
    assert_eq!((body["status"].as_str(), body["errorType"].as_str()), (Some("error"), Some(kind)), "{body}");
    body["error"].as_str().unwrap().to_owned()
}

/// The token of a writer of another tenant.
async fn stranger(stand: &Stand) -> String {
    let body = json!({ "name": "other", "roles": ["writer"], "tenant": "other" });
    let made = stand.post("/api/v1/principals").json(&body).send().await.expect(201);
    made.json()["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_writes_only_it_reads_by_every_endpoint() {
    if missing() {
        return;
    }
    let directory = directory();
    let stand = Stand::with_series(Limits::default(), engines(directory.path()).await).await;
    let (own, other, now) = (stand.admin.clone(), stranger(&stand).await, now_ms());
    let labels = [("__name__", "site_power_watts"), ("site", "north"), ("tenant", "other")];
    let stored = write(&stand, &own, body(&labels, 40.0, now)).await.expect(204);
    assert_eq!(written(&stored), "1");
    write(&stand, &other, body(&[("__name__", "site_power_watts"), ("site", "south")], 2.0, now)).await.expect(204);

    let at = format!("{:.3}", now as f64 / 1e3);
    let found = data(&stand, &own, "query", &[("query", "site_power_watts"), ("time", &at)]).await;
    assert_eq!(found["result"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!(found["result"][0]["value"][1], "40");
    assert_eq!(found["result"][0]["metric"]["tenant"], "default", "the tenant is forced");
    let step = [("query", "sum(site_power_watts)"), ("start", &at), ("end", &at), ("step", "15s")];
    assert_eq!(data(&stand, &other, "query_range", &step).await["result"][0]["values"][0][1], "2");
    let selector = [("match[]", "site_power_watts")];
    let series = data(&stand, &own, "series", &selector).await;
    assert_eq!((series.as_array().unwrap().len(), &series[0]["site"]), (1, &json!("north")));
    assert_eq!(data(&stand, &other, "label/site/values", &selector).await, json!(["south"]));
    assert_eq!(data(&stand, &other, "label/tenant/values", &[]).await, json!(["other"]));
    assert_eq!(data(&stand, &other, "labels", &[]).await, json!(["__name__", "site", "tenant"]));
    for attempt in ["{tenant=\"default\"}", "site_power_watts{tenant=~\".*\"} or {site=\"north\"}"] {
        let found = data(&stand, &other, "query", &[("query", attempt)]).await;
        assert!(!found.to_string().contains("north"), "{attempt}: {found}");
    }
    assert_eq!(data(&stand, &other, "rules", &[]).await, json!({ "groups": [] }));
    assert_eq!(data(&stand, &other, "alerts", &[]).await, json!({ "alerts": [] }));
    assert_eq!(data(&stand, &other, "metadata", &[]).await, json!({}));
    let ours = data(&stand, &own, "metadata", &[("metric", "nephkeep_record_batches_total")]).await;
    assert_eq!(ours["nephkeep_record_batches_total"][0]["type"], "counter");
    // The same by POST, as Grafana asks.
    let posted = stand.post(&format!("{API}/query")).token(&own);
    let posted = posted.body("application/x-www-form-urlencoded", "query=1%2B1").send().await.expect(200).json();
    assert_eq!(posted["data"]["result"][1], "2");
    let status = stand.get("/api/v1/status").send().await.expect(200).json();
    assert_eq!(status["metrics"]["governed"]["state"], "ready");
    stand.app.series.stop().await.unwrap();
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_prometheus_shape_and_status() {
    if missing() {
        return;
    }
    let directory = directory();
    let metric = MetricLimits { points: 100, ..MetricLimits::default() };
    let limits = Limits { metric, ..Limits::default() };
    let stand = Stand::with_series(limits, engines(directory.path()).await).await;
    let own = stand.admin.clone();
    let asked = |path: &'static str, parameters: &'static [(&str, &str)]| get(&stand, &own, path, parameters);
    let words = refused(&asked("query", &[("query", "sum(")]).await, 400, "bad_data");
    assert!(words.starts_with("invalid parameter \"query\""), "{words}");
    refused(&asked("query", &[]).await, 400, "bad_data");
    refused(&asked("query", &[("query", "1"), ("time", "yesterday")]).await, 400, "bad_data");
    refused(&asked("query", &[("query", "a * on() group_left() b"), ("time", "x")]).await, 400, "bad_data");
    refused(&asked("series", &[]).await, 400, "bad_data");
    refused(&asked("series", &[("match[]", "rate(up[5m])")]).await, 400, "bad_data");
    refused(&asked("label/a-b/values", &[]).await, 400, "bad_data");
    let range = &[("query", "up"), ("start", "0"), ("end", "1000"), ("step", "1")];
    assert!(refused(&asked("query_range", range).await, 400, "bad_data").contains("maximum resolution"));
    refused(
        &asked("query_range", &[("query", "up"), ("start", "5"), ("end", "1"), ("step", "1")]).await,
        400,
        "bad_data",
    );
    refused(
        &asked("query_range", &[("query", "up"), ("start", "1"), ("end", "5"), ("step", "0")]).await,
        400,
        "bad_data",
    );
    let many = "label_replace(vector(1), \"a\", \"b\", \"\", \"\") or vector(1) + on(x) group_left() (vector(1) or label_replace(vector(2), \"c\", \"d\", \"\", \"\"))";
    refused(&get(&stand, &own, "query", &[("query", many)]).await, 422, "execution");
    let anonymous = stand.get(&format!("{API}/query?query=1")).anonymous().send().await;
    refused(&anonymous, 401, "unauthorized");
    let operator = stand.principal("operator", &["operator"]).await;
    refused(&get(&stand, &operator, "query", &[("query", "1")]).await, 403, "forbidden");
    stand.app.series.stop().await.unwrap();
    refused(&asked("query", &[("query", "1")]).await, 503, "unavailable");
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn remote_write_answers_by_its_rules() {
    if missing() {
        return;
    }
    let directory = directory();
    let metric = MetricLimits { write_bytes: 4_096, ..MetricLimits::default() };
    let limits = Limits { metric, ..Limits::default() };
    let stand = Stand::with_series(limits, engines(directory.path()).await).await;
    let (own, now) = (stand.admin.clone(), now_ms());
    let good = || body(&[("__name__", "x")], 1.0, now);
    let as_type = async |kind: &str, encoding: &str, body: Bytes| {
        let request = stand.post(&format!("{API}/write")).header("content-encoding", encoding);
        request.body(kind, body).send().await
    };
    let v1 = Protocol::V1.content_type();
    for (kind, encoding) in [("application/json", "snappy"), ("application/x-protobuf;proto=x", "snappy"), (v1, "gzip")]
    {
        let reply = as_type(kind, encoding, good()).await;
        assert_eq!(written(&reply), "0");
        refused(&reply, 415, "bad_data");
    }
    refused(&as_type(v1, "snappy", Bytes::from_static(b"nonsense")).await, 400, "bad_data");
    refused(&as_type(v1, "snappy", packed(b"\x0a\xff")).await, 400, "bad_data");
    refused(&as_type(v1, "snappy", vec![0; 5_000].into()).await, 413, "bad_data");
    assert_eq!(written(&write(&stand, &own, good()).await.expect(204)), "1");
    assert_eq!(written(&write(&stand, &own, packed(b"")).await.expect(204)), "0");
    let nameless = write(&stand, &own, body(&[("job", "x")], 1.0, now)).await;
    assert_eq!(written(&nameless), "0");
    assert!(refused(&nameless, 400, "bad_data").contains("__name__"));
    let old = write(&stand, &own, body(&[("__name__", "x")], 1.0, now - 40 * 86_400_000)).await;
    assert_eq!((old.status.as_u16(), written(&old)), (400, "0"));
    let reader = stand.principal("reader", &["reader"]).await;
    refused(&write(&stand, &reader, good()).await, 403, "forbidden");
    // All places taken: the sender is told to come again.
    let taken = stand.app.metric_gates.writes.acquire_many(64).await.unwrap();
    let busy = write(&stand, &own, good()).await;
    assert_eq!(busy.header("retry-after"), "1");
    refused(&busy, 429, "unavailable");
    drop(taken);
    write(&stand, &own, good()).await.expect(204);
    let page = stand.get("/metrics").anonymous().send().await.expect(200).text;
    assert!(
        page.contains("nephkeep_metrics_samples_written_total 2")
            && page.contains("nephkeep_metrics_samples_refused_total 2"),
        "{page}"
    );
    stand.app.series.stop().await.unwrap();
    let down = write(&stand, &own, good()).await;
    assert_eq!(down.header("retry-after"), "1");
    refused(&down, 503, "unavailable");
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_works_unchanged_with_a_token() {
    let promtool = std::process::Command::new("promtool").arg("--version").output();
    if missing() || promtool.is_err() {
        testkit::skipped::skipped("engine missing: no promtool");
        return;
    }
    let directory = directory();
    let stand = Stand::with_series(Limits::default(), engines(directory.path()).await).await;
    let own = stand.admin.clone();
    write(&stand, &own, body(&[("__name__", "cells_up"), ("site", "east")], 12.0, now_ms())).await.expect(204);
    // Without a file for tokens (it has none in 2.42), promtool sends the name and password of the URL.
    let base = format!("http://any:{own}@{}/prometheus", stand.base.trim_start_matches("http://"));
    let run = async |words: &[&str], last: &[&str]| {
        let mut command = tokio::process::Command::new("promtool");
        command.args(words).arg(&base).args(last);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let instant = run(&["query", "instant"], &["sum by (site) (cells_up)"]).await;
    assert!(instant.contains("{site=\"east\"} => 12"), "{instant}");
    let values = run(&["query", "labels"], &["site"]).await;
    assert_eq!(values.trim(), "east");
    let range = run(&["query", "range", "--step=15s"], &["cells_up"]).await;
    assert!(range.contains("cells_up") && range.contains("12 @"), "{range}");
    let series = run(&["query", "series", "--match=cells_up"], &[]).await;
    assert!(series.contains("east"), "{series}");
    stand.app.series.stop().await.unwrap();
    stand.stop().await;
}

/// What the page says of documents, kept as the scrape would keep it.
async fn keep_page(stand: &Stand, page: &str, at_ms: i64) {
    let own = stand.admin.clone();
    for line in page
        .lines()
        .filter(|line| line.starts_with("nephkeep_documents_counted") || line.starts_with("nephkeep_intents_"))
    {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap();
        let mut all = vec![("__name__", name), ("job", SCRAPE_JOB), ("instance", "a:1")];
        let pairs = labels.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
        all.extend(pairs.map(|(label, text)| (label, text.trim_matches('"'))));
        write(stand, &own, body(&all, value.parse().unwrap(), at_ms)).await.expect(204);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_of_documents_are_reconciled_with_the_log_at_a_position() {
    if missing() {
        return;
    }
    let directory = directory();
    let stand = Stand::with_series(Limits::default(), engines(directory.path()).await).await;
    let verify = async || stand.post("/api/v1/copies/metrics:verify").send().await;
    assert_eq!(verify().await.expect(503).json()["code"], "metrics-nothing-to-compare");
    for name in ["a", "b", "c"] {
        stand.intent(name).await;
    }
    let counted = |n: u64| format!("nephkeep_intents_created_total{{tenant=\"default\"}} {n}\n");
    let page = loop {
        let page = stand.app.metrics.text(true).unwrap();
        if page.contains(&counted(3)) {
            break page;
        }
        tokio::task::yield_now().await;
    };
    assert!(!stand.get("/metrics").anonymous().send().await.expect(200).text.contains("nephkeep_intents_created"));
    let now = now_ms();
    keep_page(&stand, &page, now - 10).await;
    let found = verify().await.expect(200).json();
    assert_eq!((&found["differing"], &found["objects"]), (&json!(0), &json!(3)), "{found}");
    assert!(found["position"].as_str().unwrap().starts_with("0."), "{found}");
    // One more than the log holds: named, with the stretch and both numbers.
    keep_page(&stand, &page.replace(&counted(3), &counted(4)), now).await;
    let found = verify().await.expect(200).json();
    let one = &found["differences"][0];
    assert_eq!((&found["differing"], &one["record"], &one["copy"]), (&json!(1), &json!(3), &json!(4)), "{found}");
    assert!(one["id"].as_str().unwrap().starts_with("nephkeep_intents_created_total after "), "{found}");
    assert_eq!(stand.post("/api/v1/copies/metrics:rebuild").send().await.status.as_u16(), 400);
    let stranger = stand.post("/api/v1/principals");
    let stranger = stranger.json(&json!({ "name": "o", "roles": ["operator"], "tenant": "other" })).send().await;
    let token = stranger.expect(201).json()["token"].as_str().unwrap().to_owned();
    let denied = stand.post("/api/v1/copies/metrics:verify").token(&token).send().await.expect(403).json();
    assert_eq!(denied["code"], "tenant-denied");
    stand.app.series.stop().await.unwrap();
    stand.stop().await;
}
