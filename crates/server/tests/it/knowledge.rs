//! Knowledge goes in through the record, is found through a copy, and the copy is checked against the record.

use crate::stand::Stand;
use serde_json::{Value, json};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    time::{Duration, Instant},
};

pub const DOCUMENTS: &str = "/api/v1/knowledge/documents";
const TEXTS: [(&str, &str); 3] = [
    ("handover.md", "# Handover\n\nA handover is triggered when the neighbour cell is stronger by the A3 offset.\n"),
    ("billing.md", "# Billing\n\nRoaming charges are settled between operators with TAP files every month.\n"),
    ("links.md", "# Fronthaul\n\n## Link loss\n\nA lost fronthaul link is reported by the O-RU as a critical alarm.\n"),
];

async fn import(stand: &Stand, path: &str, text: &str) -> Value {
    let body = json!({ "source": "handbook", "path": path, "text": text });
    stand.post(DOCUMENTS).json(&body).send().await.json()
}

pub async fn filled() -> Stand {
    let stand = Stand::new().await;
    for (path, text) in TEXTS {
        assert_eq!(import(&stand, path, text).await["state"], "created");
    }
    caught_up(&stand).await;
    stand
}

/// Until the copies have looked at everything that was there when this was called.
pub async fn caught_up(stand: &Stand) {
    let until = Instant::now() + Duration::from_secs(30);
    let published = stand.app.ledger.published().unwrap().unwrap().n;
    while stand.app.relay.status().iter().any(|copy| copy.position.is_none_or(|at| at.n < published)) {
        assert!(Instant::now() < until, "{:?}", stand.app.relay.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn found(stand: &Stand, question: &str) -> Vec<Value> {
    let answer = stand.post("/api/v1/search").json(&json!({ "text": question })).send().await.expect(200).json();
    assert_eq!(answer["model"], "hash-384");
    answer["passages"].as_array().unwrap().clone()
}

#[tokio::test]
async fn what_was_imported_is_found_with_its_place_and_the_same_text_is_not_stored_twice() {
    let stand = filled().await;
    let passages = found(&stand, "what triggers a handover to a neighbour cell").await;
    assert_eq!(passages[0]["path"], "handover.md");
    let passages = found(&stand, "fronthaul link alarm").await;
    assert_eq!(
        (&passages[0]["heading"], &passages[0]["title"]),
        (&json!("Fronthaul > Link loss"), &json!("Fronthaul"))
    );
    assert_eq!(import(&stand, TEXTS[0].0, TEXTS[0].1).await["state"], "unchanged");
    let changed = import(&stand, "handover.md", "# Handover\n\nConditional handover prepares several cells.\n").await;
    assert_eq!((&changed["state"], &changed["version"]), (&json!("changed"), &json!(2)));
    caught_up(&stand).await;
    assert!(found(&stand, "A3 offset").await.iter().all(|passage| !passage["text"].to_string().contains("A3")));
    let answer = stand.post("/api/v1/retrieve").json(&json!({ "text": "handover", "tokens": 25 })).send().await;
    let answer = answer.expect(200).json();
    assert!(answer["tokens"].as_u64().unwrap() <= 25, "{answer}");
    assert_eq!(answer["passages"][0]["citation"], "handbook: handover.md, Handover");
    stand.stop().await;
}

#[tokio::test]
async fn html_and_rst_are_found_under_their_headings_as_markdown_is() {
    let stand = Stand::new().await;
    let html =
        "<nav>handover</nav><h1>Mobility</h1><h2>Handover</h2><p>Triggered by the A3 offset.<table><tr><td>A3</table>";
    let rst = "Mobility\n========\n\nPaging\n------\n\n.. note:: Paging wakes an idle device.\n";
    for (path, format, text) in [("a.html", "html", html), ("b.rst", "rst", rst)] {
        let body = json!({ "source": "handbook", "path": path, "format": format, "text": text });
        stand.post(DOCUMENTS).json(&body).send().await.expect(201);
    }
    caught_up(&stand).await;
    for (question, heading) in
        [("what offset triggers a handover", "Mobility > Handover"), ("what wakes an idle device", "Mobility > Paging")]
    {
        assert_eq!(found(&stand, question).await[0]["heading"], heading);
    }
    stand.stop().await;
}

#[tokio::test]
async fn a_deleted_document_is_not_shown_even_before_the_copy_knows() {
    let stand = filled().await;
    let id = found(&stand, "roaming charges").await[0]["document"].as_str().unwrap().to_owned();
    stand.delete(&format!("{DOCUMENTS}/{id}")).send().await.expect(200);
    assert!(found(&stand, "roaming charges").await.iter().all(|passage| passage["document"] != id.as_str()));
    caught_up(&stand).await;
    let verified = stand.post("/api/v1/copies/vectors:verify").send().await.expect(200).json();
    assert_eq!((&verified["differing"], &verified["keys"]), (&json!(0), &json!(2)));
    stand.stop().await;
}

#[tokio::test]
async fn one_flipped_byte_is_named_and_mended_by_a_rebuild_of_the_key_or_of_all() {
    let stand = filled().await;
    let id = found(&stand, "roaming charges").await[0]["document"].as_str().unwrap().to_owned();
    let first = stand.app.relay.status()[0].generation;
    let never = json!({ "kind": "knowledge-document", "id": "never-there" });
    for body in [Some(json!({ "keys": [{ "kind": "knowledge-document", "id": id }, never] })), None] {
        damage(&stand, first, &id);
        let verified = stand.post("/api/v1/copies/vectors:verify").send().await.expect(200).json();
        assert_eq!(verified["differing"], 1, "{verified}");
        let difference = &verified["differences"][0];
        assert_eq!((&difference["what"], &difference["id"]), (&json!("different"), &json!(id)));
        let call = stand.post("/api/v1/copies/vectors:rebuild");
        match &body {
            Some(body) => {
                let done = call.json(body).send().await.expect(200).json();
                assert_eq!((&done["applied"], &done["left"]), (&json!(2), &json!([])));
                assert_eq!((&done["absent"][0]["id"], &done["absent"][1]), (&json!("never-there"), &json!(null)));
            }
            None => assert_eq!(call.send().await.expect(200).json()["differing"], 0),
        }
        let again = stand.post("/api/v1/copies/vectors:verify").send().await.expect(200).json();
        assert_eq!(again["differing"], 0, "{again}");
    }
    assert_eq!(found(&stand, "roaming charges").await[0]["document"], id.as_str());
    assert_eq!(stand.app.relay.status()[0].generation, first + 1);
    stand.stop().await;
}

/// Flips a bit in the last vector of the document's last frame.
fn damage(stand: &Stand, generation: u64, id: &str) {
    let path = stand.vectors(generation);
    let bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(id.len()).rposition(|window| window == id.as_bytes()).unwrap() + id.len() + 200;
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[bytes[at] ^ 0x40], at as u64).unwrap();
}

#[tokio::test]
async fn bad_documents_and_questions_are_refused_with_the_field() {
    let stand = Stand::new().await;
    for (body, field) in [
        (json!({ "path": "a", "text": "x" }), "source"),
        (json!({ "source": "s", "path": "a" }), "text"),
        (json!({ "source": "s", "path": "a", "text": "" }), "text"),
        (json!({ "source": "s", "path": "a", "text": "x", "class": "restricted" }), "class"),
        (json!({ "source": "s", "path": "a", "text": "x", "format": "docx" }), "format"),
        (json!({ "source": "s", "path": "a", "sections": [{ "heading": 1 }] }), "sections[0]"),
    ] {
        let refused = stand.post(DOCUMENTS).json(&body).send().await;
        assert_eq!(refused.status.as_u16(), 400, "{body}");
        assert_eq!(refused.json()["context"]["field"], field, "{body}");
    }
    for body in [json!({ "text": "…" }), json!({ "text": "" }), json!({ "text": "x", "limit": 0 }), json!({})] {
        stand.post("/api/v1/search").json(&body).send().await.problem(400, "attribute-value");
    }
    let foreign = json!({ "keys": [{ "kind": "intent", "id": "x" }] });
    stand.post("/api/v1/copies/vectors:rebuild").json(&foreign).send().await.problem(400, "copy-kind-foreign");
    stand.post("/api/v1/copies/nothing:verify").send().await.problem(404, "copy-unknown");
    stand.post("/api/v1/copies/vectors").send().await.problem(400, "copy-action-unknown");
    stand.stop().await;
}

/// A megabyte is the most that is read of a document anywhere, so no more is stored as one.
#[tokio::test]
async fn a_document_that_nobody_could_read_is_refused_and_one_just_below_goes_all_the_way() {
    let stand = Stand::new().await;
    let heading = "h".repeat(1_000);
    // Small to send, large to store: the heading stands with every section.
    let under = |sections: usize| format!("# {heading}\n{}", "## a\ntext\n".repeat(sections));
    let refused = stand.post(DOCUMENTS).json(&json!({ "source": "s", "path": "p", "text": under(1_100) })).send().await;
    refused.problem(413, "document-too-large");
    let refused = stand.post(DOCUMENTS).json(&json!({ "source": "s", "path": "p", "text": "##\nx\n".repeat(20_000) }));
    refused.send().await.problem(413, "document-too-large");
    let long = json!([{ "heading": "h".repeat(2_000), "text": "x" }]);
    let refused = stand.post(DOCUMENTS).json(&json!({ "source": "s", "path": "p", "sections": long })).send().await;
    assert_eq!(refused.problem(400, "attribute-value")["context"]["field"], "sections[0].heading");
    assert_eq!(import(&stand, "large.md", &under(900)).await["state"], "created");
    caught_up(&stand).await;
    assert_eq!(found(&stand, "text").await[0]["path"], "large.md");
    let verified = stand.post("/api/v1/copies/vectors:verify").send().await.expect(200).json();
    assert_eq!((&verified["differing"], &verified["objects"]), (&json!(0), &json!(900)));
    stand.stop().await;
}

#[tokio::test]
async fn copies_are_acted_upon_by_the_installation_on_record_and_searched_by_readers() {
    let stand = filled().await;
    let body = json!({ "name": "guest", "roles": ["admin"], "tenant": "guest" });
    let made = stand.post("/api/v1/principals").json(&body).send().await.expect(201).json();
    let guest = made["token"].as_str().unwrap();
    let auditor = stand.principal("auditor", &["auditor"]).await;
    for action in ["verify", "rebuild"] {
        let path = format!("/api/v1/copies/vectors:{action}");
        stand.post(&path).token(guest).send().await.problem(403, "tenant-denied");
        stand.post(&path).token(&auditor).send().await.problem(403, "role-denied");
        stand.post(&path).send().await.expect(200);
    }
    let denied = stand.get("/api/v1/audit?kind=act").token(guest).send().await.expect(200).text;
    assert!(denied.contains("copy-verify") && denied.contains("tenant-denied"), "{denied}");
    let acts = stand.get("/api/v1/audit?kind=act").send().await.expect(200).text;
    assert!(acts.contains("copy-verify") && acts.contains("copy-rebuild"), "{acts}");
    // Also where nothing would be found.
    for path in ["/api/v1/search", "/api/v1/retrieve"] {
        let question = json!({ "text": "roaming", "source": "none" });
        stand.post(path).token(&auditor).json(&question).send().await.problem(403, "role-denied");
    }
    stand.stop().await;
}

#[tokio::test]
async fn a_migration_is_begun_compared_turned_taken_back_and_ended_by_the_installations_operators() {
    let stand = filled().await;
    let migration = "/api/v1/knowledge/migration";
    let step = |step: &str| stand.post(&format!("{migration}/{step}"));
    let stands = stand.get(migration).send().await.expect(200).json();
    assert_eq!(stands["searched"], "hash-384 (lexical, offline)");
    assert_eq!((&stands["target"], stands.get("beside")), (&json!("hash-1536 (lexical, offline)"), None));
    assert_eq!(step("cut-over").send().await.expect(409).json()["code"], "migration-missing");
    assert_eq!(step("jump").send().await.expect(400).json()["code"], "migration-step-unknown");
    let begun = step("begin").send().await.expect(200).json();
    assert_eq!(begun["beside"]["copy"]["name"], "vectors-next");
    let published = stand.app.ledger.published().unwrap().unwrap().n;
    let until = Instant::now() + Duration::from_secs(30);
    while stand.app.relay.status().iter().any(|copy| copy.position.is_none_or(|at| at.n < published)) {
        assert!(Instant::now() < until, "{:?}", stand.app.relay.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let questions = json!([
        { "text": "what triggers a handover", "source": "handbook", "path": "handover.md" },
        { "text": "roaming charges" },
    ]);
    let compared = step("compare").json(&json!({ "questions": questions })).send().await.expect(200).json();
    assert_eq!((&compared["questions"], &compared["known"]), (&json!(2), &json!(1)));
    assert_eq!(compared["sides"][1]["copy"], "vectors-next");
    for side in compared["sides"].as_array().unwrap() {
        assert_eq!((side["found_at_1"].as_f64(), side["recall_at_10"].as_f64()), (Some(1.0), Some(1.0)), "{side}");
    }
    for wrong in [json!({}), json!({ "questions": [] }), json!({ "questions": [{ "text": "…" }] })] {
        step("compare").json(&wrong).send().await.expect(400);
    }
    for (way, model) in [("cut-over", "hash-1536"), ("roll-back", "hash-384"), ("cut-over", "hash-1536")] {
        step(way).send().await.expect(200);
        let answer =
            stand.post("/api/v1/search").json(&json!({ "text": "roaming charges" })).send().await.expect(200).json();
        assert_eq!((&answer["model"], &answer["passages"][0]["path"]), (&json!(model), &json!("billing.md")));
    }
    assert_eq!(stand.get("/api/v1/status").send().await.json()["embedder"]["name"], "hash-1536 (lexical, offline)");
    step("finish").send().await.expect(200);
    assert_eq!(stand.get("/api/v1/copies").send().await.json()["copies"].as_array().unwrap().len(), 2);
    stand.stop().await;
}

#[tokio::test]
async fn the_index_tells_how_large_it_is_how_fast_it_was_filled_and_how_long_searches_took() {
    let stand = filled().await;
    for _ in 0..3 {
        found(&stand, "fronthaul link alarm").await;
    }
    let page = stand.get("/metrics").anonymous().send().await.expect(200).text;
    let value = |name: &str| -> f64 {
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}\n{page}")).parse().unwrap()
    };
    assert_eq!((value("nephkeep_vectors_documents"), value("nephkeep_vectors_query_seconds_count")), (3.0, 3.0));
    assert!(value("nephkeep_vectors_query_seconds_sum") < 60.0);
    let (vectors, dimensions) = (value("nephkeep_vectors_stored"), value("nephkeep_vectors_dimensions"));
    assert!(vectors >= 3.0 && dimensions == 384.0, "{vectors} of {dimensions}");
    let codes = value("nephkeep_vectors_code_bytes");
    assert!(codes > 0.0 && codes < vectors * dimensions * 4.0, "{codes}");
    assert!(value("nephkeep_vectors_resident_bytes") >= codes);
    // In the file lie the vectors themselves, sealed.
    assert!(value("nephkeep_vectors_disk_bytes") > vectors * dimensions * 4.0);
    assert!(value("nephkeep_copy_objects_imported_total{copy=\"vectors\"}") >= vectors);
    assert!(value("nephkeep_copy_import_seconds_total{copy=\"vectors\"}") > 0.0);
    stand.stop().await;
}
