//! Questions to both copies: how two rankings are made one, and what is told of each passage.

use crate::{
    knowledge::{DOCUMENTS, caught_up, filled},
    stand::Stand,
};
use serde_json::{Value, json};

async fn ask(stand: &Stand, body: Value) -> Value {
    stand.post("/api/v1/search").json(&body).send().await.expect(200).json()
}

fn first(answer: &Value) -> &Value {
    &answer["passages"][0]
}

#[tokio::test]
async fn a_question_is_answered_by_both_copies_and_each_part_is_told() {
    let stand = filled().await;
    let both = ask(&stand, json!({ "text": "fronthaul link alarm" })).await;
    assert_eq!(
        (&both["mode"], &both["fusion"], &both["model"]),
        (&json!("hybrid"), &json!("relative"), &json!("hash-384"))
    );
    assert_eq!((first(&both)["path"].as_str(), both.get("without")), (Some("links.md"), None));
    let (vector, bm25) = (&first(&both)["scores"]["vector"], &first(&both)["scores"]["bm25"]);
    assert!(vector.as_f64().unwrap() > 0.0 && bm25.as_f64().unwrap() > 0.0, "{both}");
    assert!((first(&both)["score"].as_f64().unwrap() - 1.0).abs() < 1e-3, "first of both: {both}");

    let text = ask(&stand, json!({ "text": "fronthaul link alarm", "mode": "text" })).await;
    assert_eq!((&text["mode"], &text["model"], &text["embedder"]), (&json!("text"), &Value::Null, &Value::Null));
    assert_eq!((&first(&text)["scores"]["bm25"], &first(&text)["scores"]["vector"]), (bm25, &Value::Null));
    assert_eq!(first(&text)["score"], *bm25);
    let vectors = ask(&stand, json!({ "text": "fronthaul link alarm", "mode": "vector" })).await;
    assert_eq!((&first(&vectors)["score"], &first(&vectors)["scores"]["bm25"]), (vector, &Value::Null));

    let ranked = ask(&stand, json!({ "text": "fronthaul link alarm", "fusion": "ranked", "alpha": 0 })).await;
    assert_eq!(
        (&ranked["fusion"], ranked["alpha"].as_f64(), first(&ranked)["path"].as_str()),
        (&json!("ranked"), Some(0.0), Some("links.md"))
    );
    assert!(ask(&stand, json!({ "text": "zzz", "mode": "text" })).await["passages"].as_array().unwrap().is_empty());
    stand.stop().await;
}

#[tokio::test]
async fn a_confidential_document_is_found_by_its_vectors_alone_and_never_beyond_the_class_asked_for() {
    let stand = filled().await;
    let body = json!({ "source": "handbook", "path": "ring.md", "class": "confidential",
        "text": "# Ring\n\nThe splice of the Osnabrueck ring.\n" });
    stand.post(DOCUMENTS).json(&body).send().await.expect(201);
    caught_up(&stand).await;
    let found = ask(&stand, json!({ "text": "splice of the Osnabrueck ring" })).await;
    assert_eq!((first(&found)["path"].as_str(), &first(&found)["scores"]["bm25"]), (Some("ring.md"), &Value::Null));
    for body in [
        json!({ "text": "splice of the Osnabrueck ring", "mode": "text" }),
        json!({ "text": "splice of the Osnabrueck ring", "class_max": "internal" }),
        json!({ "text": "splice of the Osnabrueck ring", "source": "elsewhere" }),
    ] {
        let found = ask(&stand, body.clone()).await;
        assert!(found["passages"].as_array().unwrap().iter().all(|one| one["path"] != "ring.md"), "{body}: {found}");
    }
    stand.stop().await;
}

#[tokio::test]
async fn a_prompt_gets_numbered_passages_within_its_budget() {
    let stand = filled().await;
    let retrieve = async |tokens: u64| {
        let body = json!({ "text": "when is a handover triggered, and a link lost", "tokens": tokens });
        stand.post("/api/v1/retrieve").json(&body).send().await.expect(200).json()
    };
    let all = retrieve(2_000).await;
    let passages = all["passages"].as_array().unwrap();
    assert_eq!((passages.len(), &all["left_out"], &all["mode"]), (3, &json!(0), &json!("hybrid")));
    let context = all["context"].as_str().unwrap();
    assert!(context.starts_with("[1] handbook: ") && context.contains("\n\n[3] handbook: "), "{context}");
    assert!(
        passages.iter().zip(1..).all(|(one, number)| one["number"] == number && one["tokens"].as_u64().unwrap() > 0)
    );
    let few = retrieve(40).await;
    assert_eq!((few["passages"].as_array().unwrap().len(), &few["left_out"]), (1, &json!(2)), "{few}");
    assert!(few["tokens"].as_u64().unwrap() <= 40 && few["context"].as_str().unwrap().chars().count() <= 160);
    assert_eq!(retrieve(0).await["passages"], json!([]));
    stand.stop().await;
}

#[tokio::test]
async fn what_is_not_a_way_to_ask_is_refused_with_the_field() {
    let stand = Stand::new().await;
    for (body, field) in [
        (json!({ "text": "x", "mode": "both" }), "mode"),
        (json!({ "text": "x", "mode": 1 }), "mode"),
        (json!({ "text": "x", "fusion": "rrf" }), "fusion"),
        (json!({ "text": "x", "alpha": 1.5 }), "alpha"),
        (json!({ "text": "x", "alpha": -0.1 }), "alpha"),
        (json!({ "text": "x", "alpha": "half" }), "alpha"),
    ] {
        for door in ["search", "retrieve"] {
            let refused = stand.post(&format!("/api/v1/{door}")).json(&body).send().await;
            assert_eq!(refused.problem(400, "attribute-value")["context"]["field"], field, "{body}");
        }
    }
    stand.stop().await;
}
