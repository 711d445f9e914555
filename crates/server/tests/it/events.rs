//! Events over HTTP: topics, groups and their members, sealed events opened, streams.

use crate::stand::{Reply, Stand, TMF};
use futures_util::StreamExt;
use serde_json::{Value, json};

const TOPICS: &str = "/api/v1/events/topics";
const GROUPS: &str = "/api/v1/events/groups";

fn ids(reply: &Reply) -> Vec<String> {
    reply.json().as_array().unwrap().iter().map(|event| event["subject"].as_str().unwrap().to_owned()).collect()
}

async fn grouped(stand: &Stand, group: &str, topics: &[&str]) {
    stand.put(&format!("{GROUPS}/{group}")).json(&json!({ "topics": topics })).send().await.expect(201);
}

async fn joined(stand: &Stand, group: &str, member: &str) -> Value {
    stand.put(&format!("{GROUPS}/{group}/members/{member}")).json(&json!({})).send().await.expect(200).json()
}

async fn polled(stand: &Stand, group: &str, member: &str, query: &str) -> Reply {
    stand.post(&format!("{GROUPS}/{group}/members/{member}/poll?{query}")).send().await
}

/// Where the next poll goes on.
fn next(reply: &Reply) -> String {
    format!("after={}&epoch={}", reply.header("ledger-position"), reply.header("events-epoch"))
}

#[tokio::test]
async fn a_topic_is_read_from_any_place_as_cloudevents() {
    let stand = Stand::new().await;
    let listed = stand.get(TOPICS).send().await.expect(200).json();
    let names: Vec<&str> = listed["topics"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
    let expected =
        ["audit.recorded", "configuration.changed", "intent.document", "intent.lifecycle", "knowledge.changed"];
    assert_eq!(names, expected);
    let id = stand.intent("one").await;
    stand.delete(&format!("{TMF}/intent/{id}")).send().await.expect(204);
    let page = stand.get(&format!("{TOPICS}/intent.lifecycle?wait=5")).send().await.expect(200);
    assert_eq!(page.header("content-type"), "application/cloudevents-batch+json");
    let events = page.json();
    let kinds: Vec<&str> = events.as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["nephkeep.intent.lifecycle.created", "nephkeep.intent.lifecycle.deleted"]);
    assert_eq!(events[0]["subject"], id);
    assert!(events[0]["data"].get("sealed").is_none() && events[0]["data"].get("principal").is_none(), "{events}");
    let first = events[0]["id"].as_str().unwrap();
    let rest = stand.get(&format!("{TOPICS}/intent.lifecycle?after={first}")).send().await.expect(200);
    assert_eq!(rest.json().as_array().unwrap().len(), 1);
    let since = events[1]["time"].as_str().unwrap();
    let late = stand.get(&format!("{TOPICS}/intent.lifecycle?after={since}")).send().await.expect(200);
    assert_eq!(late.json()[0]["id"], events[1]["id"]);
    let none = stand.get(&format!("{TOPICS}/intent.lifecycle?after=latest&wait=0")).send().await.expect(200);
    assert_eq!(none.text, "[]");
    stand.get(&format!("{TOPICS}/intents")).send().await.problem(404, "topic-unknown");
    stand.get(&format!("{TOPICS}/intent.lifecycle?after=now")).send().await.problem(400, "place-malformed");
    stand.stop().await;
}

#[tokio::test]
async fn one_event_is_structured_or_in_headers() {
    let stand = Stand::new().await;
    let id = stand.intent("one").await;
    let events = stand.get(&format!("{TOPICS}/intent.lifecycle?wait=5")).send().await.expect(200).json();
    let path = format!("{TOPICS}/intent.lifecycle/{}", events[0]["id"].as_str().unwrap());
    let structured = stand.get(&path).header("accept", "application/cloudevents+json").send().await.expect(200);
    assert_eq!(structured.header("content-type"), "application/cloudevents+json");
    assert_eq!(structured.json(), events[0]);
    let binary = stand.get(&path).send().await.expect(200);
    assert_eq!(binary.header("content-type"), "application/json");
    assert_eq!(binary.json(), events[0]["data"]);
    for name in ["specversion", "id", "source", "type", "subject", "time", "partitionkey"] {
        assert_eq!(binary.header(&format!("ce-{name}")), events[0][name].as_str().unwrap(), "{name}");
    }
    assert_eq!(events[0]["partitionkey"], format!("intent/{id}"));
    let other = path.replace("intent.lifecycle", "configuration.changed");
    stand.get(&other).send().await.problem(404, "event-unknown");
    stand.stop().await;
}

#[tokio::test]
async fn a_sealed_event_is_opened_audited_and_typed_once_erased() {
    let stand = Stand::new().await;
    let body = json!({ "@type": "Intent", "name": "secret slice",
        "relatedParty": [{ "@type": "RelatedPartyOrPartyRole", "role": "Customer",
            "partyOrPartyRole": { "@type": "PartyRef", "id": "c-1", "name": "c-1", "@referredType": "Customer" } }],
        "expression": { "@type": "JsonLdExpression", "iri": "urn:x", "expressionValue": {} } });
    stand.post(&format!("{TMF}/intent")).json(&body).send().await.expect(201);
    let reader = stand.principal("analytics", &["reader"]).await;
    let sealed = stand.get(&format!("{TOPICS}/intent.document?wait=5")).token(&reader).send().await.expect(200);
    assert!(!sealed.text.contains("secret slice"), "{}", sealed.text);
    let event = sealed.json()[0].clone();
    assert!(event["data"]["sealed"].as_str().is_some_and(|text| text.len() > 100), "{event}");
    let at = event["id"].as_str().unwrap();
    let elsewhere = format!("{}999999", at.rsplit_once('.').unwrap().0.to_owned() + ".");
    let asked = json!({ "positions": [at, elsewhere] });
    let opened = stand.post("/api/v1/open").token(&reader).json(&asked).send().await.expect(200).json();
    assert_eq!(opened["events"][0]["document"]["name"], "secret slice");
    assert_eq!((&opened["events"][0]["state"], &opened["events"][1]["state"]), (&json!("present"), &json!("absent")));
    let trail = stand.get("/api/v1/audit?kind=access&limit=1000").send().await.expect(200).text;
    assert!(trail.contains("analytics"), "a release stands in the audit log: {trail}");
    let auditor = stand.principal("auditor", &["auditor"]).await;
    stand.post("/api/v1/open").token(&auditor).json(&asked).send().await.problem(403, "role-denied");
    let many: Vec<&str> = std::iter::repeat_n(at, 1_001).collect();
    let refused = stand.post("/api/v1/open").json(&json!({ "positions": many })).send().await;
    refused.problem(400, "events-too-many");
    stand.post("/api/v1/erasures").json(&json!({ "customer": "c-1" })).send().await.expect(200);
    let opened = stand.post("/api/v1/open").token(&reader).json(&asked).send().await.expect(200).json();
    assert_eq!(opened["events"][0]["state"], "erased", "{opened}");
    stand.stop().await;
}

#[tokio::test]
async fn a_group_shares_the_work_and_its_positions_stay() {
    let stand = Stand::new().await;
    grouped(&stand, "billing", &["intent.lifecycle"]).await;
    let again = json!({ "topics": ["intent.lifecycle"] });
    stand.put(&format!("{GROUPS}/billing")).json(&again).send().await.expect(200);
    let other = json!({ "topics": ["knowledge.changed"] });
    stand.put(&format!("{GROUPS}/billing")).json(&other).send().await.problem(409, "group-differs");
    let mut written = Vec::new();
    for n in 0..10 {
        written.push(stand.intent(&format!("i{n}")).await);
    }
    assert_eq!(joined(&stand, "billing", "a").await["partitions"].as_array().unwrap().len(), 12);
    assert_eq!(joined(&stand, "billing", "b").await["partitions"].as_array().unwrap().len(), 6);
    let a = polled(&stand, "billing", "a", "wait=0").await.expect(200);
    let b = polled(&stand, "billing", "b", "wait=0").await.expect(200);
    let mut both = [ids(&a), ids(&b)].concat();
    both.sort();
    written.sort();
    assert_eq!(both, written, "each goes to one of them");
    let through =
        json!({ "epoch": a.header("events-epoch").parse::<u64>().unwrap(), "position": a.header("ledger-position") });
    let commit = format!("{GROUPS}/billing/members/a/commit");
    assert_eq!(stand.post(&commit).json(&through).send().await.expect(200).json()["partitions"], 6);
    // b says in its next poll what it is done with; leaving makes it durable.
    let query = format!("{}&processed={}&wait=0", next(&b), b.header("ledger-position"));
    assert_eq!(polled(&stand, "billing", "b", &query).await.expect(200).text, "[]");
    stand.delete(&format!("{GROUPS}/billing/members/b")).send().await.expect(204);
    assert_eq!(polled(&stand, "billing", "a", "wait=0").await.expect(200).text, "[]");
    let shown = stand.get(&format!("{GROUPS}/billing")).send().await.expect(200).json();
    assert_eq!((&shown["members"][0]["name"], shown["partitions"].as_array().unwrap().len()), (&json!("a"), 12));
    // Restarted, it goes on where it was.
    let stand = stand.again().await;
    let id = stand.intent("late").await;
    let late = polled(&stand, "billing", "a", "wait=5").await.expect(200);
    assert_eq!(ids(&late), [id]);
    polled(&stand, "billing", "b", "wait=0").await.problem(409, "consumer-fenced");
    polled(&stand, "billing", "a", &format!("after={}", late.header("ledger-position")))
        .await
        .problem(400, "parameter-missing");
    stand.stop().await;
}

#[tokio::test]
async fn a_group_is_moved_and_deleted_and_both_stand_in_the_audit_log() {
    let stand = Stand::new().await;
    grouped(&stand, "replay", &["intent.lifecycle"]).await;
    let ids_written = [stand.intent("one").await, stand.intent("two").await];
    joined(&stand, "replay", "a").await;
    let first = polled(&stand, "replay", "a", "wait=5").await.expect(200);
    assert_eq!(ids(&first), ids_written);
    let seek = format!("{GROUPS}/replay/seek");
    let at = first.json()[0]["id"].clone();
    stand.post(&seek).json(&json!({ "to": at })).send().await.expect(200);
    let fenced = json!({ "epoch": first.header("events-epoch").parse::<u64>().unwrap(), "position": first.header("ledger-position") });
    let commit = format!("{GROUPS}/replay/members/a/commit");
    stand.post(&commit).json(&fenced).send().await.problem(409, "consumer-fenced");
    assert_eq!(ids(&polled(&stand, "replay", "a", "wait=0").await.expect(200)), ids_written[1..]);
    stand.post(&seek).json(&json!({})).send().await.problem(400, "attribute-missing");
    stand.post(&seek).json(&json!({ "to": "earliest", "topic": "x" })).send().await.problem(404, "topic-unknown");
    stand.delete(&format!("{GROUPS}/replay")).send().await.expect(204);
    stand.delete(&format!("{GROUPS}/replay")).send().await.problem(404, "group-unknown");
    let acts = stand.get("/api/v1/audit?kind=act&limit=1000").send().await.expect(200).text;
    assert!(acts.contains("events-seek") && acts.contains("events-group-delete"), "{acts}");
    stand.stop().await;
}

#[tokio::test]
async fn topics_of_the_audit_are_for_auditors_and_a_group_needs_the_right_to_all_its_topics() {
    let stand = Stand::new().await;
    let (reader, auditor) = (stand.principal("r", &["reader"]).await, stand.principal("a", &["auditor"]).await);
    let trail = format!("{TOPICS}/audit.recorded?wait=0");
    stand.get(&trail).token(&reader).send().await.problem(403, "role-denied");
    let told = stand.get(&trail).token(&auditor).send().await.expect(200).text;
    assert!(told.contains("\"principal\":"), "{told}");
    let lifecycle = format!("{TOPICS}/intent.lifecycle?wait=0");
    stand.get(&lifecycle).token(&auditor).send().await.problem(403, "role-denied");
    stand.get(&lifecycle).anonymous().send().await.problem(401, "credential-missing");
    grouped(&stand, "both", &["audit.recorded", "intent.lifecycle"]).await;
    for token in [&reader, &auditor] {
        let join = stand.put(&format!("{GROUPS}/both/members/m")).token(token).json(&json!({})).send().await;
        join.problem(403, "role-denied");
        let gone = stand.delete(&format!("{GROUPS}/both")).token(token).send().await;
        gone.problem(403, "role-denied");
    }
    joined(&stand, "both", "m").await;
    stand.intent("seen by both").await;
    let events = polled(&stand, "both", "m", "wait=5").await.expect(200).json();
    let sources: Vec<&str> = events.as_array().unwrap().iter().filter_map(|event| event["source"].as_str()).collect();
    assert!(sources.iter().any(|source| source.ends_with("audit.recorded")), "{sources:?}");
    assert!(sources.iter().any(|source| source.ends_with("intent.lifecycle")), "{sources:?}");
    // Another tenant sees neither the group nor the events.
    let body = json!({ "name": "stranger", "roles": ["admin"], "tenant": "other" });
    let stranger = stand.post("/api/v1/principals").json(&body).send().await.expect(201).json();
    let stranger = stranger["token"].as_str().unwrap();
    stand.get(&format!("{GROUPS}/both")).token(stranger).send().await.problem(404, "group-unknown");
    assert_eq!(stand.get(GROUPS).token(stranger).send().await.expect(200).json()["groups"], json!([]));
    assert_eq!(stand.get(&lifecycle).token(stranger).send().await.expect(200).text, "[]");
    stand.stop().await;
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_left() {
    let stand = Stand::new().await;
    let ids = [stand.intent("one").await, stand.intent("two").await];
    let open = |last: Option<String>| {
        let request = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = request.get(format!("{}{TOPICS}/intent.lifecycle", stand.base)).bearer_auth(&stand.admin);
        let request = request.header("accept", "text/event-stream");
        match last {
            Some(last) => request.header("last-event-id", last),
            None => request,
        }
    };
    let first = read_event(open(None).send().await.unwrap()).await;
    assert_eq!(first["subject"], ids[0]);
    let second = read_event(open(Some(first["id"].as_str().unwrap().to_owned())).send().await.unwrap()).await;
    assert_eq!(second["subject"], ids[1]);
    stand.stop().await;
}

/// The first event of a stream.
async fn read_event(response: reqwest::Response) -> Value {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut stream, mut text) = (response.bytes_stream(), String::new());
    loop {
        text += std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap();
        if let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")).filter(|_| text.contains("\n\n"))
        {
            return serde_json::from_str(data).unwrap();
        }
    }
}
