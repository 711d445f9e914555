//! From an empty directory to an empty process list: up, write, read, kill -9, up again, down.

use super::shared::{Done, Home, kill_9};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Command, Stdio},
};

const INTENT: &str = r#"{"@type":"Intent","name":"slice-gold","priority":"1",
  "characteristic":[{"@type":"StringCharacteristic","name":"iccid","value":"8944500102198304826"}],
  "expression":{"@type":"JsonLdExpression","iri":"https://example.test/intent","expressionValue":{"n":8944500102198304826}}}"#;

#[test]
fn an_intent_survives_kill_9_and_nothing_is_left_after_down() {
    let home = Home::new();
    let up = home.up();
    assert!(up.json()["url"].as_str().unwrap().ends_with(&format!(":{}", home.port)));
    assert!(home.directory().join("recovery-kit.txt").exists() && up.err.contains("RECOVERY KIT"), "{}", up.err);

    let created = home.run_with(&["intent", "create", "-o", "json"], INTENT).exits(0).json();
    let id = created["id"].as_str().unwrap().to_owned();
    let got = home.run(&["intent", "get", &id]).exits(0);
    assert!(got.out.contains("8944500102198304826"), "a number lost digits: {}", got.out);
    home.run(&["intent", "update", &id, "--set", "priority=2", "--if-version", "1"]).exits(0);
    home.run(&["intent", "update", &id, "--set", "priority=3", "--if-version", "1"]).exits(1);
    assert_eq!(home.run(&["intent", "list", "-o", "json"]).exits(0).json().as_array().unwrap().len(), 1);
    let history = home.run(&["intent", "history", &id]).exits(0);
    assert_eq!(history.out.lines().count(), 3, "a heading and two versions: {}", history.out);

    kill_9(home.server_pid());
    home.run(&["status"]).exits(1);
    home.up();
    let again = home.run(&["intent", "get", &id, "-o", "json"]).exits(0).json();
    assert_eq!((&again["name"], &again["priority"]), (&"slice-gold".into(), &"2".into()));

    home.run(&["down"]).exits(0);
    assert_eq!(home.processes(), Vec::<String>::new());
    assert!(!home.directory().join("run/server.json").exists());
}

#[test]
fn a_normal_user_needs_nobody_elses_rights() {
    let home = Home::of_a_normal_user();
    home.up();
    let owner = |path: &Path| fs::metadata(path).unwrap().uid();
    let user = owner(&home.directory());
    assert_ne!(user, 0);
    for part in
        ["record/data", "record/socket", "record/password", "keystore", "slots", "audit-key", "admin-credential"]
    {
        assert_eq!(owner(&home.directory().join(part)), user, "{part}");
    }
    let running = home.processes();
    assert!(running.len() > 3, "a server and a PostgreSQL with its children: {running:?}");
    for process in running {
        let pid = process.split(' ').next().unwrap();
        // One of PostgreSQL's children may have ended meanwhile.
        if let Ok(found) = fs::metadata(format!("/proc/{pid}")) {
            assert_eq!(found.uid(), user, "{process}");
        }
    }
    home.run_with(&["intent", "create"], INTENT).exits(0);
    home.run(&["doctor"]).exits(0);
    home.run(&["down"]).exits(0);
    assert_eq!(home.processes(), Vec::<String>::new());
    home.up();
    assert_eq!(home.run(&["intent", "list", "-o", "json"]).exits(0).json().as_array().unwrap().len(), 1);
    home.run(&["down"]).exits(0);
}

#[test]
fn who_has_the_directory_gets_back_in_when_the_admin_token_is_lost() {
    let home = Home::new();
    home.run(&["access", "recover"]).exits(1);
    home.up();
    let kept = home.run(&["access", "revoke", "local-admin"]).exits(1);
    assert!(kept.err.contains("error[last-admin]"), "{}", kept.err);
    assert!(home.run(&["doctor"]).out.contains("the server knows its token"));
    // Its token goes to a file that is lost: the one in the directory is ended.
    let lose = |name: &str| {
        let elsewhere = home.beside(name);
        home.run(&["access", "rotate", "local-admin", "--to", elsewhere.to_str().unwrap()]).exits(0);
        home.run(&["status"]).exits(3);
    };
    lose("lost-1");
    let doctor = home.run(&["doctor"]).exits(1);
    assert!(doctor.out.contains("does not know its token") && doctor.out.contains("access recover"), "{}", doctor.out);
    home.run(&["access", "recover", "--dry-run"]).exits(0);
    home.run(&["status"]).exits(3);
    assert_eq!(home.run(&["access", "recover", "-o", "json"]).exits(0).json()["state"], "made");
    home.run(&["status"]).exits(0);
    let acts = home.run(&["audit", "list", "--kind", "act"]).exits(0);
    assert!(acts.out.contains("admin-recover"), "{}", acts.out);
    assert_eq!(acts.out.matches("login refused").count(), 3, "status, doctor, status: {}", acts.out);

    lose("lost-2");
    home.run(&["down"]).exits(0);
    assert_eq!(home.run(&["access", "recover", "-o", "json"]).exits(0).json()["state"], "made by the next start");
    home.up();
    home.run(&["status"]).exits(0);
}

#[test]
fn an_interrupted_start_leaves_no_postgresql_and_can_be_repeated() {
    let home = Home::new();
    let mut command = home.command();
    command.args(["up", "--listen", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    // More than itself: initdb, or the server.
    while home.processes().len() < 2 && !home.directory().join("record/data").exists() {
        std::thread::yield_now();
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let done = Done::from(child.wait_with_output().unwrap()).exits(4);
    assert!(done.err.contains("error[start-interrupted]"), "{}", done.err);
    assert_eq!(home.processes(), Vec::<String>::new());
    home.up();
}

#[test]
fn a_log_that_cannot_be_written_harms_nothing() {
    let home = Home::new();
    home.up();
    home.run(&["down"]).exits(0);
    let mut command = home.command();
    command.args(["up", "--listen", &format!("127.0.0.1:{}", home.port)]).env("NEPHKEEP_LOG", "debug");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = command.stdout(Stdio::null()).stderr(full).spawn().unwrap();
    while !home.directory().join("run/server.json").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it gave up");
        std::thread::yield_now();
    }
    home.run_with(&["intent", "create"], INTENT).exits(0);
    home.run(&["down"]).exits(0);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_killed_server_leaves_a_postgresql_that_down_stops() {
    let home = Home::new();
    home.up();
    kill_9(home.server_pid());
    assert!(!home.processes().is_empty(), "the supervised PostgreSQL is expected to outlive its supervisor");
    let doctor = home.run(&["doctor"]);
    assert!(doctor.out.contains("without their server"), "{}", doctor.out);
    home.run(&["down"]).exits(0);
    assert_eq!(home.processes(), Vec::<String>::new());
}

#[test]
fn two_servers_on_one_directory_are_refused_and_dry_runs_change_nothing() {
    let home = Home::new();
    home.up();
    let second = home.run(&["up", "--listen", "127.0.0.1:0"]).exits(4);
    assert!(second.err.contains("error[directory-in-use]"), "{}", second.err);
    home.run_with(&["intent", "create", "--dry-run"], INTENT).exits(0);
    home.run_with(&["intent", "create", "--dry-run"], "{\"name\":1}").exits(2);
    assert_eq!(home.run(&["intent", "list", "-o", "json"]).exits(0).json(), serde_json::json!([]));
    home.run(&["down", "--dry-run"]).exits(0);
    home.run(&["status"]).exits(0);
}

#[test]
fn status_tells_what_runs_or_that_nothing_does_in_both_forms() {
    let home = Home::new();
    let absent = home.run(&["status", "-o", "json"]).exits(1).json();
    assert_eq!((&absent["state"], &absent["initialised"]), (&"not running".into(), &false.into()));
    let up = home.up().json();
    let told = home.run(&["status", "-o", "json"]).exits(0).json();
    assert_eq!((&told["state"], &told["url"], &told["pid"]), (&"running".into(), &up["url"], &up["pid"]));
    assert_eq!(told["directory"], home.directory().to_str().unwrap());
    let (incarnation, published) = (&told["incarnation"], &told["server"]["record"]["published"]);
    assert!(published.as_str().unwrap().contains(incarnation.as_str().unwrap()), "{told}");
    let table = home.run(&["status"]).exits(0).out;
    let row = |name: &str| {
        let line = table.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name}: {table}")).split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!(row("state"), "running");
    assert_eq!(row("url"), up["url"].as_str().unwrap());
    assert_eq!(row("pid"), up["pid"].to_string());
    assert_eq!(row("incarnation"), incarnation.as_str().unwrap());
    assert_eq!(row("record.role"), "leader");

    home.run(&["down"]).exits(0);
    let stopped = home.run(&["status", "-o", "json"]).exits(1).json();
    assert_eq!((&stopped["state"], &stopped["initialised"]), (&"not running".into(), &true.into()));
    assert!(home.run(&["status"]).exits(1).out.contains("not running"));
}

/// Killed, it still holds the directory for a moment: a start waits for that, and for nothing else.
#[test]
fn a_start_waits_for_a_holder_that_is_dying_and_for_none_that_lives() {
    let home = Home::new();
    let dying = home.up().json()["pid"].as_u64().unwrap().to_string();
    assert!(Command::new("kill").args(["-9", &dying]).status().unwrap().success());
    let up = home.up().json();
    assert_ne!(up["pid"].to_string(), dying);
    assert!(home.run(&["up", "--detach"]).exits(4).err.contains("error[directory-in-use]"));

    home.run(&["down"]).exits(0);
    let lock = fs::File::options().write(true).open(home.directory().join("run/server.pid")).unwrap();
    lock.lock().unwrap();
    let listen = format!("127.0.0.1:{}", home.port);
    let mut start = home.command();
    start.args(["up", "--detach", "--listen", &listen]).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = start.spawn().unwrap();
    drop(lock);
    Done::from(child.wait_with_output().unwrap()).exits(0);
}
