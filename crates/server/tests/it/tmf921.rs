//! Intents, specifications and reports as TM Forum describes them.

use crate::stand::{Stand, TMF, intent};
use serde_json::{Value, json};

#[tokio::test]
async fn an_intent_is_created_read_changed_and_deleted() {
    let stand = Stand::new().await;
    let made = stand.post(&format!("{TMF}/intent")).json(&intent("slice")).send().await.expect(201);
    let body = made.json();
    let id = body["id"].as_str().unwrap();
    let path = format!("{TMF}/intent/{id}");
    assert_eq!(made.header("location"), path);
    assert_eq!(body["href"], path.as_str());
    assert_eq!(made.header("etag"), "\"1\"");
    for name in ["creationDate", "lastUpdate", "statusChangeDate", "lifecycleStatus"] {
        assert!(body[name].is_string(), "{name}: {body}");
    }

    let read = stand.get(&path).send().await.expect(200);
    assert_eq!(read.text, made.text);
    assert!(read.text.contains("8944500102198304826"), "a number lost its digits: {}", read.text);
    let known = stand.get(&path).header("if-none-match", "\"1\"").send().await.expect(304);
    assert!(known.text.is_empty());

    let patch = json!({ "@type": "Intent", "lifecycleStatus": "Active" });
    let changed = stand.patch(&path).header("if-match", "\"1\"").json(&patch).send().await.expect(200);
    assert_eq!(changed.json()["lifecycleStatus"], "Active");
    assert_eq!(changed.header("etag"), "\"2\"");
    let stale = stand.patch(&path).header("if-match", "\"1\"").json(&patch).send().await;
    assert_eq!(stale.problem(412, "precondition-failed")["context"]["current"], "2");

    stand.delete(&path).header("if-match", "\"1\"").send().await.problem(412, "precondition-failed");
    let deleted = stand.delete(&path).header("if-match", "\"2\"").send().await.expect(204);
    assert!(!deleted.header("ledger-position").is_empty());
    stand.get(&path).send().await.problem(404, "not-found");
    stand.delete(&path).send().await.problem(404, "not-found");
    stand.stop().await;
}

#[tokio::test]
async fn all_four_media_types_patch_and_others_are_refused() {
    let stand = Stand::new().await;
    let path = format!("{TMF}/intent/{}", stand.intent("patched").await);
    let patches = [
        ("application/json", json!({ "@type": "Intent", "description": "one" }), "one"),
        ("application/merge-patch+json; charset=utf-8", json!({ "description": "two" }), "two"),
        (
            "application/json-patch+json",
            json!([{ "op": "replace", "path": "/description", "value": "three" }]),
            "three",
        ),
        (
            "application/json-patch-query+json",
            json!([{ "op": "replace", "path": "/description?name=patched", "value": "four" }]),
            "four",
        ),
    ];
    for (kind, patch, expected) in patches {
        let changed = stand.patch(&path).body(kind, patch.to_string()).send().await.expect(200);
        assert_eq!(changed.json()["description"], expected, "{kind}");
    }
    stand.patch(&path).body("text/plain", "x").send().await.problem(415, "media-type-unsupported");
    let latin = "application/merge-patch+json; charset=latin1";
    stand.patch(&path).body(latin, "{}").send().await.problem(415, "media-type-unsupported");
    let fixed = stand.patch(&path).json(&json!({ "@type": "Intent", "id": "other" })).send().await;
    assert_eq!(fixed.problem(400, "attribute-fixed")["context"]["field"], "id");
    let failing = json!([{ "op": "test", "path": "/name", "value": "other" }]).to_string();
    stand.patch(&path).body("application/json-patch+json", failing).send().await.problem(409, "patch-test-failed");
    assert_eq!(stand.get(&path).send().await.header("etag"), "\"5\"");
    stand.stop().await;
}

#[tokio::test]
async fn a_list_is_filtered_projected_counted_and_paged() {
    let stand = Stand::new().await;
    for n in 0..5 {
        let mut body = intent(&format!("intent-{n}"));
        body["priority"] = json!(if n % 2 == 0 { "1" } else { "2" });
        body["description"] = json!(format!("text, number {n}"));
        stand.post(&format!("{TMF}/intent")).json(&body).send().await.expect(201);
    }
    let all = stand.get(&format!("{TMF}/intent")).send().await.expect(200);
    assert_eq!((all.header("x-total-count"), all.header("x-result-count")), ("5", "5"));

    let page = stand.get(&format!("{TMF}/intent?priority=1&limit=2&fields=name,priority")).send().await.expect(200);
    assert_eq!((page.header("x-total-count"), page.header("x-result-count")), ("3", "2"));
    let first = page.json()[0].clone();
    let mut names: Vec<&str> = first.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["@type", "href", "id", "name", "priority"]);
    let link = page.header("link");
    let next = link.strip_prefix('<').and_then(|rest| rest.split_once('>')).unwrap().0;
    let rest = stand.get(next).send().await.expect(200);
    assert_eq!((rest.header("x-result-count"), rest.headers.get("link")), ("1", None), "{link}");
    assert_eq!(rest.json()[0]["name"], "intent-4");

    let found = stand.get(&format!("{TMF}/intent?name=intent-3")).send().await.expect(200);
    assert_eq!(found.json()[0]["name"], "intent-3");
    let found = stand.get(&format!("{TMF}/intent?description=text%2C%20number%202")).send().await.expect(200);
    assert_eq!(found.json().as_array().unwrap().len(), 1);
    let shifted = stand.get(&format!("{TMF}/intent?offset=4")).send().await.expect(200);
    assert_eq!((shifted.header("x-result-count"), shifted.json()[0]["name"].as_str()), ("1", Some("intent-4")));
    stand.get(&format!("{TMF}/intent?limit=x")).send().await.problem(400, "parameter-malformed");
    let counted = stand.get(&format!("{TMF}/intent?limit=0")).send().await.expect(200);
    assert_eq!((counted.text.as_str(), counted.header("x-total-count")), ("[]", "5"));
    stand.get(&format!("{TMF}/intent?sort=-name")).send().await.problem(400, "sort-unsupported");
    let odd = stand.get(&format!("{TMF}/intent?creationDate.gt=yesterday")).send().await;
    assert_eq!(odd.problem(400, "parameter-malformed")["context"]["given"], "yesterday");
    stand.stop().await;
}

#[tokio::test]
async fn a_deleted_report_is_gone_for_this_life_of_its_intent_and_asked_for_once() {
    let stand = Stand::new().await;
    let mut proposed = intent("again");
    proposed["id"] = json!("rep-1");
    stand.post(&format!("{TMF}/intent")).json(&proposed).send().await.expect(201);
    let reports = format!("{TMF}/intent/rep-1/intentReport");
    let listed = stand.get(&reports).send().await.expect(200).json();
    let path = format!("{reports}/{}", listed[0]["id"].as_str().unwrap());
    let tag = stand.get(&path).send().await.expect(200).header("etag").to_owned();
    let refused = stand.delete(&path).header("if-match", "\"444\"").send().await.problem(412, "precondition-failed");
    assert_eq!(refused["context"]["current"], "1");
    stand.get(&path).send().await.expect(200);

    let delete = || stand.delete(&path).header("if-match", &tag).header("idempotency-key", "once").send();
    let first = delete().await.expect(204);
    let again = delete().await.expect(204);
    assert_eq!(first.header("ledger-position"), again.header("ledger-position"));
    stand.delete(&path).send().await.problem(404, "not-found");
    stand.delete(&path).header("idempotency-key", "once").send().await.expect(204);

    stand.delete(&format!("{TMF}/intent/rep-1")).send().await.expect(204);
    stand.post(&format!("{TMF}/intent")).json(&proposed).send().await.expect(201);
    let listed = stand.get(&reports).send().await.expect(200);
    assert_eq!((listed.header("x-total-count"), listed.json()[0]["name"].as_str()), ("1", Some("again report")));
    stand.delete(&path).send().await.expect(204);
    assert_eq!(stand.get(&reports).send().await.expect(200).json(), json!([]));
    stand.stop().await;
}

#[tokio::test]
async fn a_report_comes_with_its_intent_and_can_be_deleted() {
    let stand = Stand::new().await;
    let id = stand.intent("reported").await;
    let reports = format!("{TMF}/intent/{id}/intentReport");
    let list = stand.get(&reports).send().await.expect(200);
    let report = list.json()[0].clone();
    assert_eq!(list.header("x-total-count"), "1");
    assert!(report["creationDate"].is_string());
    assert_eq!(report["expression"], stand.get(&format!("{TMF}/intent/{id}")).send().await.json()["expression"]);
    let path = format!("{reports}/{}", report["id"].as_str().unwrap());
    assert_eq!(stand.get(&path).send().await.expect(200).json(), report);
    let shown = stand.get(&format!("{path}?fields=name")).send().await.expect(200).json();
    assert_eq!(shown.as_object().unwrap().len(), 4, "{shown}");
    stand.get(&format!("{reports}/other")).send().await.problem(404, "not-found");

    stand.delete(&path).send().await.expect(204);
    stand.get(&path).send().await.problem(404, "not-found");
    stand.delete(&path).send().await.problem(404, "not-found");
    assert_eq!(stand.get(&reports).send().await.json(), json!([]));
    stand.get(&format!("{TMF}/intent/none/intentReport")).send().await.problem(404, "not-found");
    stand.stop().await;
}

#[tokio::test]
async fn a_specification_has_the_same_life() {
    let stand = Stand::new().await;
    let body = json!({ "@type": "IntentSpecification", "name": "spec", "x-unknown": [1.0, { "kept": null }],
        "expressionSpecification": { "@type": "ExpressionSpecification", "expressionLanguage": "JSON-LD", "iri": "urn:x" } });
    let made = stand.post(&format!("{TMF}/intentSpecification")).json(&body).send().await.expect(201);
    assert_eq!(made.json()["x-unknown"], json!([1.0, { "kept": null }]));
    let path = made.header("location").to_owned();
    let patch = json!({ "@type": "IntentSpecification", "version": "2.0" });
    assert_eq!(stand.patch(&path).json(&patch).send().await.expect(200).json()["version"], "2.0");
    let list = stand.get(&format!("{TMF}/intentSpecification")).send().await.expect(200);
    assert_eq!(list.json()[0]["version"], "2.0");
    stand.delete(&path).send().await.expect(204);
    stand.get(&path).send().await.problem(404, "not-found");
    stand.stop().await;
}

#[tokio::test]
async fn a_repeated_request_gets_its_first_answer() {
    let stand = Stand::new().await;
    let send = |body: Value| stand.post(&format!("{TMF}/intent")).header("idempotency-key", "k-1").json(&body).send();
    let first = send(intent("once")).await.expect(201);
    let again = send(intent("once")).await.expect(201);
    assert_eq!((first.text.as_str(), first.header("location")), (again.text.as_str(), again.header("location")));
    assert_eq!(first.header("ledger-position"), again.header("ledger-position"));
    send(intent("other")).await.problem(422, "idempotency-mismatch");

    let path = first.header("location").to_owned();
    let change = json!([{ "op": "test", "path": "/name", "value": "once" }, { "op": "replace", "path": "/name", "value": "twice" }]);
    let patch = || {
        stand
            .patch(&path)
            .header("idempotency-key", "k-2")
            .header("if-match", "\"1\"")
            .body("application/json-patch+json", change.to_string())
            .send()
    };
    let first = patch().await.expect(200);
    let again = patch().await.expect(200);
    assert_eq!((first.text.as_str(), again.header("etag")), (again.text.as_str(), "\"2\""));

    let delete = || stand.delete(&path).header("idempotency-key", "k-3").send();
    let first = delete().await.expect(204);
    let again = delete().await.expect(204);
    assert_eq!(first.header("ledger-position"), again.header("ledger-position"));
    stand.stop().await;
}

#[tokio::test]
async fn a_client_may_name_the_id_once() {
    let stand = Stand::new().await;
    let mut body = intent("named");
    body["id"] = json!("slice/7 é");
    let made = stand.post(&format!("{TMF}/intent")).json(&body).send().await.expect(201);
    let path = made.header("location").to_owned();
    assert_eq!(stand.get(&path).send().await.expect(200).json()["id"], "slice/7 é");
    stand.post(&format!("{TMF}/intent")).json(&body).send().await.problem(409, "already-exists");
    stand.stop().await;
}

#[tokio::test]
async fn changes_of_one_hot_resource_all_take_effect() {
    let stand = Stand::new().await;
    let path = format!("{TMF}/intent/{}", stand.intent("hot").await);
    let patches = (0..24).map(|n| {
        let patch = json!({ "@type": "Intent", "characteristic": null, "description": n.to_string() });
        stand.patch(&path).json(&patch).send()
    });
    for changed in futures_util::future::join_all(patches).await {
        changed.expect(200);
    }
    assert_eq!(stand.get(&path).send().await.header("etag"), "\"25\"");
    stand.stop().await;
}

#[tokio::test]
async fn a_position_is_waited_for_and_a_foreign_one_is_told() {
    let stand = Stand::new().await;
    let made = stand.post(&format!("{TMF}/intent")).json(&intent("seen")).send().await.expect(201);
    let position = made.header("ledger-position").to_owned();
    let path = made.header("location").to_owned();
    stand.get(&path).header("ledger-position", &position).send().await.expect(200);
    stand.get(&path).header("ledger-position", "nonsense").send().await.problem(400, "position-malformed");
    let (life, n) = position.rsplit_once('.').unwrap();
    let foreign = format!("{}.{n}", life.replace("0.1-", "0.7-"));
    stand.get(&path).header("ledger-position", &foreign).send().await.problem(409, "position-voided");
    stand.stop().await;
}

#[tokio::test]
async fn a_page_of_large_documents_ends_early_and_says_where_to_go_on() {
    let stand = Stand::new().await;
    for n in 0..10 {
        let mut body = intent(&format!("large-{n}"));
        body["description"] = json!("x".repeat(1_000_000));
        stand.post(&format!("{TMF}/intent")).json(&body).send().await.expect(201);
    }
    let page = stand.get(&format!("{TMF}/intent?limit=10")).send().await.expect(200);
    assert_eq!(page.header("x-total-count"), "10");
    let (mut seen, mut next) = (page.json().as_array().unwrap().len(), page.headers.get("link").cloned());
    while let Some(link) = next {
        let path = link.to_str().unwrap().trim_start_matches('<').split('>').next().unwrap().to_owned();
        let page = stand.get(&path).send().await.expect(200);
        seen += page.json().as_array().unwrap().len();
        next = page.headers.get("link").cloned();
    }
    assert_eq!(seen, 10);
    stand.stop().await;
}
