//! The knowledge base and its copy from the command line.

use super::shared::{Home, kill_9};
use std::fs;

#[test]
fn texts_are_imported_found_verified_and_the_copy_survives_kill_9() {
    let home = Home::new();
    home.up();
    let docs = home.beside("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("ric.md"), "# Near-RT RIC\n\nThe E2 interface connects the RIC with its E2 nodes.\n").unwrap();
    fs::write(docs.join("core.txt"), "The AMF registers subscribers.\n\nThe SMF manages sessions.\n").unwrap();
    fs::write(docs.join("broken.md"), [0xff, 0xfe, b'x']).unwrap();
    let import = ["knowledge", "import", docs.to_str().unwrap(), "--source", "handbook", "-o", "json"];
    let first = home.run(&import).exits(1);
    assert_eq!((&first.json()["created"], &first.json()["refused"]), (&2.into(), &1.into()), "{}", first.err);
    assert!(first.err.contains("broken.md: import-not-utf8"), "{}", first.err);
    assert_eq!(home.run(&import).exits(1).json()["unchanged"], 2);
    fs::remove_file(docs.join("broken.md")).unwrap();
    let other = home.beside("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("ric.md"), "# Another\n\nThis would take its place.\n").unwrap();
    let rows = "{\"path\":\"p\",\"text\":\"1\"}\noops\n{\"path\":\"p\",\"text\":\"2\"}\n";
    fs::write(other.join("rows.jsonl"), rows).unwrap();
    let both = ["knowledge", "import", docs.to_str().unwrap(), other.to_str().unwrap(), "--source", "handbook"];
    let refused = home.run(&both).exits(1);
    for what in ["ric.md: import-twice", "rows.jsonl:2: json-malformed", "rows.jsonl:1: import-incomplete"] {
        assert!(refused.err.contains(what), "{what}: {}", refused.err);
    }
    assert!(refused.out.contains("unchanged 2, refused 3"), "{}", refused.out);

    let verified = home.run(&["verify", "-o", "json"]).exits(0).json();
    assert_eq!((&verified[0]["differing"], &verified[0]["keys"]), (&0.into(), &2.into()), "{verified}");
    let found = home.run(&["knowledge", "search", "which interface connects E2 nodes", "-o", "json"]).exits(0).json();
    assert_eq!(found["passages"][0]["path"], "ric.md", "{found}");
    assert!(home.run(&["knowledge", "search", "E2 nodes"]).exits(0).out.contains("Near-RT RIC"));

    kill_9(home.server_pid());
    home.up();
    let verified = home.run(&["verify", "vectors", "-o", "json"]).exits(0).json();
    assert_eq!((&verified[0]["differing"], &verified[0]["keys"]), (&0.into(), &2.into()), "{verified}");
    let id = found["passages"][0]["document"].as_str().unwrap();
    let keys = format!("knowledge-document/{id},knowledge-document/never-there");
    let mended = home.run(&["rebuild", "vectors", "--keys", &keys]).exits(0);
    let told: Vec<&str> = mended.err.lines().filter(|line| line.contains("not in the record")).collect();
    assert!(told.len() == 1 && told[0].contains("/knowledge-document/never-there:"), "{}", mended.err);
    home.run(&["knowledge", "delete", id]).exits(0);
    home.run(&["rebuild", "vectors"]).exits(0);
    assert_eq!(home.run(&["diff", "vectors"]).exits(0).out.trim(), "differing: 0");
    home.run(&["diff", "nothing"]).exits(1);
}

/// A file stands where the copy's directory would be: the record is served, the copy says what keeps it, and goes on
/// by itself when that is over.
#[test]
fn a_copy_that_cannot_be_opened_keeps_nobody_from_being_served() {
    let home = Home::new();
    home.up();
    let docs = home.beside("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("ric.md"), "# Near-RT RIC\n\nThe E2 interface connects the RIC with its E2 nodes.\n").unwrap();
    let import = ["knowledge", "import", docs.to_str().unwrap(), "--source", "handbook"];
    home.run(&import).exits(0);
    home.run(&["down"]).exits(0);
    let vectors = home.directory().join("vectors");
    fs::rename(&vectors, home.directory().join("aside")).unwrap();
    fs::write(&vectors, b"in the way").unwrap();
    home.up();
    let search = ["knowledge", "search", "E2 nodes", "-o", "json"];
    let kept = |code: &str| {
        let status = home.run(&["status", "-o", "json"]).out;
        status.contains(code)
    };
    while !kept("vectors-unusable") {}
    home.run(&search).exits(4);
    home.run(&["intent", "list"]).exits(0);
    home.run(&["verify", "vectors"]).exits(4);
    fs::remove_file(&vectors).unwrap();
    fs::rename(home.directory().join("aside"), &vectors).unwrap();
    while kept("vectors-unusable") {}
    assert_eq!(home.run(&search).exits(0).json()["passages"][0]["path"], "ric.md");
    assert!(home.run(&["verify", "vectors"]).exits(0).out.contains("vectors"));
}
