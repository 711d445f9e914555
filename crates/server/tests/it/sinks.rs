//! Webhook sinks: events at least once, in order, each sink at its own pace; what is refused is put aside and told.

use crate::stand::{Reply, Stand};
use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

const SINKS: &str = "/api/v1/events/sinks";
const LETTERS: &str = "/api/v1/events/dead-letters";

/// What came in one request that was taken.
struct Request {
    headers: HeaderMap,
    body: Value,
}

type Judge = Arc<dyn Fn(&Value) -> StatusCode + Send + Sync>;

#[derive(Clone)]
struct Receiver {
    judge: Judge,
    taken: mpsc::Sender<Request>,
}

struct Hook {
    url: String,
    taken: mpsc::Receiver<Request>,
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let body = serde_json::from_slice(&body).unwrap();
    let status = (receiver.judge)(&body);
    if status.is_success() {
        receiver.taken.send(Request { headers, body }).await.unwrap();
    }
    status
}

impl Hook {
    async fn new(judge: impl Fn(&Value) -> StatusCode + Send + Sync + 'static) -> Self {
        let (sender, taken) = mpsc::channel(1_024);
        let receiver = Receiver { judge: Arc::new(judge), taken: sender };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let app = Router::new().route("/hook", post(receive)).with_state(receiver);
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, taken }
    }

    async fn next(&mut self) -> Request {
        let taken = tokio::time::timeout(Duration::from_secs(60), self.taken.recv()).await;
        taken.expect("nothing was sent in time").unwrap()
    }

    /// Subjects of structured events or batches, so many.
    async fn subjects(&mut self, count: usize) -> Vec<String> {
        let mut found = Vec::new();
        while found.len() < count {
            let body = self.next().await.body;
            let events = body.as_array().cloned().unwrap_or_else(|| vec![body]);
            found.extend(events.iter().map(|event| event["subject"].as_str().unwrap().to_owned()));
        }
        found
    }
}

async fn make(stand: &Stand, name: &str, body: Value) -> Reply {
    stand.put(&format!("{SINKS}/{name}")).json(&body).send().await
}

async fn letters(stand: &Stand, consumer: &str) -> Vec<Value> {
    let listed = stand.get(&format!("{LETTERS}?consumer={consumer}")).send().await.expect(200);
    listed.json()["dead_letters"].as_array().unwrap().clone()
}

/// Until there are so many.
async fn letters_of(stand: &Stand, consumer: &str, count: usize) -> Vec<Value> {
    let until = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let found = letters(stand, consumer).await;
        if found.len() == count {
            return found;
        }
        assert!(std::time::Instant::now() < until, "{found:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn each_mode_of_cloudevents_comes_as_the_standard_says() {
    let stand = Stand::new().await;
    let id = stand.intent("one").await;
    for mode in ["structured", "binary", "batch"] {
        let mut hook = Hook::new(|_| StatusCode::NO_CONTENT).await;
        let body = json!({ "url": hook.url, "topics": ["intent.lifecycle"], "mode": mode, "from": "earliest" });
        let made = make(&stand, mode, body).await.expect(201).json();
        assert_eq!((&made["name"], &made["attempts"]), (&json!(mode), &json!(5)));
        let Request { headers, body } = hook.next().await;
        let kind = headers["content-type"].to_str().unwrap();
        match mode {
            "structured" => assert_eq!((kind, &body["subject"]), ("application/cloudevents+json", &json!(id))),
            "batch" => assert_eq!((kind, &body[0]["subject"]), ("application/cloudevents-batch+json", &json!(id))),
            _ => {
                assert_eq!((kind, &body["id"], &body["action"]), ("application/json", &json!(id), &json!("created")));
                assert_eq!(headers["ce-subject"], *id);
                assert_eq!(headers["ce-specversion"], "1.0");
                assert_eq!(headers["ce-type"], "nephkeep.intent.lifecycle.created");
            }
        }
    }
    let listed = stand.get(SINKS).send().await.expect(200).json();
    assert_eq!(listed["sinks"].as_array().unwrap().len(), 3);
    let status = stand.get("/api/v1/status").send().await.expect(200).json();
    assert_eq!((&status["events"]["sinks"], &status["events"]["sinks_failing"]), (&json!(3), &json!(0)));
    stand.stop().await;
}

#[tokio::test]
async fn a_sink_that_was_away_misses_nothing_and_keeps_the_order() {
    let stand = Stand::new().await;
    let left = std::sync::atomic::AtomicU32::new(3);
    let mut hook = Hook::new(move |_| {
        let order = std::sync::atomic::Ordering::SeqCst;
        match left.fetch_update(order, order, |left| left.checked_sub(1)) {
            Ok(_) => StatusCode::SERVICE_UNAVAILABLE,
            Err(_) => StatusCode::OK,
        }
    })
    .await;
    make(&stand, "s", json!({ "url": hook.url, "topics": ["intent.lifecycle"] })).await.expect(201);
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(stand.intent(&format!("i{n}")).await);
    }
    assert_eq!(hook.subjects(5).await, ids);
    // A restart goes on where it stood: only what came just before may come again.
    let stand = stand.again().await;
    let late = stand.intent("late").await;
    let mut again = hook.subjects(1).await;
    while again.last() != Some(&late) {
        again.extend(hook.subjects(1).await);
    }
    assert!(ids.ends_with(&again[..again.len() - 1]), "{again:?} after {ids:?}");
    // Deleted and made again, it begins where it is told to.
    stand.delete(&format!("{SINKS}/s")).send().await.expect(204);
    stand.get(&format!("{SINKS}/s")).send().await.problem(404, "not-found");
    let body = json!({ "url": hook.url, "topics": ["intent.lifecycle"], "from": "earliest" });
    make(&stand, "s", body).await.expect(201);
    ids.push(late);
    assert_eq!(hook.subjects(6).await, ids);
    stand.stop().await;
}

#[tokio::test]
async fn an_event_that_is_refused_is_put_aside_with_the_reason_and_sent_again_on_request() {
    let stand = Stand::new().await;
    let mut ids = Vec::new();
    for n in 0..9 {
        ids.push(stand.intent(&format!("i{n}")).await);
    }
    let poison = ids[4].clone();
    let healed = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let judge = {
        let (poison, healed) = (poison.clone(), Arc::clone(&healed));
        move |body: &Value| {
            let heals = healed.load(std::sync::atomic::Ordering::SeqCst);
            if body.to_string().contains(&poison) && !heals { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }
        }
    };
    let mut hook = Hook::new(judge).await;
    let body =
        json!({ "url": hook.url, "topics": ["intent.lifecycle"], "mode": "batch", "attempts": 2, "from": "earliest" });
    make(&stand, "b", body).await.expect(201);
    let found = letters_of(&stand, "sink/b", 1).await;
    assert_eq!((&found[0]["topic"], &found[0]["attempts"]), (&json!("intent.lifecycle"), &json!(2)));
    assert!(found[0]["reason"].as_str().unwrap().contains("422"), "{found:?}");
    let expected: Vec<_> = ids.iter().filter(|id| **id != poison).cloned().collect();
    assert_eq!(hook.subjects(8).await, expected, "its neighbours in the batch are delivered, in order");
    let named = json!({ "consumer": "sink/b", "topic": "intent.lifecycle", "position": found[0]["position"] });
    let again = format!("{LETTERS}/retry");
    stand.post(&again).json(&named).send().await.problem(503, "callback-failed");
    healed.store(true, std::sync::atomic::Ordering::SeqCst);
    stand.post(&again).json(&named).send().await.expect(204);
    assert_eq!(hook.subjects(1).await, [poison]);
    assert!(letters(&stand, "sink/b").await.is_empty());
    stand.post(&again).json(&named).send().await.problem(404, "not-found");
    stand.stop().await;
}

#[tokio::test]
async fn a_member_of_a_group_puts_an_event_aside() {
    let stand = Stand::new().await;
    stand.intent("odd").await;
    let group = json!({ "topics": ["intent.lifecycle"] });
    stand.put("/api/v1/events/groups/g").json(&group).send().await.expect(201);
    let events = stand.get("/api/v1/events/topics/intent.lifecycle?wait=5").send().await.expect(200).json();
    let mut named = json!({ "consumer": "group/g", "topic": "intent.lifecycle", "position": events[0]["id"] });
    stand.post(LETTERS).json(&named).send().await.problem(400, "attribute-value");
    named["reason"] = json!("no tariff for this slice");
    stand.post(LETTERS).json(&named).send().await.expect(204);
    assert_eq!(letters(&stand, "group/g").await[0]["reason"], "no tariff for this slice");
    named["topic"] = json!("knowledge.changed");
    stand.post(LETTERS).json(&named).send().await.problem(404, "event-unknown");
    named["topic"] = json!("intent.lifecycle");
    stand.post(&format!("{LETTERS}/discard")).json(&named).send().await.expect(204);
    assert!(letters(&stand, "group/g").await.is_empty());
    stand.post(LETTERS).json(&named).send().await.expect(204);
    stand.delete("/api/v1/events/groups/g").send().await.expect(204);
    assert!(letters(&stand, "group/g").await.is_empty(), "they go with their group");
    stand.stop().await;
}

#[tokio::test]
async fn a_sink_tells_what_its_maker_may_read_and_goes_where_it_may() {
    let stand = Stand::new().await;
    let (reader, writer) = (stand.principal("r", &["reader"]).await, stand.principal("w", &["writer"]).await);
    let body = json!({ "url": "http://127.0.0.1:9/x", "topics": ["intent.lifecycle"] });
    let put = |name: &str| stand.put(&format!("{SINKS}/{name}"));
    put("s").token(&reader).json(&body).send().await.problem(403, "role-denied");
    let audit = json!({ "url": "http://127.0.0.1:9/x", "topics": ["audit.recorded"] });
    put("s").token(&writer).json(&audit).send().await.problem(403, "role-denied");
    put("s").token(&writer).json(&body).send().await.expect(201);
    put("s").json(&audit).send().await.expect(200);
    for (url, status, code) in [
        ("http://10.1.2.3/x", 403, "callback-insecure"),
        ("http://169.254.169.254/x", 400, "callback-forbidden"),
        ("nowhere", 400, "callback-malformed"),
    ] {
        put("t").json(&json!({ "url": url, "topics": ["intent.lifecycle"] })).send().await.problem(status, code);
    }
    let unknown = json!({ "url": "http://127.0.0.1:9/x", "topics": ["intents"] });
    put("t").json(&unknown).send().await.problem(404, "topic-unknown");
    let until = std::time::Instant::now() + Duration::from_secs(60);
    // Nobody listens there: the sink's state says so, and nothing is lost.
    loop {
        let shown = stand.get(&format!("{SINKS}/s")).send().await.expect(200).json();
        if shown["error"].as_str().is_some_and(|error| error.contains("did not answer")) {
            break;
        }
        assert!(std::time::Instant::now() < until, "{shown}");
    }
    stand.stop().await;
}
