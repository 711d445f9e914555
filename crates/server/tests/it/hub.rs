//! Notifications: every change once or more, in order, to each subscriber at its own pace.

use crate::{
    official::validate,
    stand::{Stand, TMF, intent},
};
use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// A subscriber that fails a number of times first.
struct Listener {
    url: String,
    events: mpsc::Receiver<Value>,
}

#[derive(Clone)]
struct Behaviour {
    failures: Arc<AtomicU32>,
    events: mpsc::Sender<Value>,
}

async fn receive(State(behaviour): State<Behaviour>, body: Bytes) -> StatusCode {
    let left = behaviour.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    if left.is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    behaviour.events.send(serde_json::from_slice(&body).unwrap()).await.unwrap();
    StatusCode::NO_CONTENT
}

impl Listener {
    async fn new(failures: u32) -> Self {
        let (sender, events) = mpsc::channel(64);
        let behaviour = Behaviour { failures: Arc::new(AtomicU32::new(failures)), events: sender };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/listener", listener.local_addr().unwrap());
        let app = Router::new().route("/listener", post(receive)).with_state(behaviour);
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, events }
    }

    async fn next(&mut self) -> Value {
        let event = tokio::time::timeout(Duration::from_secs(60), self.events.recv()).await;
        event.expect("no notification in time").unwrap()
    }
}

async fn subscribe(stand: &Stand, url: &str, query: Option<&str>) -> String {
    let mut body = json!({ "@type": "Hub", "callback": url });
    if let Some(query) = query {
        body["query"] = json!(query);
    }
    let made = stand.post(&format!("{TMF}/hub")).json(&body).send().await.expect(201);
    validate(&made.json());
    made.header("location").to_owned()
}

#[tokio::test]
async fn a_deleted_report_is_told_as_deleted_only_and_a_repeated_subscription_is_one() {
    let stand = Stand::new().await;
    let mut listener = Listener::new(0).await;
    let body = json!({ "@type": "Hub", "callback": listener.url });
    let subscribe = || stand.post(&format!("{TMF}/hub")).header("idempotency-key", "hub").json(&body).send();
    let (first, again) = (subscribe().await.expect(201), subscribe().await.expect(201));
    assert_eq!((&first.text, first.header("location")), (&again.text, again.header("location")));

    let mut proposed = intent("told");
    proposed["id"] = json!("rep-1");
    let create = || stand.post(&format!("{TMF}/intent")).json(&proposed).send();
    create().await.expect(201);
    let reports = format!("{TMF}/intent/rep-1/intentReport");
    let report = stand.get(&reports).send().await.expect(200).json()[0]["id"].as_str().unwrap().to_owned();
    stand.delete(&format!("{reports}/{report}")).send().await.expect(204);
    stand.delete(&format!("{TMF}/intent/rep-1")).send().await.expect(204);
    create().await.expect(201);
    let expected = [
        "IntentCreateEvent",
        "IntentReportCreateEvent",
        "IntentReportDeleteEvent",
        "IntentDeleteEvent",
        "IntentCreateEvent",
        "IntentReportCreateEvent",
    ];
    for name in expected {
        let event = listener.next().await;
        assert_eq!(event["eventType"], name, "{event}");
        validate(&event);
    }
    let path = first.header("location");
    let tag = first.header("etag");
    stand.delete(path).header("if-match", "\"444\"").send().await.problem(412, "precondition-failed");
    let delete = || stand.delete(path).header("if-match", tag).header("idempotency-key", "end").send();
    assert_eq!(
        delete().await.expect(204).headers["ledger-position"],
        delete().await.expect(204).headers["ledger-position"]
    );
    stand.stop().await;
}

#[tokio::test]
async fn the_life_of_an_intent_is_told_in_order_also_after_failures() {
    let stand = Stand::new().await;
    let mut listener = Listener::new(2).await;
    subscribe(&stand, &listener.url, None).await;
    let id = stand.intent("told").await;
    let path = format!("{TMF}/intent/{id}");
    stand.patch(&path).json(&json!({ "@type": "Intent", "description": "new" })).send().await.expect(200);
    stand.patch(&path).json(&json!({ "@type": "Intent", "lifecycleStatus": "Active" })).send().await.expect(200);
    stand.delete(&path).send().await.expect(204);
    let expected = [
        "IntentCreateEvent",
        "IntentReportCreateEvent",
        "IntentAttributeValueChangeEvent",
        "IntentStatusChangeEvent",
        "IntentDeleteEvent",
        "IntentReportDeleteEvent",
    ];
    for name in expected {
        let event = listener.next().await;
        assert_eq!(event["eventType"], name, "{event}");
        validate(&event);
        let resource =
            if name.starts_with("IntentReport") { &event["event"]["intentReport"] } else { &event["event"]["intent"] };
        assert!(resource["id"].is_string() && event["eventId"].is_string(), "{event}");
    }
    let trail = stand.get("/api/v1/audit?kind=access&limit=1000").send().await.expect(200).text;
    assert!(trail.contains("hub/") && trail.contains("notification"), "a webhook is a release of data: {trail}");
    stand.stop().await;
}

#[tokio::test]
async fn a_stuck_subscriber_holds_up_nobody_and_a_filter_is_kept() {
    let stand = Stand::new().await;
    let (stuck, mut quick) = (Listener::new(u32::MAX).await, Listener::new(0).await);
    let gone = subscribe(&stand, &stuck.url, None).await;
    let other = subscribe(&stand, &quick.url, Some("eventType=IntentCreateEvent")).await;
    let ids = [stand.intent("one").await, stand.intent("two").await];
    for id in &ids {
        let event = quick.next().await;
        assert_eq!(
            (event["eventType"].as_str(), event["event"]["intent"]["id"].as_str()),
            (Some("IntentCreateEvent"), Some(id.as_str()))
        );
    }
    stand.delete(&gone).send().await.expect(204);
    stand.delete(&gone).send().await.problem(404, "not-found");
    stand.delete(&other).send().await.expect(204);
    stand.stop().await;
}

/// Positions are remembered at most once a second: what came just before a stop may come twice, nothing is left out.
#[tokio::test]
async fn after_a_restart_delivery_goes_on_where_it_stood() {
    let mut stand = Stand::new().await;
    let mut listener = Listener::new(0).await;
    subscribe(&stand, &listener.url, Some("eventType=IntentCreateEvent")).await;
    let mut told: Vec<Value> = Vec::new();
    for round in 0..3 {
        let id = stand.intent(&format!("round {round}")).await;
        // Only repetitions may stand before it.
        let event = loop {
            let event = listener.next().await;
            if !told.contains(&event["eventId"]) {
                break event;
            }
        };
        assert_eq!(event["event"]["intent"]["id"], *id, "round {round}: {event}");
        told.push(event["eventId"].clone());
        stand = stand.again().await;
    }
    stand.stop().await;
}
