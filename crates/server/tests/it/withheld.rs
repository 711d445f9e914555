//! The audit log cannot be written: nothing is released, and of what is stored nobody is told that it is not.
//!
//! A soft limit on file size (SIGXFSZ ignored by the shell that starts the child) plays the full disk of this process;
//! PostgreSQL, started before, has none.

use crate::stand::{Reply, Stand, TMF};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::{process::Command, time::Duration};

const CHILD: &str = "NEPHKEEP_TEST_FULL_AUDIT";
const CELL: &str = "/api/v1/configuration/ran/cell";

#[test]
fn child() {
    if std::env::var_os(CHILD).is_some() {
        tokio::runtime::Runtime::new().unwrap().block_on(full_and_free_again());
    }
}

#[test]
fn what_is_stored_is_never_told_to_be_tried_again() {
    let script = r#"trap "" XFSZ; exec "$0" --exact withheld::child --nocapture"#;
    let mut child = Command::new("sh");
    let child = child.args(["-c", script]).arg(std::env::current_exe().unwrap()).env(CHILD, "1");
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn full(full: bool) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    let current = if full { Some(1) } else { maximum };
    setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
}

/// Nothing is on its way into the audit log, and nothing has failed since its last success.
async fn quiet(stand: &Stand) {
    if let Some(position) = stand.app.ledger.published().unwrap() {
        stand.app.audit.wait_for_write(position).await.unwrap();
    }
    stand.app.audit.publish().await.unwrap();
    assert!(stand.app.audit.failing(Duration::MAX).is_none());
}

fn assert_withheld(reply: &Reply, place: &str) {
    let told = reply.problem(500, "answer-withheld");
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.starts_with(&format!("stored {place}; ")) && reason.contains("do not repeat"), "{reason}");
    assert_eq!(Some(reply.header("ledger-position")), told["context"]["position"].as_str());
    assert!(reply.headers.get("retry-after").is_none(), "no client may repeat by itself");
}

async fn full_and_free_again() {
    let stand = Stand::new().await;
    let intent = format!("{TMF}/intent/{}", stand.intent("x").await);
    let change = |text: &str| {
        let change = json!({ "@type": "Intent", "description": text }).to_string();
        stand.patch(&intent).body("application/merge-patch+json", change)
    };
    let both = json!({
        "reads": [{ "kind": "intent", "id": intent.rsplit('/').next() }],
        "writes": [{ "op": "put", "kind": "configuration", "id": "ran/cell", "document": { "power": 1 } }],
    });

    // Found out while the change is being committed.
    quiet(&stand).await;
    full(true);
    assert_withheld(&change("first").send().await, "at version 2");
    // Known: no change begins that could not be answered.
    change("second").send().await.problem(503, "audit-unavailable");
    stand.post("/api/v1/transactions").json(&both).send().await.problem(503, "audit-unavailable");
    stand.get(&intent).send().await.problem(503, "audit-unavailable");
    stand.get("/readyz").send().await.problem(503, "audit-unavailable");
    full(false);
    let read = stand.get(&intent).send().await.expect(200);
    assert_eq!((read.header("etag"), read.json()["description"].as_str()), ("\"2\"", Some("first")));
    stand.get("/readyz").send().await.expect(200);
    change("third").send().await.expect(200);

    quiet(&stand).await;
    full(true);
    let transaction = stand.post("/api/v1/transactions").json(&both).send().await;
    assert_withheld(&transaction, "at version 1");
    full(false);
    assert_eq!(stand.get(CELL).send().await.expect(200).header("etag"), "\"1\"");
    stand.stop().await;
}
