//! The schema registry: registered, refused, looked up, referred to and deleted as Confluent's clients expect.

use crate::stand::{Reply, Stand};
use serde_json::{Value, json};

const AT: &str = "/schema-registry";

fn avro(fields: &Value) -> Value {
    json!({ "schema": json!({ "type": "record", "name": "Intent", "namespace": "n", "fields": fields }).to_string() })
}

fn first() -> Value {
    avro(&json!([{ "name": "id", "type": "string" }]))
}

fn second() -> Value {
    avro(&json!([{ "name": "id", "type": "string" }, { "name": "state", "type": "string", "default": "new" }]))
}

async fn register(stand: &Stand, subject: &str, body: &Value) -> Reply {
    stand.post(&format!("{AT}/subjects/{subject}/versions")).json(body).send().await
}

async fn got(stand: &Stand, path: &str) -> Value {
    stand.get(&format!("{AT}{path}")).send().await.expect(200).json()
}

#[track_caller]
fn refused(reply: &Reply, status: u16, number: u64) -> String {
    assert_eq!(reply.status.as_u16(), status, "{}", reply.text);
    let body = reply.json();
    assert_eq!(body["error_code"], number, "{body}");
    body["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_same_schema_is_one_id_and_a_new_one_must_follow_the_old() {
    let stand = Stand::new().await;
    let one = register(&stand, "intents-value", &first()).await.expect(200).json();
    assert_eq!(one, json!({ "id": 1, "version": 1 }));
    assert_eq!(register(&stand, "intents-value", &first()).await.json(), one);
    assert_eq!(register(&stand, "elsewhere", &first()).await.json(), one);
    assert_eq!(register(&stand, "intents-value", &second()).await.json(), json!({ "id": 2, "version": 2 }));

    let breaking = avro(&json!([{ "name": "id", "type": "int" }, { "name": "new", "type": "long" }]));
    let why = refused(&register(&stand, "intents-value", &breaking).await, 409, 409);
    assert!(why.contains("$.id: string was written, int is expected"), "{why}");
    assert!(why.contains("$.new: was not written and has no default"), "{why}");
    assert_eq!(got(&stand, "/subjects/intents-value/versions").await, json!([1, 2]));
    assert_eq!(got(&stand, "/subjects").await, json!(["elsewhere", "intents-value"]));
    assert_eq!(got(&stand, "/schemas/ids/1/versions").await[1], json!({ "subject": "elsewhere", "version": 1 }));
    let latest = got(&stand, "/subjects/intents-value/versions/latest").await;
    assert_eq!((&latest["id"], &latest["schema"]), (&json!(2), &second()["schema"]));

    let asked = stand.post(&format!("{AT}/compatibility/subjects/intents-value/versions/latest?verbose=true"));
    let told = asked.json(&breaking).send().await.expect(200).json();
    assert_eq!((&told["is_compatible"], told["messages"].as_array().unwrap().len()), (&json!(false), 2));
    let found = stand.post(&format!("{AT}/subjects/intents-value")).json(&first()).send().await.expect(200).json();
    assert_eq!((&found["version"], &found["id"]), (&json!(1), &json!(1)));
    stand.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_told_by_number_and_changes_nothing() {
    let stand = Stand::new().await;
    for (subject, body, number) in [
        ("s", json!({ "schema": "{" }), 42201),
        ("s", json!({ "schema": "{\"type\":\"record\"}" }), 42201),
        ("s", json!({ "schema": "{}", "schemaType": "XML" }), 42201),
        ("s", json!({ "schemaType": "JSON" }), 42201),
        ("s", json!({ "schema": "{\"type\":\"nothing\"}", "schemaType": "JSON" }), 42201),
        ("s", json!({ "schema": "message", "schemaType": "PROTOBUF" }), 42201),
        ("s", json!({ "schema": "\"x.Unknown\"" }), 42201),
        ("s", json!({ "schema": "\"int\"", "references": [{ "name": "a", "subject": "none", "version": 1 }] }), 42201),
        ("s", json!({ "schema": "\"int\"", "id": 7 }), 42205),
        ("s", json!({ "schema": "\"int\"", "metadata": {} }), 42201),
        ("%0A", json!({ "schema": "\"int\"" }), 42208),
    ] {
        let reply = register(&stand, subject, &body).await;
        refused(&reply, 422, number);
    }
    refused(&stand.get(&format!("{AT}/subjects/s/versions")).send().await, 404, 40401);
    refused(&stand.get(&format!("{AT}/schemas/ids/1")).send().await, 404, 40403);
    register(&stand, "s", &first()).await.expect(200);
    refused(&stand.get(&format!("{AT}/subjects/s/versions/2")).send().await, 404, 40402);
    refused(&stand.get(&format!("{AT}/subjects/s/versions/x")).send().await, 422, 42202);
    refused(&stand.get(&format!("{AT}/config/s")).send().await, 404, 40408);
    refused(&stand.put(&format!("{AT}/config")).json(&json!({ "compatibility": "SOME" })).send().await, 422, 42203);
    refused(&stand.put(&format!("{AT}/mode")).json(&json!({ "mode": "SOME" })).send().await, 422, 42204);
    refused(&stand.post(&format!("{AT}/subjects/s")).json(&second()).send().await, 404, 40403);
    assert_eq!(stand.get(&format!("{AT}/subjects")).anonymous().send().await.status.as_u16(), 401);
    stand.stop().await;
}

#[tokio::test]
async fn levels_and_modes_decide_and_are_an_administrators() {
    let stand = Stand::new().await;
    let config = |body: &'static str| stand.put(&format!("{AT}/config/s")).json(&json!({ "compatibility": body }));
    assert_eq!(got(&stand, "/config").await, json!({ "compatibilityLevel": "BACKWARD" }));
    config("FULL_TRANSITIVE").send().await.expect(200);
    assert_eq!(got(&stand, "/config/s").await, json!({ "compatibilityLevel": "FULL_TRANSITIVE" }));
    register(&stand, "s", &second()).await.expect(200);
    // Readers of the old schema need `state` or its default: they have it, so both directions hold.
    register(&stand, "s", &first()).await.expect(200);
    let other = avro(&json!([{ "name": "other", "type": "string", "default": "" }]));
    let why = refused(&register(&stand, "s", &other).await, 409, 409);
    assert!(why.contains("new data under version 1: $.id"), "{why}");
    config("NONE").send().await.expect(200);
    register(&stand, "s", &other).await.expect(200);

    stand.put(&format!("{AT}/mode/s")).json(&json!({ "mode": "READONLY" })).send().await.expect(200);
    refused(&register(&stand, "s", &avro(&json!([]))).await, 422, 42205);
    refused(&stand.put(&format!("{AT}/mode/s")).json(&json!({ "mode": "IMPORT" })).send().await, 422, 42205);
    stand.put(&format!("{AT}/mode/moved")).json(&json!({ "mode": "IMPORT" })).send().await.expect(200);
    let mut moved = avro(&json!([{ "name": "moved", "type": "string" }]));
    (moved["id"], moved["version"]) = (json!(70), json!(5));
    assert_eq!(register(&stand, "moved", &moved).await.expect(200).json(), json!({ "id": 70, "version": 5 }));
    let next = register(&stand, "fresh", &avro(&json!([]))).await.expect(200).json();
    assert_eq!(next, json!({ "id": 71, "version": 1 }));

    let writer = stand.principal("w", &["writer"]).await;
    let auditor = stand.principal("a", &["auditor"]).await;
    let doors = [
        ("PUT", "/config", &writer),
        ("PUT", "/config/s", &writer),
        ("DELETE", "/config/s", &writer),
        ("PUT", "/mode", &writer),
        ("PUT", "/mode/s", &writer),
        ("DELETE", "/subjects/s?permanent=true", &writer),
        ("POST", "/subjects/s/versions", &auditor),
        ("POST", "/subjects/s", &auditor),
        ("POST", "/compatibility/subjects/s/versions", &auditor),
    ];
    for (method, path, token) in doors {
        let asked = stand.ask(method.parse().unwrap(), &format!("{AT}{path}")).token(token).body("text/plain", "{\"");
        let why = refused(&asked.send().await, 403, 40301);
        assert!(why.contains("needs one of the roles"), "the role is looked at before the body: {path}: {why}");
    }
    stand.stop().await;
}

#[tokio::test]
async fn references_hold_what_they_refer_to_and_deletion_is_soft_before_it_is_for_good() {
    let stand = Stand::new().await;
    let part = json!({ "schemaType": "JSON", "schema": json!({ "type": "string" }).to_string() });
    register(&stand, "part", &part).await.expect(200);
    let whole = json!({
        "schemaType": "JSON",
        "schema": json!({ "type": "object", "properties": { "p": { "$ref": "part.json" } } }).to_string(),
        "references": [{ "name": "part.json", "subject": "part", "version": 1 }],
    });
    register(&stand, "whole", &whole).await.expect(200);
    assert_eq!(got(&stand, "/subjects/part/versions/1/referencedby").await, json!([2]));
    assert_eq!(got(&stand, "/schemas/ids/2").await["references"], whole["references"]);
    let delete = |path: &str| stand.delete(&format!("{AT}{path}"));
    refused(&delete("/subjects/part").send().await, 422, 42206);
    refused(&delete("/subjects/whole?permanent=true").send().await, 404, 40405);
    assert_eq!(delete("/subjects/whole/versions/1").send().await.expect(200).text, "1");
    refused(&delete("/subjects/whole/versions/1").send().await, 404, 40406);
    refused(&delete("/subjects/whole").send().await, 404, 40404);
    assert_eq!(got(&stand, "/subjects?deleted=true").await, json!(["part", "whole"]));
    assert_eq!(got(&stand, "/subjects?deletedOnly=true").await, json!(["whole"]));
    got(&stand, "/schemas/ids/2").await;
    assert_eq!(delete("/subjects/whole?permanent=true").send().await.expect(200).text, "[1]");
    refused(&stand.get(&format!("{AT}/schemas/ids/2")).send().await, 404, 40403);
    assert_eq!(delete("/subjects/part").send().await.expect(200).text, "[1]");
    let again = register(&stand, "whole", &part).await.expect(200).json();
    assert_eq!((&again["id"], &again["version"]), (&json!(1), &json!(1)), "the same schema keeps its id");
    stand.stop().await;
}

/// Each form calls what it needs by the names it uses itself.
#[tokio::test]
async fn one_version_may_be_referred_to_by_two_names() {
    let stand = Stand::new().await;
    let part = json!({ "schemaType": "JSON", "schema": json!({ "type": "string" }).to_string() });
    register(&stand, "part", &part).await.expect(200);
    let named = |name: &str| json!({ "name": name, "subject": "part", "version": 1 });
    let properties = json!({ "a": { "$ref": "a.json" }, "b": { "$ref": "b.json" } });
    let whole = json!({
        "schemaType": "JSON",
        "schema": json!({ "type": "object", "properties": properties }).to_string(),
        "references": [named("a.json"), named("b.json")],
    });
    register(&stand, "whole", &whole).await.expect(200);
    stand.stop().await;
}

#[tokio::test]
async fn racing_registrations_give_each_schema_one_id() {
    let stand = Stand::new().await;
    let name = |n: usize| format!("f{n}");
    let one = |n: usize| avro(&json!([{ "name": name(n % 4), "type": "string", "default": "" }]));
    let racing = (0..8).map(|n| {
        let (stand, body) = (&stand, one(n));
        async move { register(stand, "raced", &body).await }
    });
    let ids: Vec<u64> = futures_util::future::join_all(racing)
        .await
        .into_iter()
        .map(|reply| reply.expect(200).json()["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids[..4], ids[4..], "{ids:?}");
    assert_eq!(got(&stand, "/subjects/raced/versions").await, json!([1, 2, 3, 4]));
    stand.stop().await;
}

#[tokio::test]
async fn our_own_events_are_registered_at_the_start_and_an_incompatible_schema_stops_it() {
    let stand = Stand::new().await;
    let schema = relay::events::topics::SCHEMA;
    server::http::registry::own::register(&stand.app, schema).await.unwrap();
    server::http::registry::own::register(&stand.app, schema).await.unwrap();
    for topic in stand.app.events.topics().all() {
        assert_eq!(got(&stand, &format!("/subjects/{}-value/versions", topic.name)).await, json!([1]));
    }
    assert_eq!(got(&stand, "/config/audit.recorded-value").await["compatibilityLevel"], "FULL_TRANSITIVE");
    let other =
        schema.replace("\"name\": \"version\", \"type\": \"long\"", "\"name\": \"version\", \"type\": \"boolean\"");
    assert_ne!(other, schema);
    let error = server::http::registry::own::register(&stand.app, &other).await.unwrap_err();
    assert_eq!(error.code(), "event-schema-incompatible");
    assert!(error.to_string().contains("$.data.version"), "{error}");
    stand.stop().await;
}
