//! Every official example request is accepted as it is.

use crate::{
    official::{samples, validate},
    stand::{Stand, TMF},
};
use serde_json::{Value, json};

struct Use {
    file: String,
    operation: String,
    content_type: String,
}

fn uses() -> Option<(std::path::PathBuf, Vec<Use>)> {
    let root = samples()?;
    let index = std::fs::read_to_string(root.join("examples_index.jsonl")).unwrap();
    let requests = index.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let requests = requests.filter(|row| row["used_as"] == "request").flat_map(|row| {
        let operations = row["operations"].as_array().unwrap().clone();
        operations.into_iter().map(move |operation| Use {
            file: row["file"].as_str().unwrap().to_owned(),
            operation: operation.as_str().unwrap().to_owned(),
            content_type: row["content_type"].as_str().unwrap().to_owned(),
        })
    });
    Some((root.clone(), requests.collect()))
}

/// What the examples change: it has what their pointers name.
fn subject(kind: &str) -> Value {
    let period = json!({ "startDateTime": "2023-10-23T00:30:00.00Z", "endDateTime": "2024-10-19T23:30:00.00Z" });
    match kind {
        "intent" => {
            let mut body = crate::stand::intent("example");
            body["validFor"] = period;
            body["version"] = json!("1.0");
            body["description"] = json!("before");
            body
        }
        _ => json!({ "@type": "IntentSpecification", "name": "example", "description": "before", "version": "1.0",
            "validFor": period,
            "expressionSpecification": { "@type": "ExpressionSpecification", "expressionLanguage": "JSON-LD", "iri": "urn:x" } }),
    }
}

#[tokio::test]
async fn every_official_example_request_is_accepted() {
    let Some((root, uses)) = uses() else { return };
    let stand = Stand::new().await;
    let mut sent = 0;
    for Use { file, operation, content_type } in uses {
        let text = std::fs::read_to_string(root.join(&file)).unwrap();
        let mut words = operation.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let reply = match (method, path) {
            ("POST", "/intent" | "/intentSpecification" | "/hub") => {
                stand.post(&format!("{TMF}{path}")).body(&content_type, text).send().await.expect(201)
            }
            ("PATCH", path) => {
                let collection = path.trim_start_matches('/').split('/').next().unwrap();
                let mut subject = subject(collection);
                let patch: Value = serde_json::from_str(&text).unwrap();
                if let Some(named) = patch.get("@type") {
                    subject["@type"] = named.clone();
                }
                let before = stand.post(&format!("{TMF}/{collection}")).json(&subject).send().await.expect(201);
                let path = before.header("location").to_owned();
                stand.patch(&path).body(&content_type, text).send().await.expect(200)
            }
            // Listeners are the subscriber's side.
            _ => continue,
        };
        validate(&reply.json());
        sent += 1;
    }
    assert!(sent >= 14, "only {sent} example requests were found");
    stand.stop().await;
}
