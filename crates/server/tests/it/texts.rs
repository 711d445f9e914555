//! The text copy behind the door: what is in it, what never is, and what damage to it does.

use crate::{
    knowledge::{DOCUMENTS, caught_up, filled},
    stand::Stand,
};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::FileExt};

const VERIFY: &str = "/api/v1/copies/text:verify";

async fn verified(stand: &Stand) -> Value {
    stand.post(VERIFY).send().await.expect(200).json()
}

async fn put(stand: &Stand, path: &str, class: &str, text: &str) -> Value {
    let body = json!({ "source": "handbook", "path": path, "class": class, "text": text });
    stand.post(DOCUMENTS).json(&body).send().await.json()
}

/// Every byte of a generation.
fn bytes(stand: &Stand, generation: u64) -> Vec<u8> {
    let files = fs::read_dir(stand.texts(generation)).unwrap();
    files.flat_map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn has(bytes: &[u8], wanted: &str) -> bool {
    bytes.windows(wanted.len()).any(|found| found == wanted.as_bytes())
}

fn generation(stand: &Stand) -> u64 {
    stand.app.relay.status().iter().find(|copy| copy.name == "text").unwrap().generation
}

#[tokio::test]
async fn no_confidential_text_is_in_the_text_copy_and_one_that_becomes_so_leaves_it() {
    let stand = filled().await;
    put(&stand, "keys.md", "confidential", "# Keys\n\nThe ring of Osnabrueck holds every splicekey.\n").await;
    put(&stand, "plan.md", "internal", "# Plan\n\nA maintenance window for Paderborn.\n").await;
    caught_up(&stand).await;
    let found = verified(&stand).await;
    assert_eq!((&found["keys"], &found["objects"], &found["differing"]), (&json!(4), &json!(4), &json!(0)));
    assert!(has(&bytes(&stand, generation(&stand)), "Paderborn"));
    put(&stand, "plan.md", "confidential", "# Plan\n\nA maintenance window for Paderborn.\n").await;
    caught_up(&stand).await;
    assert_eq!(verified(&stand).await["keys"], 3);
    let files = bytes(&stand, generation(&stand));
    assert!(has(&files, "neighbour") && !has(&files, "splicekey") && !has(&files, "Paderborn"));
    let copies = stand.get("/api/v1/copies").send().await.expect(200).json();
    let copy = copies["copies"].as_array().unwrap().iter().find(|copy| copy["name"] == "text").unwrap().clone();
    assert!(copy["leaves_out"].as_str().unwrap().starts_with("confidential"), "{copy}");
    stand.stop().await;
}

#[tokio::test]
async fn a_changed_text_is_named_and_mended_by_a_rebuild_of_the_key_or_of_all() {
    let stand = filled().await;
    for whole in [false, true] {
        let place = stand.texts(generation(&stand));
        let stores = fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path());
        let (path, at) = stores
            .filter(|path| path.extension().is_some_and(|end| end == "store"))
            .find_map(|path| {
                let bytes = fs::read(&path).unwrap();
                let at = bytes.windows(7).position(|found| found == b"Roaming")?;
                Some((path, at as u64))
            })
            .unwrap();
        fs::File::options().write(true).open(path).unwrap().write_all_at(b"B", at).unwrap();
        let found = verified(&stand).await;
        assert_eq!((&found["differing"], &found["differences"][0]["what"]), (&json!(1), &json!("different")));
        let rebuild = stand.post("/api/v1/copies/text:rebuild");
        if whole {
            assert_eq!(rebuild.send().await.expect(200).json()["differing"], 0);
        } else {
            let key = json!({ "kind": "knowledge-document", "id": found["differences"][0]["id"] });
            let done = rebuild.json(&json!({ "keys": [key] })).send().await.expect(200).json();
            assert_eq!(done["applied"], 1, "{done}");
        }
        assert_eq!(verified(&stand).await["differing"], 0);
    }
    stand.stop().await;
}
