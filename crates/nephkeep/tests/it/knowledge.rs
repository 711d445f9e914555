//! The knowledge base and its copy from the command line.

use super::shared::{Home, kill_9};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{fs, os::unix::fs::PermissionsExt};
use testkit::embedder::{DIMENSIONS, MODEL, Server};

#[test]
fn texts_are_imported_found_verified_and_the_copy_survives_kill_9() {
    let home = Home::new();
    home.up();
    let docs = home.beside("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("ric.md"), "# Near-RT RIC\n\nThe E2 interface connects the RIC with its E2 nodes.\n").unwrap();
    fs::write(docs.join("core.txt"), "The AMF registers subscribers.\n\nThe SMF manages sessions.\n").unwrap();
    fs::write(docs.join("broken.md"), [0xff, 0xfe, b'x']).unwrap();
    fs::write(docs.join("figure.png"), "no document").unwrap();
    fs::write(docs.join(".hidden.md"), "hidden").unwrap();
    let import = ["knowledge", "import", docs.to_str().unwrap(), "--source", "handbook", "-o", "json"];
    let first = home.run(&import).exits(1);
    assert_eq!((&first.json()["created"], &first.json()["refused"]), (&2.into(), &1.into()), "{}", first.err);
    for what in ["broken.md: import-not-utf8", "figure.png: passed over, not a", ".hidden.md: passed over, hidden"] {
        assert!(first.err.contains(what), "{what}: {}", first.err);
    }
    assert_eq!(first.json()["passed_over"], 2);
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
    assert!(refused.out.contains("unchanged 2, refused 3, passed over 2"), "{}", refused.out);

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
    // The other copy answers alone, unless this one is asked for by name.
    assert_eq!(home.run(&search).exits(0).json()["without"]["copy"], "vectors");
    home.run(&["knowledge", "search", "E2 nodes", "--mode", "vector"]).exits(4);
    home.run(&["intent", "list"]).exits(0);
    home.run(&["verify", "vectors"]).exits(4);
    // At once: between two steps the copy would be made anew in the empty place.
    let aside = home.directory().join("aside");
    renameat_with(CWD, &aside, CWD, &vectors, RenameFlags::EXCHANGE).unwrap();
    while kept("vectors-unusable") {}
    assert_eq!(home.run(&search).exits(0).json()["passages"][0]["path"], "ric.md");
    assert!(home.run(&["verify", "vectors"]).exits(0).out.contains("vectors"));
}

const KEY: &str = "sk-seen-by-nobody";

/// The settings with what stands under `[embedder]` in the place of what stood there.
fn embedders(home: &Home, text: &str) {
    let path = home.directory().join("nephkeep.toml");
    let before = fs::read_to_string(&path).unwrap();
    let (head, rest) = before.split_once("[embedder]").unwrap();
    let rest = &rest[rest.find("[server]").unwrap()..];
    fs::write(&path, format!("{head}[embedder]\n{text}\n{rest}")).unwrap();
}

fn stands_nowhere(home: &Home, secret: &str) {
    let log = fs::read_to_string(home.directory().join("log/server.log")).unwrap();
    assert!(!log.contains(secret), "the key stands in the log");
    for process in home.processes() {
        assert!(!process.contains(secret), "the key stands in the list of processes");
    }
    let status = home.run(&["status", "-o", "json"]);
    assert!(!status.out.contains(secret) && !status.err.contains(secret));
}

/// From the offline model to a server's and on without it: every step by the command line.
#[test]
fn another_embedder_is_migrated_to_and_asked_for_each_text_once() {
    let (home, server) = (Home::new(), Server::start(KEY));
    home.up();
    let docs = home.beside("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("ric.md"), "# Near-RT RIC\n\nThe E2 interface connects the RIC with its E2 nodes.\n").unwrap();
    fs::write(docs.join("core.txt"), "The AMF registers subscribers.\n\nThe SMF manages sessions.\n").unwrap();
    home.run(&["knowledge", "import", docs.to_str().unwrap(), "--source", "handbook"]).exits(0);
    let searched = home.run(&["knowledge", "search", "E2 nodes"]).exits(0);
    assert!(
        searched.err.contains("hash-384 (lexical, offline)") && searched.err.contains("embedder.url"),
        "{}",
        searched.err
    );
    home.run(&["knowledge", "migrate", "begin"]).exits(1);
    home.run(&["down"]).exits(0);
    let key = home.directory().join("embedder-key");
    fs::write(&key, format!("{KEY}\n")).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let (url, of) =
        (server.url(), format!("model = \"{MODEL}\"\ndimensions = {DIMENSIONS}\nkey_file = \"embedder-key\""));
    embedders(&home, &format!("url = \"hash:384\"\n[embedder.next]\nurl = \"{url}\"\n{of}"));
    home.up();

    home.run(&["knowledge", "migrate", "begin", "--dry-run"]).exits(0);
    home.run(&["knowledge", "migrate", "begin"]).exits(0);
    let behind = || {
        home.run(&["knowledge", "migrate", "status", "-o", "json"]).exits(0).json()["beside"]["copy"]["position"]
            .is_null()
    };
    while behind() {}
    let questions = home.write("golden.jsonl", "{\"text\":\"E2 nodes\",\"source\":\"handbook\",\"path\":\"ric.md\"}\n");
    let compare = ["knowledge", "migrate", "compare", "--questions", questions.to_str().unwrap(), "-o", "json"];
    let compared = home.run(&compare).exits(0).json();
    assert_eq!((&compared["known"], compared["sides"][1]["mrr"].as_f64()), (&1.into(), Some(1.0)), "{compared}");
    home.run(&["knowledge", "migrate", "cut-over"]).exits(0);
    let searched = home.run(&["knowledge", "search", "E2 nodes", "-o", "json"]).exits(0).json();
    assert_eq!(
        (&searched["model"], &searched["passages"][0]["path"]),
        (&"test-embedding/1536".into(), &"ric.md".into())
    );
    home.run(&["knowledge", "migrate", "finish"]).exits(0);
    stands_nowhere(&home, KEY);

    // Which model is searched does not follow from the settings, but they may say so now.
    home.run(&["down"]).exits(0);
    embedders(&home, &format!("url = \"{url}\"\n{of}"));
    home.up();
    let asked = server.texts();
    for verb in ["verify", "rebuild", "verify"] {
        home.run(&[verb, "vectors"]).exits(0);
    }
    assert_eq!(server.texts(), asked, "what is kept is asked for again");
    // A server that fails keeps the vectors behind and nothing else.
    server.refuse(503);
    fs::write(docs.join("more.md"), "# Slices\n\nA slice has a type and a differentiator.\n").unwrap();
    home.run(&["knowledge", "import", docs.to_str().unwrap(), "--source", "handbook"]).exits(0);
    while !home.run(&["status", "-o", "json"]).exits(0).out.contains("embedder-unavailable") {}
    home.run(&["intent", "list"]).exits(0);
    home.run(&["knowledge", "search", "slices", "--mode", "vector"]).exits(4);
    assert_eq!(home.run(&["knowledge", "search", "slices", "-o", "json"]).exits(0).json()["mode"], "text");
    server.refuse(0);
    while !home.run(&["verify", "vectors"]).out.contains("vectors") {}
    assert_eq!(
        home.run(&["knowledge", "search", "slices", "-o", "json"]).exits(0).json()["passages"][0]["path"],
        "more.md"
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = home.run(&["knowledge", "search", "slices", "--mode", "vector"]).exits(4);
    assert!(refused.err.contains("embedder-unavailable"), "{}", refused.err);
    let log = fs::read_to_string(home.directory().join("log/server.log")).unwrap();
    assert!(log.contains("credential-exposed"), "{log}");
    stands_nowhere(&home, KEY);
}

/// A file of one page: its content, and an outline of one heading for it.
fn pdf(content: &str, heading: &str) -> Vec<u8> {
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R /Outlines 6 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".into(),
        "<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>".into(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".into(),
        "<< /Type /Outlines /First 7 0 R /Last 7 0 R >>".into(),
        format!("<< /Title ({heading}) /Parent 6 0 R /Dest [3 0 R /Fit] >>"),
    ];
    let (mut file, mut places) = ("%PDF-1.4\n".to_owned(), String::new());
    for (number, object) in (1..).zip(objects) {
        places += &format!("{:010} 00000 n \n", file.len());
        file += &format!("{number} 0 obj\n{object}\nendobj\n");
    }
    let at = file.len();
    file += &format!(
        "xref\n0 8\n0000000000 65535 f \n{places}trailer\n<< /Size 8 /Root 1 0 R >>\nstartxref\n{at}\n%%EOF\n"
    );
    file.into_bytes()
}

#[test]
fn every_form_is_imported_under_its_headings_and_a_broken_pdf_is_one_refusal() {
    let home = Home::new();
    home.up();
    let docs = home.beside("docs");
    fs::create_dir(&docs).unwrap();
    let page = "BT /F1 12 Tf 72 700 Td (The F1 interface joins) Tj 0 -14 Td (the units of a gNB.) Tj ET";
    fs::write(docs.join("split.pdf"), pdf(page, "Split")).unwrap();
    fs::write(docs.join("cut.pdf"), &pdf(page, "Split")[..40]).unwrap();
    fs::write(docs.join("scan.pdf"), pdf("0 0 m 9 9 l S", "Scan")).unwrap();
    fs::write(docs.join("n3.rst"), "Core\n====\n\nN3\n--\n\n.. note:: N3 carries user traffic.\n").unwrap();
    fs::write(docs.join("e1.html"), b"<meta charset=latin1><h1>E1</h1><p>Tr\xe4ger").unwrap();
    let import = ["knowledge", "import", docs.to_str().unwrap(), "--source", "handbook", "-o", "json"];
    for dry in [true, false] {
        let verb: Vec<&str> = import.into_iter().chain(dry.then_some("--dry-run")).collect();
        let done = home.run(&verb).exits(1);
        assert_eq!((&done.json()["created"], &done.json()["refused"]), (&3.into(), &2.into()), "{}", done.err);
        for what in ["cut.pdf: pdf-unreadable", "scan.pdf: pdf-without-text"] {
            assert!(done.err.contains(what), "{what}: {}", done.err);
        }
    }
    home.run(&["verify"]).exits(0);
    for (question, path, heading) in [
        ("which interface joins the units of a gNB", "split.pdf", "Split"),
        ("what carries user traffic", "n3.rst", "Core > N3"),
    ] {
        let found = home.run(&["knowledge", "search", question, "-o", "json"]).exits(0).json();
        assert_eq!((&found["passages"][0]["path"], &found["passages"][0]["heading"]), (&path.into(), &heading.into()));
    }
}
