//! The log by long-poll and as a stream; status, health, metrics; the audit trail.

use crate::stand::{Stand, TMF, intent};
use futures_util::StreamExt;
use serde_json::Value;
use server::Limits;
use std::time::Duration;

#[tokio::test]
async fn a_long_poll_goes_on_where_it_left_off() {
    let stand = Stand::new().await;
    let id = stand.intent("watched").await;
    let page = stand.get("/api/v1/watch?kind=intent").send().await.expect(200).json();
    let change = &page["changes"][0];
    assert_eq!((change["id"].as_str(), change["action"].as_str()), (Some(id.as_str()), Some("created")));
    assert_eq!(change["principal"], "local-admin");
    let next = page["next"].as_str().unwrap();
    let waiting = stand.get(&format!("/api/v1/watch?kind=intent&after={next}")).send();
    let made = stand.post(&format!("{TMF}/intent")).json(&intent("later")).send();
    let (page, made) = tokio::join!(waiting, made);
    assert_eq!(page.expect(200).json()["changes"][0]["id"], made.json()["id"]);
    let idle = stand.get("/api/v1/watch?wait=0&kind=hub").send().await.expect(200).json();
    assert_eq!(idle["changes"].as_array().unwrap().len(), 0);
    assert_eq!(idle["next"], idle["published"]);
    stand.get("/api/v1/watch?after=1").send().await.problem(400, "position-malformed");
    stand.get("/api/v1/watch?kind=x").send().await.problem(400, "kind-unknown");
    stand.stop().await;
}

/// Handed back as reached, it would leave out everything until then.
#[tokio::test]
async fn a_position_that_the_log_has_not_reached_is_not_told_as_reached() {
    let limits = Limits { position_wait: Duration::from_millis(50), ..Limits::default() };
    let stand = Stand::with(limits).await;
    stand.intent("one").await;
    let status = stand.get("/api/v1/status").send().await.expect(200).json();
    let head = status["record"]["published"].as_str().unwrap();
    let (life, n) = head.rsplit_once('.').unwrap();
    let ahead = format!("{life}.{}", n.parse::<u64>().unwrap() + 1_000);
    let watch = format!("/api/v1/watch?after={ahead}&wait=0");
    let refused = stand.get(&watch).send().await;
    assert_eq!(refused.problem(400, "position-ahead")["context"]["position"], ahead.as_str());
    assert!(!refused.headers.contains_key("ledger-position"));
    let stream = stand.get("/api/v1/watch").header("accept", "text/event-stream").header("last-event-id", &ahead);
    stream.send().await.problem(400, "position-ahead");
    let page = stand.get(&format!("/api/v1/watch?after={head}&wait=0")).send().await.expect(200);
    assert_eq!((page.header("ledger-position"), &page.json()["next"]), (head, &Value::from(head)));
    // A follower may only be late: it waits, and then sends the watcher elsewhere.
    let follower = stand.beside().await;
    follower.get(&watch).send().await.problem(503, "position-timeout");
    follower.stop().await;
    stand.stop().await;
}

#[tokio::test]
async fn a_stream_gives_each_change_once_in_order_and_ends_with_the_server() {
    let stand = Stand::new().await;
    let ids = [stand.intent("a").await, stand.intent("b").await];
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/api/v1/watch?kind=intent", stand.base);
    let request = client.get(url).bearer_auth(&stand.admin).header("accept", "text/event-stream");
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut stream, mut text) = (response.bytes_stream(), String::new());
    let third = stand.intent("c").await;
    while !text.contains(&third) {
        text += std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap();
    }
    let changes: Vec<Value> =
        text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|d| serde_json::from_str(d).unwrap()).collect();
    let seen: Vec<&str> = changes.iter().map(|change| change["id"].as_str().unwrap()).collect();
    assert_eq!(seen, [ids[0].as_str(), ids[1].as_str(), third.as_str()]);
    stand.stop().await;
    while let Some(Ok(_)) = stream.next().await {}
}

/// A browser's event source comes back to the address it began with.
#[tokio::test]
async fn the_last_event_seen_goes_before_the_place_in_the_address() {
    let stand = Stand::new().await;
    for name in ["a", "b"] {
        stand.intent(name).await;
    }
    let page = stand.get("/api/v1/watch?kind=intent").send().await.expect(200).json();
    let position = |at: usize| page["changes"][at]["position"].as_str().unwrap().to_owned();
    let from_first = || stand.get(&format!("/api/v1/watch?kind=intent&wait=0&after={}", position(0)));
    assert_eq!(from_first().send().await.expect(200).json()["changes"][0]["position"], position(1));
    let again = from_first().header("last-event-id", &position(1)).send().await.expect(200).json();
    assert_eq!(again["changes"], serde_json::json!([]));
    stand.stop().await;
}

#[tokio::test]
async fn status_health_and_metrics_answer() {
    let stand = Stand::new().await;
    let status = stand.get("/api/v1/status").send().await.expect(200).json();
    assert_eq!(status["record"]["role"], "leader");
    assert!(status["record"]["published"].as_str().unwrap().starts_with("0.1-"), "{status}");
    // The look for expired audit rows begins with the lease.
    let expiry = async {
        loop {
            let expiry = stand.get("/api/v1/status").send().await.expect(200).json()["audit"]["expiry"].take();
            if expiry["last_run"].is_string() {
                return expiry;
            }
        }
    };
    let expiry = tokio::time::timeout(Duration::from_secs(30), expiry).await.unwrap();
    assert_eq!((expiry["failures"].as_u64(), expiry["months_dropped"].as_u64()), (Some(0), Some(0)), "{expiry}");
    stand.get("/livez").anonymous().send().await.expect(200);
    assert_eq!(stand.get("/readyz").anonymous().send().await.expect(200).json()["role"], "leader");
    let metrics = stand.get("/metrics").anonymous().send().await.expect(200);
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    assert!(
        metrics.text.contains("nephkeep_record_leader 1")
            && metrics.text.contains("nephkeep_http_requests_total")
            && metrics.text.ends_with("# EOF\n")
    );
    stand.stop().await;
}

#[tokio::test]
async fn reads_and_writes_stand_in_the_audit_trail_before_they_are_answered() {
    let stand = Stand::new().await;
    let id = stand.intent("audited").await;
    stand.get(&format!("{TMF}/intent/{id}")).header("purpose", "assurance").send().await.expect(200);
    let trail = stand.get("/api/v1/audit?limit=1000&order=oldest").send().await.expect(200).json();
    let entries = trail["entries"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["entry"] == "access" && entry["purpose"] == "assurance"), "{trail}");
    let note = stand.get("/api/v1/audit/checkpoint").send().await.expect(200).text;
    assert!(note.lines().count() >= 4, "{note}");
    let compared = stand.get("/api/v1/audit/reconciliation").send().await.expect(200).json();
    assert_eq!((compared["findings_in_all"].as_u64(), compared["changes"].as_u64()), (Some(0), Some(2)), "{compared}");
    stand.get("/api/v1/audit?kind=x").send().await.problem(400, "parameter-malformed");
    stand.get("/api/v1/audit?since=yesterday").send().await.problem(400, "parameter-malformed");
    stand.stop().await;
}
