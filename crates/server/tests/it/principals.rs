//! Who may call, and as what.

use crate::stand::{Stand, TMF, intent};
use serde_json::json;

#[tokio::test]
async fn a_token_is_shown_once_rotated_and_revoked() {
    let stand = Stand::new().await;
    let made = stand.post("/api/v1/principals").json(&json!({ "name": "ann", "roles": ["reader"] })).send().await;
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let list = stand.get("/api/v1/principals").send().await.expect(200);
    assert!(!list.text.contains(&token) && !list.text.contains("tokenHash"), "{}", list.text);
    assert_eq!(list.json().as_array().unwrap().len(), 2);
    let history = stand.get("/api/v1/history/principal/ann").send().await.expect(200);
    assert!(!history.text.contains("tokenHash"), "{}", history.text);

    let path = format!("{TMF}/intent");
    stand.get(&path).token(&token).send().await.expect(200);
    let rotated = stand.post("/api/v1/principals/ann/token").send().await.expect(200).json();
    let fresh = rotated["token"].as_str().unwrap();
    stand.get(&path).token(&token).send().await.problem(401, "credential-unknown");
    stand.get(&path).token(fresh).send().await.expect(200);
    stand.delete("/api/v1/principals/ann").send().await.expect(204);
    stand.get(&path).token(fresh).send().await.problem(401, "credential-unknown");
    stand.get("/api/v1/principals/ann").send().await.problem(404, "not-found");
    let acts = stand.get("/api/v1/audit?kind=act").send().await.expect(200).text;
    assert!(acts.contains("principal-revoke") && acts.contains("token-rotate") && acts.contains("login"), "{acts}");
    stand.stop().await;
}

/// A token is shown once: the first answer cannot be given again, and the header is not passed over either.
#[tokio::test]
async fn an_idempotency_key_is_refused_where_nothing_keeps_the_answer() {
    let stand = Stand::new().await;
    let ann = json!({ "name": "ann", "roles": ["reader"] });
    for (asked, body) in [
        (stand.post("/api/v1/principals"), ann),
        (stand.post("/api/v1/principals/local-admin/token"), json!({})),
        (stand.delete("/api/v1/principals/local-admin"), json!({})),
        (stand.post("/api/v1/keys/rotations"), json!({ "what": "epoch" })),
        (stand.post("/api/v1/keys/root-rotations"), json!({})),
    ] {
        asked.header("idempotency-key", "k").json(&body).send().await.problem(400, "idempotency-unsupported");
    }
    let known = stand.get("/api/v1/principals").send().await.expect(200).json();
    assert_eq!(known.as_array().unwrap().len(), 1, "{known}");
    stand.stop().await;
}

#[tokio::test]
async fn the_last_admin_stays_also_when_two_revoke_one_another() {
    let stand = Stand::new().await;
    let auditor = stand.principal("auditor", &["auditor"]).await;
    let path = |name: &str| format!("/api/v1/principals/{name}");
    let refused = stand.delete(&path("local-admin")).send().await.problem(409, "last-admin");
    assert_eq!(refused["context"]["id"], "local-admin");
    stand.delete(&path("local-admin")).token(&auditor).send().await.problem(403, "role-denied");
    stand.get("/api/v1/status").send().await.expect(200);

    let second = stand.principal("second", &["admin", "reader"]).await;
    let (one, other) =
        tokio::join!(stand.delete(&path("second")).send(), stand.delete(&path("local-admin")).token(&second).send());
    let ended = [one.status, other.status].iter().filter(|status| **status == 204).count();
    assert_eq!(ended, 1, "{} {}", one.text, other.text);
    let (left, token) = if one.status == 204 { ("local-admin", &stand.admin) } else { ("second", &second) };
    stand.delete(&path(left)).token(token).send().await.problem(409, "last-admin");
    stand.delete(&path("auditor")).token(token).send().await.expect(204);
    // A new token for the last admin is no way out, but a way on.
    let fresh = stand.post(&format!("{}/token", path(left))).token(token).send().await.expect(200).json();
    stand.get("/api/v1/status").token(fresh["token"].as_str().unwrap()).send().await.expect(200);
    stand.stop().await;
}

#[tokio::test]
async fn each_role_may_do_its_own_and_nothing_else() {
    let stand = Stand::new().await;
    let path = format!("{TMF}/intent");
    let id = stand.intent("guarded").await;
    let (reader, writer) = (stand.principal("r", &["reader"]).await, stand.principal("w", &["writer"]).await);
    let (operator, auditor) = (stand.principal("o", &["operator"]).await, stand.principal("a", &["auditor"]).await);
    let one = format!("{path}/{id}");
    stand.get(&one).token(&reader).send().await.expect(200);
    stand.post(&path).token(&reader).json(&intent("x")).send().await.problem(403, "role-denied");
    stand.post(&path).token(&writer).json(&intent("x")).send().await.expect(201);
    for token in [&operator, &auditor] {
        stand.get(&one).token(token).send().await.problem(403, "role-denied");
        stand.delete(&one).token(token).send().await.problem(403, "role-denied");
    }
    stand.get("/api/v1/audit").token(&auditor).send().await.expect(200);
    stand.get("/api/v1/audit").token(&writer).send().await.problem(403, "role-denied");
    let denials = stand.get("/api/v1/audit?kind=act&principal=w").send().await.expect(200).text;
    assert!(denials.contains("role-denied"), "a denial is audited: {denials}");
    stand.get("/api/v1/keys").token(&operator).send().await.expect(200);
    stand.get("/api/v1/keys").token(&reader).send().await.problem(403, "role-denied");
    stand.get("/api/v1/principals").token(&operator).send().await.problem(403, "role-denied");
    stand.get("/api/v1/history/principal/r").token(&reader).send().await.problem(403, "role-denied");
    let body = json!({ "name": "more", "roles": ["admin"] });
    stand.post("/api/v1/principals").token(&writer).json(&body).send().await.problem(403, "role-denied");
    stand.stop().await;
}

#[tokio::test]
async fn tenants_do_not_see_one_another() {
    let stand = Stand::new().await;
    let id = stand.intent("ours").await;
    let body = json!({ "name": "boss", "roles": ["admin"], "tenant": "acme" });
    let made = stand.post("/api/v1/principals").json(&body).send().await.expect(201);
    let boss = made.json()["token"].as_str().unwrap().to_owned();
    stand.get(&format!("{TMF}/intent/{id}")).token(&boss).send().await.problem(404, "not-found");
    assert_eq!(stand.get(&format!("{TMF}/intent")).token(&boss).send().await.expect(200).json(), json!([]));
    let wrong = stand.get(&format!("{TMF}/intent")).header("tenant", "default").token(&boss).send().await;
    wrong.problem(403, "tenant-denied");
    let body = json!({ "name": "spy", "roles": ["admin"], "tenant": "default" });
    stand.post("/api/v1/principals").token(&boss).json(&body).send().await.problem(403, "tenant-denied");
    let seen = stand.get("/api/v1/watch?wait=0").token(&boss).send().await.expect(200).text;
    assert!(!seen.contains(&id), "{seen}");
    stand.stop().await;
}

#[tokio::test]
async fn strangers_are_refused_audited_and_slowed_down() {
    let stand = Stand::new().await;
    let path = format!("{TMF}/intent");
    let refused = stand.get(&path).anonymous().send().await;
    refused.problem(401, "credential-missing");
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    let mut answers = Vec::new();
    for _ in 0..40 {
        answers.push(stand.get(&path).token("nk_guess").send().await.status.as_u16());
    }
    assert_eq!((answers[0], answers[39]), (401, 429), "{answers:?}");
    stand.get(&path).send().await.expect(200);
    let acts = stand.get("/api/v1/audit?kind=act&principal=unknown").send().await.expect(200).json();
    assert_eq!(acts["entries"].as_array().unwrap().len(), 30);
    stand.stop().await;
}
