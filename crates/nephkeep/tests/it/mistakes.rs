//! What people get wrong: each is told, and nothing passes for done that was not done.

use super::shared::{Home, kill_9};
use std::{
    fs,
    net::TcpListener,
    os::unix::{fs::PermissionsExt, process::CommandExt},
};
use testkit::skipped::skipped;

const INTENT: &str = r#"{"@type":"Intent","id":"slice-gold","name":"slice-gold","expression":{"@type":"IntentExpression",
  "iri":"https://example.test/intent"}}"#;

fn version(home: &Home) -> String {
    let told = home.run(&["intent", "update", "slice-gold", "--set", "name=x", "--dry-run"]).exits(0);
    told.err.split("version ").nth(1).and_then(|rest| rest.split(';').next()).unwrap().to_owned()
}

#[test]
fn a_patch_that_is_none_is_refused_and_an_array_is_a_json_patch() {
    let home = Home::new();
    home.up();
    home.run_with(&["intent", "create"], INTENT).exits(0);
    let before = version(&home);
    for (text, code) in [
        ("[1,2]", "patch-malformed"),
        ("\"hello\"", "patch-malformed"),
        ("7", "patch-malformed"),
        ("{}", "patch-missing"),
        ("[]", "patch-missing"),
        (r#"[{"op":"replace","path":"/nowhere/x","value":1}]"#, "patch-"),
    ] {
        let file = home.write("patch.json", text);
        let file = file.to_str().unwrap();
        for more in [&["--dry-run"][..], &[]] {
            let told = home.run(&[&["intent", "update", "slice-gold", file], more].concat());
            assert_ne!(told.code, 0, "{text} {more:?}: {}", told.out);
            assert!(told.err.contains(&format!("error[{code}")), "{text} {more:?}: {}", told.err);
        }
    }
    assert_eq!(version(&home), before);
    let file = home.write("patch.json", r#"[{"op":"replace","path":"/name","value":"slice-silver"}]"#);
    home.run(&["intent", "update", "slice-gold", file.to_str().unwrap()]).exits(0);
    assert!(home.run(&["intent", "get", "slice-gold"]).exits(0).out.contains("slice-silver"));
}

#[test]
fn a_filter_that_finds_nothing_says_so_and_one_without_a_value_is_refused() {
    let home = Home::new();
    home.up();
    home.run_with(&["intent", "create"], INTENT).exits(0);
    home.run(&["intent", "list", "--filter", "foo"]).exits(2);
    let told = home.run(&["intent", "list", "--filter", "lifecyclestatus=Created"]).exits(0);
    assert!(told.err.contains("0 of 1 intents match"), "{}", told.err);
    let told = home.run(&["intent", "get", "slice-gold", "--fields", "name,bogus"]).exits(0);
    assert!(told.err.contains("bogus") && !told.err.contains("name,"), "{}", told.err);
}

/// An erased customer's row is refused like any other bad row: by its place, and the others are imported.
#[test]
fn an_erased_customers_row_does_not_stop_an_import() {
    let home = Home::new();
    home.up();
    let row = |name: &str, customer: &str| {
        format!(
            r#"{{"@type":"Intent","name":"{name}","expression":{{"@type":"IntentExpression","iri":"urn:e"}},"relatedParty":[{{"@type":"RelatedPartyRefOrPartyRoleRef","role":"customer","partyOrPartyRole":{{"@type":"PartyRef","id":"{customer}","name":"someone","@referredType":"Individual"}}}}]}}"#
        ) + "\n"
    };
    let first = home.write("first.jsonl", row("a", "customer-1"));
    home.run(&["intent", "import", first.to_str().unwrap()]).exits(0);
    let incarnation = home.run(&["status", "-o", "json"]).exits(0).json()["incarnation"].as_str().unwrap().to_owned();
    let typo = home.run(&["keys", "destroy-subject", "custmer-1", "--dry-run"]).exits(1);
    assert!(typo.err.contains("error[subject-unknown]") && typo.err.contains("custmer-1"), "{}", typo.err);
    let dry = home.run(&["keys", "destroy-subject", "customer-1", "--dry-run", "-o", "json"]).exits(0);
    assert_eq!(dry.json()["documents"], 1, "{}", dry.out);
    home.run(&["keys", "destroy-subject", "customer-1", "--incarnation", &incarnation]).exits(0);

    let rows: String =
        (0..60).map(|n| row(&format!("b-{n}"), if n == 30 { "customer-1" } else { "customer-2" })).collect();
    let file = home.write("second.jsonl", rows);
    let done = home.run(&["intent", "import", "--allow-refused", file.to_str().unwrap(), "-o", "json"]).exits(0);
    let account = done.json();
    assert_eq!((&account["imported"], &account["refused"]), (&59.into(), &1.into()), "{account}");
    assert_eq!(account["refusals"][0]["code"], "subject-erasing");
    assert!(done.err.contains("second.jsonl:31"), "{}", done.err);
}

/// Advice that is typed as it is printed must act on the directory it is about.
#[test]
fn advice_names_the_directory_and_a_foreign_directory_is_not_filled() {
    let home = Home::new();
    let directory = home.directory();
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("notes.txt"), "mine").unwrap();
    let told = home.run(&["up", "--listen", "127.0.0.1:0"]).exits(4);
    assert!(told.err.contains("error[directory-foreign]") && told.err.contains("notes.txt"), "{}", told.err);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "it was filled");
    fs::remove_file(directory.join("notes.txt")).unwrap();

    let taken = TcpListener::bind(("127.0.0.1", home.port)).unwrap();
    let listen = format!("127.0.0.1:{}", home.port);
    home.run(&["up", "--detach", "--listen", &listen]).exits(4);
    drop(taken);
    assert!(!directory.join("recovery-kit.txt").exists(), "a kit nobody was told of");
    let named = format!("nephkeep --dir {} ", directory.display());
    let told = home.run(&["intent", "list"]).exits(4);
    assert!(told.err.contains(&format!("`{named}up`")), "{}", told.err);
    assert!(home.up().err.contains("RECOVERY KIT"));
    home.run(&["down"]).exits(0);
    let doctor = home.run(&["doctor"]).exits(0);
    assert!(doctor.out.contains(&format!("{named}up")), "{}", doctor.out);
}

/// A start that fails after the keys were made has told nobody of the kit: the next one does.
#[test]
fn the_kit_is_told_at_the_first_start_that_succeeds() {
    let home = Home::new();
    let broken = home.write("nowhere", "");
    let mut command = home.command();
    command.args(["up", "--detach", "--listen", "127.0.0.1:0"]).env("NEPHKEEP_PG_BIN", broken);
    assert!(!command.output().unwrap().status.success());
    assert!(home.directory().join("recovery-kit.txt").exists());
    assert!(home.run(&["status"]).exits(1).out.contains("no start has succeeded"));
    assert!(home.up().err.contains("RECOVERY KIT"));
    home.run(&["down"]).exits(0);
    assert!(!home.up().err.contains("RECOVERY KIT"));
}

/// Not to be let in is no knowledge of what runs.
#[test]
fn of_a_directory_of_somebody_else_nothing_is_claimed() {
    let home = Home::new();
    if fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own)).unwrap() != 0 {
        skipped("only root can become another user");
        return;
    }
    home.up();
    for verb in [&["down"][..], &["status"], &["intent", "list"], &["keys", "status"]] {
        let output = home.command().args(verb).uid(65_534).gid(65_534).output();
        let Ok(output) = output else {
            skipped("the other user may not run this program");
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{verb:?}: {said}");
        assert!(said.contains("error[directory-denied]"), "{verb:?}: {said}");
    }
    home.run(&["status"]).exits(0);
    home.run(&["down", "/nowhere/at/all"]).exits(1);
}

/// What `up` would refuse, `doctor` tells.
#[test]
fn doctor_sees_what_keeps_up_from_starting() {
    let home = Home::new();
    home.up();
    home.run_with(&["configuration", "set", "ran/a"], "{}").exits(0);
    home.run(&["down"]).exits(0);
    home.run(&["doctor"]).exits(0);
    for (part, code) in [("audit", "audit-log-truncated"), ("record", "record-missing")] {
        let (place, aside) = (home.directory().join(part), home.beside(part));
        fs::rename(&place, &aside).unwrap();
        let told = home.run(&["doctor"]).exits(1);
        assert!(told.out.contains(code), "{}", told.out);
        assert!(home.run(&["up", "--listen", "127.0.0.1:0"]).exits(4).err.contains(code));
        // Its start made the empty directory again.
        let _absent = fs::remove_dir_all(&place);
        fs::rename(&aside, &place).unwrap();
    }
    let root = home.beside("");
    let open = fs::metadata(&root).unwrap().permissions();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
    let told = home.run(&["doctor"]);
    fs::set_permissions(&root, open).unwrap();
    // PostgreSQL is another account only where this one is root.
    assert!(told.code == 0 || told.out.contains("may not pass"), "{}", told.out);
    home.run(&["doctor"]).exits(0);
}

#[test]
fn a_void_kit_is_called_void() {
    let home = Home::new();
    home.up();
    let incarnation = home.run(&["status", "-o", "json"]).exits(0).json()["incarnation"].as_str().unwrap().to_owned();
    let kit = home.beside("kit.txt");
    let rotated =
        home.run(&["keys", "rotate-root", "--kit", kit.to_str().unwrap(), "--incarnation", &incarnation]).exits(0);
    let old = home.directory().join("recovery-kit.txt");
    assert!(rotated.err.contains(old.to_str().unwrap()), "{}", rotated.err);
    let (status, keys) =
        (home.run(&["status", "-o", "json"]).json(), home.run(&["keys", "status", "-o", "json"]).json());
    assert_eq!(status["server"]["keystore"]["epoch"], keys["epoch"], "{status}");
    let doctor = home.run(&["doctor"]).exits(0);
    assert!(doctor.out.contains("is of an earlier root"), "{}", doctor.out);
    assert!(home.run(&["keys", "kit", "test"]).exits(3).err.contains("error[kit-void]"));
    home.run(&["down"]).exits(0);
    let recovered = home.run(&["keys", "recover", "--kit", old.to_str().unwrap()]).exits(3);
    assert!(recovered.err.contains("error[kit-void]"), "{}", recovered.err);
}

#[test]
fn each_verb_gives_its_own_advice() {
    let home = Home::new();
    home.up();
    home.run_with(&["intent", "create"], INTENT).exits(0);
    let json = home.write("x.json", "{}");
    let json = json.to_str().unwrap();
    home.run(&["access", "create", "ops", "--role", "reader", "--to", home.beside("ops").to_str().unwrap()]).exits(0);
    let again = home.beside("again");
    for (verb, code, said) in [
        (&["knowledge", "import", json][..], "text-form-unknown", ".md"),
        (&["audit", "verify", "--proof", "nofile"], "document-unreadable", "path"),
        (&["intent", "create", "nofile.json"], "document-unreadable", "path"),
        (&["schema", "register", "intents-value", "nofile.avsc"], "document-unreadable", "path"),
        (&["schema", "decode", "nofile"], "document-unreadable", "path"),
        (&["audit", "verify", "--log", "/tmp"], "audit-log-unreadable", "--log"),
        (
            &["access", "create", "ops", "--role", "reader", "--to", again.to_str().unwrap()],
            "principal-exists",
            "rotate",
        ),
        (&["verify", "nope"], "copy-unknown", "status"),
        (
            &["intent", "update", "slice-gold", "--set", "name=y", "--if-version", "7"],
            "precondition-failed",
            "--if-version",
        ),
        (&["intent", "update", "slice-gold", "--set", "a.b=y"], "assignment-malformed", "document"),
        (&["intent", "get", "nope"], "not-found", "nope"),
        (&["intent", "history", "nope"], "not-found", "nope"),
        (&["--url", "http://127.0.0.1:1", "intent", "list"], "server-unreachable", "refused"),
        (&["intent", "create"], "document-missing", "empty"),
    ] {
        let told = home.run_with(verb, "");
        assert!(told.code != 0 && told.err.contains(&format!("error[{code}]")), "{verb:?}: {}", told.err);
        assert!(told.err.contains(said), "{verb:?}: {}", told.err);
    }
    let told = home.run(&["intent", "get", "nope", "-o", "json"]).exits(1);
    let error: serde_json::Value = serde_json::from_str(&told.err).unwrap();
    assert_eq!(error["error"]["code"], "not-found");
    home.run(&["intent", "delete", "slice-gold"]).exits(0);
    assert!(home.run(&["intent", "get", "slice-gold"]).exits(1).err.contains("was deleted"));
    kill_9(home.server_pid());
}
