//! Bad input at the door: a clear 4xx that names field and remedy, nothing stored, nothing panics.

use crate::stand::{Reply, Stand, TMF, intent};
use axum::body::Body;
use http::{Request, StatusCode};
use proptest::prelude::*;
use serde_json::json;
use server::Limits;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

#[tokio::test]
async fn malformed_intents_are_refused_and_the_field_is_named() {
    let stand = Stand::new().await;
    let path = format!("{TMF}/intent");
    let deep = format!("{{\"@type\":\"Intent\",\"a\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let large = format!("{{\"@type\":\"Intent\",\"name\":\"{}\"}}", "x".repeat(1 << 20));
    let text = "{\"@type\":\"Intent\",\"name\":7,\"expression\":{\"@type\":\"JsonLdExpression\",\"iri\":\"x\"}}";
    let inside = text.replace("7", "\"x\"").replace("\"x\"}}", "[]}}");
    let deepest = format!("a{}", "[0]".repeat(63));
    // What names the place: a field, or where no field can be read, line and column.
    let cases: [(&str, u16, &str, (&str, &str)); 13] = [
        ("", 400, "json-malformed", ("column", "1")),
        ("{", 400, "json-malformed", ("column", "2")),
        ("[]", 400, "attribute-type", ("field", "$")),
        ("{\"@type\":\"Intent\"}", 400, "attribute-missing", ("field", "name")),
        ("{\"@type\":\"Intent\",\"@type\":\"Intent\"}", 400, "json-duplicate-key", ("field", "@type")),
        ("{\"@type\":7,\"name\":\"x\"}", 400, "attribute-type", ("field", "@type")),
        ("{\"@type\":\"Nothing\",\"name\":\"x\"}", 400, "type-unknown", ("field", "@type")),
        ("{\"@type\":\"Intent\",\"name\":\"\\ud800\"}", 400, "json-surrogate", ("field", "name")),
        (text, 400, "attribute-type", ("field", "name")),
        (&inside, 400, "attribute-type", ("field", "expression.iri")),
        ("{\"@type\":\"Intent\",\"id\":7,\"name\":\"x\"}", 400, "attribute-type", ("field", "id")),
        (&deep, 400, "json-depth", ("field", &deepest)),
        (&large, 413, "body-too-large", ("limit", "1048576")),
    ];
    for (body, status, code, (fact, place)) in cases {
        let answer = stand.post(&path).body("application/json", body.to_owned()).send().await.problem(status, code);
        assert_eq!(answer["context"][fact], place, "{answer}");
    }
    stand.post(&path).body("text/xml", "<x/>").send().await.problem(415, "media-type-unsupported");
    let list = stand.get(&path).send().await.expect(200);
    assert_eq!(list.json(), json!([]), "something was stored");
    stand.stop().await;
}

/// Passed over, a misspelt condition would make an unconditional write of a compare-and-set.
#[tokio::test]
async fn an_unknown_member_of_any_body_is_named_and_nothing_is_done() {
    let stand = Stand::new().await;
    let stored = stand.put("/api/v1/configuration/net/a").json(&json!({ "n": 1 })).send().await.expect(201);
    let head = stored.header("ledger-position").to_owned();
    let put = json!({ "op": "put", "kind": "configuration", "id": "net/a", "document": {} });
    let write = |extra: &str| {
        let mut write = put.clone();
        write[extra] = json!(77);
        json!({ "writes": [write] })
    };
    let delete = json!({ "writes": [{ "op": "delete", "kind": "configuration", "id": "net/a", "verison": 77 }] });
    let misspelt = json!({ "kind": "configuration", "id": "net/a", "absnt": true, "version": 1 });
    let section = json!({ "source": "s", "path": "p", "sections": [{ "heading": "h", "text": "t", "lang": "en" }] });
    let cases = [
        ("/transactions", json!({ "preconditons": [], "writes": [put] }), "preconditons"),
        ("/transactions", write("bogus"), "bogus"),
        ("/transactions", write("verison"), "verison"),
        ("/transactions", delete, "verison"),
        ("/transactions", json!({ "preconditions": [misspelt], "writes": [put] }), "absnt"),
        (
            "/transactions",
            json!({ "reads": [{ "kind": "configuration", "id": "net/a", "version": 1 }], "writes": [put] }),
            "version",
        ),
        ("/principals", json!({ "name": "n", "roles": ["reader"], "tenent": "other" }), "tenent"),
        ("/principals/local-admin/token", json!({ "tenant": "other" }), "tenant"),
        ("/keys/rotations", json!({ "what": "subject", "custmer": "c" }), "custmer"),
        ("/keys/rotations", json!({ "what": "epoch", "customer": "c" }), "customer"),
        ("/keys/root-rotations", json!({ "customer": "c" }), "customer"),
        ("/erasures", json!({ "customer": "c", "dry_run": true }), "dry_run"),
        ("/knowledge/documents", json!({ "source": "s", "path": "p", "text": "t", "clas": "restricted" }), "clas"),
        ("/knowledge/documents", section, "lang"),
        ("/search", json!({ "text": "t", "classmax": "public" }), "classmax"),
        ("/search", json!({ "text": "t", "tokens": 5 }), "tokens"),
        ("/retrieve", json!({ "text": "t", "token": 5 }), "token"),
        ("/copies/vectors:rebuild", json!({ "keys": [], "key": [] }), "key"),
        ("/copies/vectors:rebuild", json!({ "keys": [{ "kind": "x", "id": "y", "version": 1 }] }), "version"),
        ("/copies/vectors:verify", json!({ "keys": [] }), "keys"),
        ("/configuration/net/a:rollback?to=1", json!({ "version": 1 }), "version"),
        ("/events/groups/g/seek", json!({ "to": "earliest", "topics": "intents" }), "topics"),
        ("/events/groups/g/members/m/poll", json!({ "processed": "x" }), "processed"),
        ("/events/groups/g/members/m/commit", json!({ "epoch": 1, "position": "x", "partition": 1 }), "partition"),
        ("/events/dead-letters", json!({ "consumer": "group/g", "reson": "x" }), "reson"),
        ("/events/dead-letters/retry", json!({ "consumer": "sink/s", "attempts": 1 }), "attempts"),
        ("/open", json!({ "positions": [], "position": "x" }), "position"),
    ];
    for (path, body, field) in cases {
        let answer = stand.post(&format!("/api/v1{path}")).json(&body).send().await.problem(400, "attribute-unknown");
        assert_eq!(answer["context"]["field"], field, "{path}: {answer}");
    }
    for (path, body, field) in [
        ("/events/groups/g", json!({ "topics": ["intents"], "form": "latest" }), "form"),
        ("/events/groups/g/members/m", json!({ "lease": 5 }), "lease"),
        ("/events/sinks/s", json!({ "url": "http://127.0.0.1:9/x", "topics": [], "attemps": 2 }), "attemps"),
    ] {
        let answer = stand.put(&format!("/api/v1{path}")).json(&body).send().await.problem(400, "attribute-unknown");
        assert_eq!(answer["context"]["field"], field, "{path}: {answer}");
    }
    let tenant = json!({ "name": "n", "roles": ["reader"] });
    stand.post("/api/v1/principals?tenant=other").json(&tenant).send().await.problem(400, "parameter-unknown");
    let log = stand.get(&format!("/api/v1/watch?after={head}&wait=0")).send().await.expect(200).json();
    assert_eq!((&log["changes"], log["next"].as_str()), (&json!([]), Some(head.as_str())), "something was written");
    stand.stop().await;
}

/// Who may not write is told so, whatever he sent: not what is wrong with it.
#[tokio::test]
async fn the_role_is_checked_before_the_body_is_parsed() {
    let stand = Stand::new().await;
    let (reader, auditor) =
        (stand.principal("reader", &["reader"]).await, stand.principal("auditor", &["auditor"]).await);
    let doors = [
        ("POST", format!("{TMF}/intent")),
        ("POST", format!("{TMF}/intentSpecification")),
        ("PATCH", format!("{TMF}/intent/x")),
        ("POST", format!("{TMF}/hub")),
        ("PUT", "/api/v1/configuration/ran/x".to_owned()),
        ("POST", "/api/v1/configuration/ran/x:rollback?to=1".to_owned()),
        ("POST", "/api/v1/network-intents".to_owned()),
        ("POST", "/api/v1/knowledge/documents".to_owned()),
        ("POST", "/api/v1/principals".to_owned()),
        ("POST", "/api/v1/keys/rotations".to_owned()),
        ("POST", "/api/v1/erasures".to_owned()),
    ];
    for (method, path) in &doors {
        for token in [&reader, &auditor] {
            let asked = stand.ask(method.parse().unwrap(), path).token(token).body("text/plain", "{\"");
            asked.send().await.problem(403, "role-denied");
        }
        let own = stand.ask(method.parse().unwrap(), path).body("application/json", "{\"").send().await;
        assert!(own.status.is_client_error() && own.status != StatusCode::FORBIDDEN, "{path}: {}", own.text);
    }
    let transactions = "/api/v1/transactions";
    stand.post(transactions).token(&auditor).body("text/plain", "{").send().await.problem(403, "role-denied");
    let writes = json!({ "writes": [{ "op": "put", "kind": "configuration", "id": "no namespace", "document": 7 }] });
    stand.post(transactions).token(&reader).json(&writes).send().await.problem(403, "role-denied");
    let denials = stand.get("/api/v1/audit?kind=act&limit=100").send().await.expect(200).text;
    assert_eq!(denials.matches("role-denied").count(), doors.len() * 2 + 2, "{denials}");
    stand.stop().await;
}

#[tokio::test]
async fn unknown_paths_methods_and_parameters_are_told() {
    let stand = Stand::new().await;
    stand.get("/nothing").send().await.problem(404, "path-unknown");
    stand.put(&format!("{TMF}/intent")).json(&json!({})).send().await.problem(405, "method-not-allowed");
    stand.post(&format!("{TMF}/intent?x=1")).json(&intent("x")).send().await.problem(400, "parameter-unknown");
    stand.get(&format!("{TMF}/intent/%ff")).send().await.problem(400, "path-malformed");
    stand.get(&format!("{TMF}/intent?fields=%zz")).send().await.problem(400, "query-malformed");
    stand.get("/api/v1/history/nothing/x").send().await.problem(400, "kind-unknown");
    stand
        .post(&format!("{TMF}/hub"))
        .json(&json!({ "@type": "Hub", "callback": "http://169.254.169.254/" }))
        .send()
        .await
        .problem(400, "callback-forbidden");
    stand
        .post(&format!("{TMF}/hub"))
        .json(&json!({ "@type": "Hub", "callback": "http://oss.example/" }))
        .send()
        .await
        .problem(403, "callback-insecure");
    stand.stop().await;
}

#[tokio::test]
async fn nephoran_objects_of_both_groups_become_intents() {
    let stand = Stand::new().await;
    let sentence = json!({ "apiVersion": "nephoran.com/v1", "kind": "NetworkIntent",
        "metadata": { "name": "amf", "namespace": "core" }, "spec": { "intent": "Deploy an AMF with 3 replicas" } });
    let target = json!({ "apiVersion": "intent.nephoran.com/v1alpha1", "kind": "NetworkIntent",
        "metadata": { "name": "scale" }, "spec": { "source": "user", "intentType": "scaling", "target": "odu", "namespace": "ran", "replicas": 3 } });
    for object in [sentence, target] {
        let made = stand.post("/api/v1/network-intents").json(&object).send().await.expect(201);
        let id = made.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(stand.get(&format!("/api/v1/network-intents/{id}")).send().await.expect(200).json(), object);
        stand.get(made.header("location")).send().await.expect(200);
        stand.post("/api/v1/network-intents").json(&object).send().await.problem(409, "already-exists");
    }
    let body = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "x" }, "spec": {} });
    stand.post("/api/v1/network-intents").json(&body).send().await.problem(400, "network-intent-malformed");
    stand.stop().await;
}

async fn raw(stand: &Stand, text: &[u8]) -> String {
    let mut stream = tokio::net::TcpStream::connect(stand.base.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(text).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let brief = Duration::from_millis(200);
    let stand = Stand::with(Limits { head_time: brief, body_time: brief, ..Limits::default() }).await;
    // Each of these ends only because the server closes the connection.
    assert_eq!(raw(&stand, b"").await, "");
    let half = raw(&stand, b"GET /livez HTTP/1.1\r\nhost").await;
    assert!(half.is_empty() || half.starts_with("HTTP/1.1 408"), "{half}");
    let head = format!(
        "POST {TMF}/intent HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 10\r\n\r\n{{",
        stand.admin
    );
    let body = raw(&stand, head.as_bytes()).await;
    assert!(body.starts_with("HTTP/1.1 408") && body.contains("body-too-slow"), "{body}");
    stand.stop().await;
}

#[tokio::test]
async fn too_much_at_one_time_is_refused_before_it_begins() {
    let stand = Stand::with(Limits { requests: 0, watchers: 0, ..Limits::default() }).await;
    let shed = stand.get(&format!("{TMF}/intent")).send().await;
    shed.problem(503, "overloaded");
    assert_eq!(shed.header("retry-after"), "1");
    stand.get("/api/v1/watch").send().await.problem(503, "overloaded");
    stand.stop().await;
}

/// What a client may send as a header, the names that mean something to us among them.
fn headers() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let names =
        ["if-match", "if-none-match", "idempotency-key", "purpose", "tenant", "ledger-position", "x-request-id"];
    let values = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        "(\"|W/|\\*|0|1|-|\\.|,|k| )*".prop_map(String::into_bytes),
    ];
    prop::collection::vec((prop::sample::select(names.to_vec()), values), 0..3)
}

/// Filters, fields, pages and cursors; half of it spelled as they are spelled.
fn queries() -> impl Strategy<Value = String> {
    let names =
        "(fields|offset|limit|sort|name|name\\.gt|name\\.ne|priority|expression\\.iri|after|wait|kind|to|at|%6e|x)";
    let values =
        "(name|id|@type|a\\.b|,|;|-1|0|1|2|10|99999999999999999999|0\\.1-0000000000000001\\.3|%zz|%00|%ff|\\*|x)*";
    let spelled = format!("({names}={values}&){{0,3}}{names}={values}");
    prop_oneof!["[ -~]{0,24}", proptest::string::string_regex(&spelled).unwrap()]
}

fn request(method: &str, path: &str, token: &str, headers: &[(&str, Vec<u8>)], body: Vec<u8>) -> Option<Request<Body>> {
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
    headers.iter().fold(request, |request, (name, value)| request.header(*name, &value[..])).body(Body::from(body)).ok()
}

/// No 500, an error body of TMF630 with every refusal, and nothing stored by what was refused.
#[track_caller]
fn answered(stand: &Stand, runtime: &tokio::runtime::Runtime, router: &axum::Router, asked: Request<Body>) {
    let (method, path) = (asked.method().clone(), asked.uri().to_string());
    let before = stand.app.ledger.published().unwrap();
    let (head, body) = runtime.block_on(router.clone().oneshot(asked)).unwrap().into_parts();
    let body = runtime.block_on(axum::body::to_bytes(body, usize::MAX)).unwrap();
    let reply = Reply { status: head.status, headers: head.headers, text: String::from_utf8(body.to_vec()).unwrap() };
    assert_ne!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{method} {path}: {}", reply.text);
    crate::official::check(&method, &path, &reply);
    if reply.status.is_client_error() {
        assert_eq!(stand.app.ledger.published().unwrap(), before, "{method} {path} was refused and stored something");
    }
}

#[test]
fn arbitrary_requests_are_answered_without_a_panic_and_a_refused_one_stores_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let stand = runtime.block_on(Stand::new());
    runtime.block_on(stand.intent("x"));
    let router = server::http::router(stand.app.clone());
    let (tmf, ours) = (
        ["/intent", "/intentSpecification", "/intent/x", "/intent/x/intentReport", "/hub", "/hub/x"],
        [
            "/transactions",
            "/configuration",
            "/configuration/ran/x",
            "/configuration/ran/x:rollback?to=1",
            "/history/intent/x",
            "/watch?wait=0",
            "/audit",
            "/principals",
            "/keys/rotations",
            "/erasures",
            "/network-intents",
        ],
    );
    let tmf = tmf.map(|path| format!("{TMF}{path}"));
    let paths = prop::sample::select([&tmf[..], &ours.map(|path| format!("/api/v1{path}"))].concat());
    let methods = prop::sample::select(vec!["GET", "GET", "POST", "PUT", "PATCH", "DELETE"]);
    let kinds = prop::sample::select(vec![
        "application/json",
        "application/json-patch+json",
        "application/json-patch-query+json",
        "application/merge-patch+json",
    ]);
    let words = "(\\{|\\}|\\[|\\]|,|:|\"@type\"|\"Intent\"|\"name\"|\"op\"|\"path\"|\"/a\"|\"value\"|1|-0|1e999|null|\"\\\\u0000\")*";
    let bodies = prop_oneof![prop::collection::vec(any::<u8>(), 0..256), words.prop_map(String::into_bytes)];
    let config = ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(path in paths, method in methods, kind in kinds, body in bodies, query in queries(), headers in headers())| {
        let separator = if path.contains('?') { '&' } else { '?' };
        for path in [path.clone(), format!("{path}{separator}{query}")] {
            let kind = [("content-type", kind.as_bytes().to_vec())];
            let Some(asked) = request(method, &path, &stand.admin, &[&kind[..], &headers[..]].concat(), body.clone()) else { continue };
            answered(&stand, &runtime, &router, asked);
        }
    });
    runtime.block_on(stand.stop());
}
