//! Key status, rotation, and the erasure of a customer.

use crate::stand::{Stand, TMF, intent};
use serde_json::{Value, json};

fn of_customer(name: &str, customer: &str) -> Value {
    let mut body = intent(name);
    body["relatedParty"] = json!([{ "@type": "RelatedPartyRefOrPartyRoleRef", "role": "Customer",
        "partyOrPartyRole": { "@type": "PartyRef", "id": customer, "name": "someone", "@referredType": "Individual" } }]);
    body
}

#[tokio::test]
async fn an_erased_customer_is_gone_everywhere_and_others_stay() {
    let stand = Stand::new().await;
    let path = format!("{TMF}/intent");
    let gone = stand.post(&path).json(&of_customer("to be erased", "c-1")).send().await.expect(201);
    let kept = stand.post(&path).json(&of_customer("to stay", "c-2")).send().await.expect(201);
    let (gone, kept) = (gone.header("location").to_owned(), kept.header("location").to_owned());

    stand.post("/api/v1/erasures").json(&json!({})).send().await.problem(400, "attribute-missing");
    let unknown = stand.post("/api/v1/erasures").json(&json!({ "customer": "nobody" })).send().await;
    unknown.problem(404, "subject-unknown");
    stand.get("/api/v1/erasures").send().await.problem(400, "parameter-missing");
    stand.get("/api/v1/erasures?customer=nobody").send().await.problem(404, "subject-unknown");
    let preview = stand.get("/api/v1/erasures?customer=c-1").send().await.expect(200).json();
    assert_eq!(preview["documents"], 1, "{preview}");
    let done = stand.post("/api/v1/erasures").json(&json!({ "customer": "c-1" })).send().await.expect(200).json();
    assert_eq!(done["complete"], true, "{done}");

    stand.get(&gone).send().await.problem(410, "erased");
    stand.get(&kept).send().await.expect(200);
    let list = stand.get(&path).send().await.expect(200);
    assert!(!list.text.contains("to be erased") && list.text.contains("to stay"), "{}", list.text);
    let refused = stand.post(&path).json(&of_customer("again", "c-1")).send().await;
    assert!(refused.status == 403 || refused.status == 410, "{}", refused.text);
    stand.post("/api/v1/erasures").json(&json!({ "customer": "c-1" })).send().await.expect(200);
    let acts = stand.get("/api/v1/audit?kind=act").send().await.expect(200).text;
    assert!(acts.contains("\"erase\""), "{acts}");
    stand.stop().await;
}

#[tokio::test]
async fn keys_are_rotated_and_documents_stay_readable() {
    let stand = Stand::new().await;
    let made = stand.post(&format!("{TMF}/intent")).json(&of_customer("kept", "c-1")).send().await.expect(201);
    let before = stand.get("/api/v1/keys").send().await.expect(200).json();
    let epoch = stand.post("/api/v1/keys/rotations").json(&json!({ "what": "epoch" })).send().await.expect(200).json();
    assert!(epoch["epoch"].as_u64() > before["epoch"].as_u64(), "{before} {epoch}");
    let subject = json!({ "what": "subject", "customer": "c-1" });
    stand.post("/api/v1/keys/rotations").json(&subject).send().await.expect(200);
    stand.post("/api/v1/keys/rotations").json(&json!({ "what": "x" })).send().await.problem(400, "attribute-value");
    stand.get(made.header("location")).send().await.expect(200);
    stand.stop().await;
}

#[tokio::test]
async fn another_tenants_admin_rotates_nothing_of_the_installation() {
    let stand = Stand::new().await;
    let body = json!({ "name": "guest", "roles": ["admin"], "tenant": "guest" });
    let made = stand.post("/api/v1/principals").json(&body).send().await.expect(201).json();
    let guest = made["token"].as_str().unwrap();
    let epoch = stand.post("/api/v1/keys/rotations").token(guest).json(&json!({ "what": "epoch" })).send().await;
    epoch.problem(403, "tenant-denied");
    stand.post("/api/v1/keys/root-rotations").token(guest).send().await.problem(403, "tenant-denied");
    let acts = stand.get("/api/v1/audit?kind=act").token(guest).send().await.expect(200).text;
    assert!(acts.contains("epoch-rotate") && acts.contains("tenant-denied"), "a denial is audited: {acts}");
    stand.stop().await;
}
