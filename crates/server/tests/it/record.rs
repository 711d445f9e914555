//! Advice about the record, and its upkeep in the status.

use crate::stand::Stand;
use serde_json::json;

#[tokio::test]
async fn operators_of_the_installation_are_advised_and_nobody_else() {
    let stand = Stand::new().await;
    let token = async |name: &str, roles: &[&str], tenant: Option<&str>| {
        let mut body = json!({ "name": name, "roles": roles });
        if let Some(tenant) = tenant {
            body["tenant"] = json!(tenant);
        }
        stand.post("/api/v1/principals").json(&body).send().await.expect(201).json()["token"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let operator = token("olga", &["operator"], None).await;
    let advice = stand.get("/api/v1/record/advice").token(&operator).send().await.expect(200).json();
    assert!(advice["tables"].as_array().unwrap().iter().any(|table| table["table"] == "log_head"), "{advice}");
    // The server of the tests is not one that we started for this record: its view of statements is not made.
    assert_ne!(advice["statements_state"], "counted");
    assert!(
        advice["findings"].as_array().unwrap().iter().any(|one| one["what"] == "statements-not-counted"),
        "{advice}"
    );
    stand.put("/api/v1/record/baseline").token(&operator).send().await.problem(503, "statements-not-counted");
    stand.get("/api/v1/record/advice?x=1").token(&operator).send().await.problem(400, "parameter-unknown");
    let given = json!({ "calls": 1 });
    stand.put("/api/v1/record/baseline").token(&operator).json(&given).send().await.problem(400, "attribute-unknown");

    let reader = token("rita", &["reader"], None).await;
    stand.get("/api/v1/record/advice").token(&reader).send().await.problem(403, "role-denied");
    stand.put("/api/v1/record/baseline").token(&reader).send().await.problem(403, "role-denied");
    let guest = token("gus", &["operator"], Some("guest")).await;
    stand.get("/api/v1/record/advice").token(&guest).send().await.problem(403, "tenant-denied");
    let acts = stand.get("/api/v1/audit?kind=act").send().await.expect(200).text;
    assert!(acts.contains("record-baseline") && acts.contains("tenant-denied"), "{acts}");
    stand.stop().await;
}

#[tokio::test]
async fn the_status_tells_of_the_upkeep() {
    let stand = Stand::new().await;
    let upkeep = stand.get("/api/v1/status").send().await.expect(200).json()["record"]["upkeep"].clone();
    assert_eq!((&upkeep["failures"], &upkeep["tables_waiting"]), (&json!(0), &json!(0)), "{upkeep}");
    stand.stop().await;
}
