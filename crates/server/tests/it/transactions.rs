//! Several resources, all or nothing.

use crate::stand::{Stand, intent};
use serde_json::json;

const PATH: &str = "/api/v1/transactions";

#[tokio::test]
async fn reads_and_writes_stand_at_one_position() {
    let stand = Stand::new().await;
    let first = json!({ "writes": [
        { "op": "create", "kind": "configuration", "id": "ran/a", "document": { "n": 1 } },
        { "op": "create", "kind": "intent", "id": "i-1", "document": intent("in a transaction") },
    ] });
    let done = stand.post(PATH).json(&first).send().await.expect(200).json();
    assert_eq!(done["writes"][1]["version"], 1);
    assert_eq!(done["position"], done["writes"][1]["position"]);

    let mut changed = intent("renamed");
    changed["lifecycleStatus"] = json!("Active");
    let second = json!({
        "reads": [{ "kind": "configuration", "id": "ran/a" }, { "kind": "configuration", "id": "ran/none" }],
        "preconditions": [
            { "kind": "configuration", "id": "ran/a", "version": 1 },
            { "kind": "configuration", "id": "ran/b", "absent": true },
        ],
        "writes": [
            { "op": "put", "kind": "configuration", "id": "ran/b", "document": { "n": 2 } },
            { "op": "replace", "kind": "intent", "id": "i-1", "version": 1, "document": changed },
        ],
    });
    let done = stand.post(PATH).json(&second).send().await.expect(200).json();
    assert_eq!((done["reads"][0]["document"]["n"].as_i64(), &done["reads"][1]), (Some(1), &json!(null)));
    let read = stand.get("/tmf-api/intentManagement/v5/intent/i-1").send().await.expect(200).json();
    assert_eq!((read["name"].as_str(), read["creationDate"].is_string()), (Some("renamed"), true));

    let again = stand.post(PATH).json(&second).send().await;
    assert!(again.status == 409 || again.status == 412, "{}", again.text);
    let missing = stand.get("/api/v1/configuration/ran/b").send().await.expect(200);
    assert_eq!(missing.header("etag"), "\"1\"", "nothing of the refused transaction was written");
    stand.stop().await;
}

#[tokio::test]
async fn a_repeated_transaction_gets_its_first_answer() {
    let stand = Stand::new().await;
    let body = json!({ "writes": [{ "op": "put", "kind": "configuration", "id": "ran/a", "document": {} }] });
    let first = stand.post(PATH).header("idempotency-key", "t").json(&body).send().await.expect(200).json();
    let again = stand.post(PATH).header("idempotency-key", "t").json(&body).send().await.expect(200).json();
    assert_eq!((first["position"].clone(), &again["replayed"]), (again["position"].clone(), &json!(true)));
    stand.stop().await;
}

#[tokio::test]
async fn a_malformed_member_is_named() {
    let stand = Stand::new().await;
    let write = |write: serde_json::Value| json!({ "writes": [write] });
    for body in [
        json!({}),
        json!({ "writes": 1 }),
        write(json!({ "op": "create", "kind": "configuration", "id": "ran/a" })),
        write(json!({ "op": "replace", "kind": "configuration", "id": "ran/a", "document": {} })),
        write(json!({ "op": "replace", "kind": "configuration", "id": "ran/a", "version": 0, "document": {} })),
        write(json!({ "op": "explode", "kind": "configuration", "id": "ran/a", "document": {} })),
        write(json!({ "op": "put", "kind": "principal", "id": "x", "document": {} })),
        write(json!({ "op": "delete", "kind": "configuration", "id": "ran/a", "document": {} })),
        json!({ "preconditions": [{ "kind": "configuration", "id": "ran/a", "present": true, "absent": true }] }),
        json!({ "preconditions": [{ "kind": "configuration", "id": "ran/a", "version": 1, "absent": false }] }),
        json!({ "preconditions": [{ "kind": "configuration", "id": "ran/a", "present": "yes" }] }),
        json!({ "reads": [{ "kind": "configuration", "id": 7 }] }),
    ] {
        let answer = stand.post(PATH).json(&body).send().await;
        answer.problem(400, "attribute-value");
    }
    stand.post(PATH).json(&json!([])).send().await.problem(400, "attribute-type");
    let body = write(json!({ "op": "put", "kind": "nothing", "id": "x", "document": {} }));
    let answer = stand.post(PATH).json(&body).send().await.problem(400, "kind-unknown");
    assert_eq!(answer["context"]["member"], "writes[0]");
    stand.stop().await;
}
