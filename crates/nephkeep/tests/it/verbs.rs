//! Configuration, access, audit and keys through the command line.

use super::shared::{Done, Home, kill_9};
use std::{fs, path::Path, process::Command};

#[test]
fn a_configuration_has_versions_differences_and_a_way_back() {
    let home = Home::new();
    home.up();
    let set =
        |text: &str, more: &[&str]| home.run_with(&[&["configuration", "set", "ran/cell-7"], more].concat(), text);
    set("{\"power\": 20, \"serial\": 89445001021983048261234}", &[]).exits(0);
    set("power: 21", &["--if-version", "1"]).exits(0);
    set("{\"power\": 22}", &["--if-version", "1"]).exits(1);
    let diff = home.run(&["configuration", "diff", "ran/cell-7", "1", "2"]).exits(0);
    assert!(diff.out.contains("/power") && diff.out.contains("89445001021983048261234"), "{}", diff.out);
    home.run(&["configuration", "rollback", "ran/cell-7", "1", "--dry-run"]).exits(0);
    home.run(&["configuration", "rollback", "ran/cell-7", "1"]).exits(0);
    let got = home.run(&["configuration", "get", "ran/cell-7", "-o", "yaml"]).exits(0);
    assert!(got.out.contains("89445001021983048261234") && got.out.contains("version: 3"), "{}", got.out);
    assert!(home.run(&["configuration", "list"]).exits(0).out.contains("ran/cell-7"));
    home.run(&["configuration", "delete", "ran/cell-7"]).exits(0);
    let history = home.run(&["configuration", "history", "ran/cell-7"]).exits(0);
    assert_eq!(history.out.lines().count(), 5, "{}", history.out);
    home.run(&["configuration", "get", "no-slash"]).exits(2);
    home.run(&["configuration", "get", "ran/none"]).exits(1);
}

#[test]
fn principals_do_what_their_roles_allow_until_they_are_revoked() {
    let home = Home::new();
    home.up();
    let (file, other) = (home.beside("reader"), home.beside("reader-2"));
    let (file, other) = (file.to_str().unwrap(), other.to_str().unwrap());
    home.run(&["access", "create", "reader-1", "--role", "reader", "--to", file]).exits(0);
    home.run(&["access", "create", "reader-2", "--role", "reader", "--to", file]).exits(1);
    let as_reader = |credential: &str, verb: &[&str]| home.run(&[&["--credential-file", credential], verb].concat());
    as_reader(file, &["intent", "list"]).exits(0);
    as_reader(file, &["configuration", "delete", "a/b"]).exits(3);
    as_reader(file, &["access", "list"]).exits(3);
    home.run(&["access", "rotate", "reader-1", "--to", other]).exits(0);
    as_reader(file, &["intent", "list"]).exits(3);
    as_reader(other, &["intent", "list"]).exits(0);
    home.run(&["access", "revoke", "reader-1", "--dry-run"]).exits(0);
    as_reader(other, &["intent", "list"]).exits(0);
    home.run(&["access", "revoke", "reader-1"]).exits(0);
    as_reader(other, &["intent", "list"]).exits(3);
    let token = fs::read_to_string(other).unwrap();
    let token = token.split('"').find(|word| word.starts_with("nk_")).unwrap();
    let log = fs::read_to_string(home.directory().join("log/server.log")).unwrap();
    assert!(!log.contains(token) && !home.run(&["access", "list", "-o", "json"]).out.contains(token));
}

#[test]
fn schemas_are_listed_with_their_form_and_a_level_can_be_tried_dry() {
    let home = Home::new();
    home.up();
    let file =
        home.write("intent.avsc", r#"{"type":"record","name":"Intent","fields":[{"name":"id","type":"string"}]}"#);
    home.run(&["schema", "register", "intents-value", file.to_str().unwrap()]).exits(0);
    let versions = home.run(&["schema", "versions", "intents-value"]).exits(0).out;
    assert!(versions.lines().nth(1).unwrap().ends_with("AVRO"), "{versions}");
    let level = |more: &[&str]| home.run(&[&["schema", "level", "intents-value", "-o", "json"], more].concat());
    let planned = level(&["--set", "full-transitive", "--dry-run"]).exits(0).json();
    assert_eq!(planned, serde_json::json!({ "compatibilityLevel": "BACKWARD", "wouldBecome": "FULL_TRANSITIVE" }));
    level(&["--set", "fullest", "--dry-run"]).exits(2);
    level(&["--dry-run"]).exits(2);
    assert_eq!(level(&[]).exits(0).json()["compatibilityLevel"], "BACKWARD");
    level(&["--set", "full-transitive"]).exits(0);
    assert_eq!(level(&[]).exits(0).json()["compatibilityLevel"], "FULL_TRANSITIVE");
}

#[test]
fn a_lost_admin_credential_is_written_anew_at_the_next_start() {
    let home = Home::new();
    home.up();
    home.run(&["down"]).exits(0);
    fs::remove_file(home.directory().join("admin-credential")).unwrap();
    home.up();
    home.run(&["access", "list"]).exits(0);
}

#[test]
fn the_audit_log_is_verified_and_proven_offline_and_tampering_is_found() {
    let home = Home::new();
    home.up();
    home.run_with(&["configuration", "set", "ran/a"], "{\"n\": 1}").exits(0);
    home.run(&["audit", "reconcile"]).exits(0);
    assert!(home.run(&["audit", "list", "--kind", "write"]).exits(0).out.contains("ran/a"));
    let verified = home.run(&["audit", "verify", "-o", "json"]).exits(0).json();
    assert!(verified["size"].as_u64().unwrap() >= 2, "{verified}");
    let proof = home.run(&["audit", "prove", "1"]).exits(0).out;
    let path = home.write("entry.proof", &proof);
    home.run(&["audit".as_ref(), "verify".as_ref(), "--proof".as_ref(), path.as_os_str()]).exits(0);
    let path = home.write("other.proof", proof.replacen("index 1", "index 0", 1));
    home.run(&["audit".as_ref(), "verify".as_ref(), "--proof".as_ref(), path.as_os_str()]).exits(1);

    home.run(&["down"]).exits(0);
    home.run(&["audit", "verify"]).exits(0);
    let segments = home.directory().join("audit/segments");
    let segment = fs::read_dir(segments).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    home.run(&["audit", "verify"]).exits(1);
}

/// What is seen from outside, with files and the public key alone: a log that goes on, one that was cut, and one that
/// its own key has written anew.
#[test]
fn a_kept_checkpoint_shows_that_the_history_was_not_rewritten() {
    let home = Home::new();
    home.up();
    home.run(&["down"]).exits(0);
    let (log, key) = (home.directory().join("audit"), home.directory().join("audit-key/log.pub"));
    let early = home.beside("early");
    assert!(Command::new("cp").arg("-a").args([&log, &early]).status().unwrap().success());
    home.up();
    home.run_with(&["configuration", "set", "ran/a"], "{\"n\": 1}").exits(0);
    home.run(&["down"]).exits(0);
    let kept = home.write("kept", fs::read(log.join("checkpoint")).unwrap());
    home.up();
    home.run_with(&["configuration", "set", "ran/a"], "{\"n\": 2}").exits(0);
    let verify = |log: &Path, kept: &Path| {
        let mut command = home.command();
        command.env("NEPHKEEP_DIR", home.beside("nowhere")).args(["audit", "verify", "-o", "json"]);
        command.arg("--log").arg(log).arg("--public-key").arg(&key).arg("--continues").arg(kept);
        Done::from(command.output().unwrap())
    };
    let told = home.run(&["audit".as_ref(), "verify".as_ref(), "--continues".as_ref(), kept.as_os_str()]).exits(0);
    assert!(told.out.contains("yes: the log begins with everything"), "{}", told.out);
    home.run(&["down"]).exits(0);
    let continued = verify(&log, &kept).exits(0).json();
    assert_eq!((&continued["verdict"], &continued["continues"]["verdict"]), (&"verified".into(), &"continues".into()));
    assert!(continued["continues"]["kept"]["size"].as_u64() < continued["size"].as_u64(), "{continued}");

    let cut = verify(&early, &kept).exits(1).json();
    assert_eq!((&cut["verdict"], &cut["continues"]["verdict"]), (&"verified".into(), &"shorter".into()), "{cut}");

    rewrite(&early, key.parent().unwrap(), continued["size"].as_u64().unwrap());
    let forked = verify(&early, &kept).exits(1).json();
    assert_eq!((&forked["verdict"], &forked["continues"]["verdict"]), (&"verified".into(), &"forked".into()));
    let own = early.join("checkpoint");
    verify(&early, &own).exits(0);

    let other = home.write("other", fs::read_to_string(&kept).unwrap().replacen('\n', "0\n", 1));
    let unsigned = verify(&log, &other).exits(1);
    assert!(unsigned.err.contains("audit-checkpoint-invalid"), "{}", unsigned.err);
}

/// What whoever holds the key can do.
fn rewrite(log: &Path, keys: &Path, entries: u64) {
    let options = audit::Options { directory: log.to_owned(), keys: keys.to_owned(), name: None };
    let log = audit::TransparencyLog::open_with(&options).unwrap();
    let entry = |hlc| audit::Entry::Act {
        hlc,
        principal: "admin".into(),
        tenant: "default".into(),
        action: "nothing".into(),
        outcome: "done".into(),
        detail: "to be seen".into(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(log.append((0..=entries).map(entry).collect())).unwrap();
    log.close();
}

#[test]
fn keys_rotate_and_an_old_kit_opens_nothing() {
    let home = Home::new();
    home.up();
    let old = home.directory().join("recovery-kit.txt");
    home.run(&["keys", "status"]).exits(0);
    home.run(&["keys", "rotate"]).exits(0);
    home.run(&["keys", "kit", "test"]).exits(0);
    let incarnation = home.run(&["status", "-o", "json"]).exits(0).json()["incarnation"].as_str().unwrap().to_owned();
    let (kit, page) = (home.beside("kit.txt"), home.beside("page.txt"));
    let rotate = ["keys", "rotate-root", "--kit", kit.to_str().unwrap(), "--page", page.to_str().unwrap()];
    home.run(&rotate).exits(3);
    assert!(!kit.exists());
    home.run(&[&rotate[..], &["--incarnation", &incarnation]].concat()).exits(0);
    home.run(&["keys", "kit", "test", "--kit", kit.to_str().unwrap()]).exits(0);
    home.run(&["keys", "kit", "test", "--kit", page.to_str().unwrap()]).exits(0);
    home.run(&["keys", "kit", "test", "--kit", old.to_str().unwrap()]).exits(3);
    home.run(&["keys", "destroy-subject", "nobody"]).exits(3);
    home.run(&["keys", "destroy-subject", "nobody", "--incarnation", &incarnation]).exits(1);

    home.run(&["down"]).exits(0);
    fs::remove_file(home.directory().join("host/host.key")).unwrap();
    home.run(&["up", "--listen", "127.0.0.1:0"]).exits(4);
    home.run(&["keys", "recover", "--kit", kit.to_str().unwrap()]).exits(0);
    home.up();
    home.run(&["access", "list"]).exits(0);
}

#[test]
fn a_second_server_follows_redirects_writers_and_takes_over() {
    let home = Home::new();
    home.up();
    let second = Second::new(&home);
    let mut server = second.serve();
    assert_eq!(second.wait_for_role("follower"), "follower");
    home.run_with(
        &["--dir", second.dir(), "--credential-file", &second.credential, "configuration", "set", "ran/a"],
        "{}",
    )
    .exits(0);
    kill_9(home.server_pid());
    assert_eq!(second.wait_for_role("leader"), "leader");
    home.run_with(
        &["--dir", second.dir(), "--credential-file", &second.credential, "configuration", "set", "ran/a"],
        "{}",
    )
    .exits(0);
    home.run(&["down", second.dir()]).exits(0);
    server.wait().unwrap();
}

/// A second server on the record of a home: its own directory and audit log, the same keystore, the record's socket.
struct Second<'a> {
    home: &'a Home,
    directory: String,
    credential: String,
}

impl<'a> Second<'a> {
    fn new(home: &'a Home) -> Self {
        let (first, own) = (home.directory(), home.beside("second"));
        fs::create_dir(&own).unwrap();
        let settings = fs::read_to_string(first.join("nephkeep.toml")).unwrap();
        let at = |path: &str| first.join(path).display().to_string();
        let record = format!(
            "postgres://nephkeep@/postgres?host={}\"\nrecord_password_file = \"{}",
            at("record/socket"),
            at("record/password")
        );
        let mut settings = settings.replace("local:record", &record);
        for path in ["keystore/a", "keystore/b", "slots/a/epoch.slot", "slots/b/epoch.slot", "host/host.key"] {
            settings = settings.replace(&format!("\"{path}\""), &format!("\"{}\"", at(path)));
        }
        fs::write(own.join("nephkeep.toml"), settings).unwrap();
        Self { home, directory: own.display().to_string(), credential: at("admin-credential") }
    }

    fn dir(&self) -> &str {
        &self.directory
    }

    fn serve(&self) -> std::process::Child {
        let mut command = self.home.command();
        command.args(["--dir", &self.directory, "serve", "--listen", "127.0.0.1:0"]);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
    }

    /// Its role, once it is the one waited for; else the last one seen before the limit.
    fn wait_for_role(&self, wanted: &str) -> String {
        let begun = std::time::Instant::now();
        loop {
            let status = self.home.run(&[
                "--dir",
                &self.directory,
                "--credential-file",
                &self.credential,
                "status",
                "-o",
                "json",
            ]);
            let status: serde_json::Value = serde_json::from_str(&status.out).unwrap_or_default();
            let role = status["server"]["record"]["role"].as_str().unwrap_or("none").to_owned();
            if role == wanted || begun.elapsed().as_secs() > 60 {
                return role;
            }
        }
    }
}
