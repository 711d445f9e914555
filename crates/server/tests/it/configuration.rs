//! Configuration: versions, history, difference, rollback.

use crate::stand::Stand;
use serde_json::json;

const CELL: &str = "/api/v1/configuration/ran/cells/du-1";

#[tokio::test]
async fn a_key_has_versions_a_difference_and_a_way_back() {
    let stand = Stand::new().await;
    let first = stand.put(CELL).json(&json!({ "power": 10, "bands": ["n78"] })).send().await.expect(201);
    assert_eq!((first.header("etag"), first.json()["id"].as_str()), ("\"1\"", Some("ran/cells/du-1")));
    let second = json!({ "power": 12, "bands": ["n78", "n28"] });
    let second_stands = stand
        .put(CELL)
        .header("if-match", "\"1\"")
        .json(&second)
        .send()
        .await
        .expect(200)
        .header("ledger-position")
        .to_owned();
    stand.put(CELL).header("if-match", "\"1\"").json(&second).send().await.problem(412, "precondition-failed");
    stand.put(CELL).header("if-none-match", "*").json(&second).send().await.problem(412, "precondition-failed");

    let read = stand.get(CELL).send().await.expect(200);
    assert_eq!((read.json()["document"]["power"].as_i64(), read.header("etag")), (Some(12), "\"2\""));
    let past = stand.get(&format!("{CELL}?version=1")).send().await.expect(200);
    assert_eq!(past.json()["document"]["power"], 10);
    stand.get(&format!("{CELL}?version=9")).send().await.problem(404, "not-found");

    for path in [format!("{CELL}:diff?from=1&to=2"), format!("{CELL}:diff?from=2&to=1"), format!("{CELL}:history")] {
        let newest = stand.get(&path).send().await.expect(200);
        assert_eq!(newest.header("ledger-position"), second_stands, "{path}: the newest version it tells of");
    }
    let diff = stand.get(&format!("{CELL}:diff?from=1&to=2")).send().await.expect(200).json();
    let expected = json!([{ "path": "/bands/1", "new": "n28" }, { "path": "/power", "old": 10, "new": 12 }]);
    assert_eq!(diff["differences"], expected);

    let back = stand.post(&format!("{CELL}:rollback?to=1")).send().await.expect(200);
    assert_eq!(back.json()["version"], 3);
    assert_eq!(stand.get(CELL).send().await.json()["document"]["power"], 10);

    let deleted = stand.delete(CELL).header("if-match", "\"3\"").send().await.expect(204);
    stand.get(CELL).send().await.problem(404, "not-found");
    let history = stand.get(&format!("{CELL}:history")).send().await.expect(200);
    assert_eq!(history.header("ledger-position"), deleted.header("ledger-position"));
    let history = history.json();
    let states: Vec<&str> =
        history["versions"].as_array().unwrap().iter().map(|version| version["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["present", "present", "present", "deleted"]);
    let same = stand.get("/api/v1/history/configuration/ran/cells/du-1").send().await.expect(200).json();
    assert_eq!(same, history);
    let page = stand.get(&format!("{CELL}:history?limit=2&before=4")).send().await.expect(200).json();
    assert_eq!((page["versions"][0]["version"].as_i64(), page["before"].as_i64()), (Some(2), Some(2)), "{page}");
    let again = stand.put(CELL).header("if-none-match", "*").json(&json!({ "power": 1 })).send().await.expect(200);
    assert_eq!(again.json()["version"], 5, "versions count on across a delete");
    stand.stop().await;
}

#[tokio::test]
async fn secrets_are_write_only_and_malformed_keys_are_refused() {
    let stand = Stand::new().await;
    let path = "/api/v1/configuration/credentials/oss-1";
    stand.put(path).json(&json!({ "password": "hidden-word" })).send().await.expect(201);
    let read = stand.get(path).send().await;
    read.problem(403, "class-write-only");
    assert!(!read.text.contains("hidden-word"));
    let history = stand.get(&format!("{path}:history")).send().await;
    assert!(!history.text.contains("hidden-word"), "{}", history.text);
    let list = stand.get("/api/v1/configuration?namespace=credentials").send().await;
    assert!(!list.text.contains("hidden-word"), "{}", list.text);

    for path in ["/api/v1/configuration/RAN/x", "/api/v1/configuration/ran/a%20b", "/api/v1/configuration/ran/a//b"] {
        stand.put(path).json(&json!({})).send().await.problem(400, "configuration-key-malformed");
    }
    stand.put(CELL).json(&json!([1])).send().await.problem(400, "attribute-type");
    stand.get(&format!("{CELL}:explode")).send().await.problem(400, "configuration-action-unknown");
    stand.post(&format!("{CELL}:rollback")).send().await.problem(400, "parameter-missing");
    stand.stop().await;
}

#[tokio::test]
async fn a_namespace_is_listed() {
    let stand = Stand::new().await;
    for key in ["ran/a", "ran/b", "core/c"] {
        stand.put(&format!("/api/v1/configuration/{key}")).json(&json!({ "key": key })).send().await.expect(201);
    }
    let list = stand.get("/api/v1/configuration?namespace=ran").send().await.expect(200).json();
    let ids: Vec<&str> = list["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!((ids.as_slice(), list["total"].as_i64()), (["ran/a", "ran/b"].as_slice(), Some(2)));
    // Pages hold what was asked for, also where other namespaces lie between.
    stand.put("/api/v1/configuration/ran/d").json(&json!({})).send().await.expect(201);
    let page = stand.get("/api/v1/configuration?namespace=ran&limit=2").send().await.expect(200).json();
    assert_eq!((page["items"].as_array().unwrap().len(), page["total"].as_i64()), (2, Some(3)), "{page}");
    let next = format!("/api/v1/configuration?namespace=ran&limit=2&after={}", page["next"].as_str().unwrap());
    let rest = stand.get(&next).send().await.expect(200).json();
    assert_eq!((rest["items"][0]["id"].as_str(), rest["next"].is_null()), (Some("ran/d"), true), "{rest}");
    let none = stand.get("/api/v1/configuration?namespace=ra").send().await.expect(200).json();
    assert_eq!((none["total"].as_i64(), none["items"].as_array().unwrap().len()), (Some(0), 0));
    stand.stop().await;
}

#[tokio::test]
async fn an_idempotency_key_belongs_to_one_request() {
    let stand = Stand::new().await;
    let path = |key: &str| format!("/api/v1/configuration/ran/{key}");
    let body = json!({ "power": 1 });
    let put = |key: &str| stand.put(&path(key)).header("idempotency-key", "one").json(&body).send();
    let first = put("a").await.expect(201).json();
    assert_eq!(put("a").await.expect(201).json(), first, "a repetition gets the first answer");
    // The same body to another key is another request: an answer that tells of the first would lose this one.
    put("b").await.problem(422, "idempotency-mismatch");
    stand.get(&path("b")).send().await.problem(404, "not-found");
    stand.put(&path("b")).json(&body).send().await.expect(201);
    let delete = |key: &str| stand.delete(&path(key)).header("idempotency-key", "two").send();
    delete("a").await.expect(204);
    delete("b").await.problem(422, "idempotency-mismatch");
    stand.get(&path("b")).send().await.expect(200);
    stand.stop().await;
}
