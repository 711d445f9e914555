//! A second server on the same record: reads here, writes there.

use crate::stand::{LEADER, Stand, TMF, intent};
use serde_json::json;

#[tokio::test]
async fn a_follower_reads_and_sends_writers_to_the_leader() {
    let leader = Stand::new().await;
    let follower = leader.beside().await;
    let made = leader.post(&format!("{TMF}/intent")).json(&intent("shared")).send().await.expect(201);
    let (path, position) = (made.header("location").to_owned(), made.header("ledger-position").to_owned());
    let read = follower.get(&path).header("ledger-position", &position).send().await.expect(200);
    assert_eq!(read.text, made.text);
    assert_eq!(follower.get("/readyz").send().await.expect(200).json()["role"], "follower");

    let target = format!("{TMF}/intent?fields=name");
    let sent = follower.post(&target).json(&intent("elsewhere")).send().await;
    sent.problem(307, "not-leader");
    assert_eq!(sent.header("location"), format!("{LEADER}{target}"));
    let patch = json!({ "@type": "Intent", "description": "x" });
    follower.patch(&path).json(&patch).send().await.problem(307, "not-leader");
    follower.delete(&path).send().await.problem(307, "not-leader");

    // A principal made there is known here once the log has told of it.
    let token = leader.principal("ann", &["reader"]).await;
    let position = leader.get("/api/v1/status").send().await.json()["record"]["published"].clone();
    follower
        .app
        .ledger
        .wait_for(position.as_str().unwrap().parse().unwrap(), std::time::Duration::from_secs(10))
        .await
        .unwrap();
    let mut learnt = false;
    while !learnt {
        learnt = follower.app.authenticator.directory().find(&server::identity::token::hash(&token)).is_some();
        tokio::task::yield_now().await;
    }
    follower.get(&path).token(&token).send().await.expect(200);
    follower.stop().await;
    leader.stop().await;
}
