//! The metrics tier of a whole installation: its Prometheus starts beside the record, ends on every path, and is
//! missed by nobody where there is none.

use super::shared::{Done, Home, kill_9};
use serde_json::Value;
use std::{
    fs,
    process::{Command, Stdio},
};

const INTENT: &str = r#"{"@type":"Intent","name":"counted","expression":{"@type":"E","iri":"urn:x"}}"#;

fn missing() -> bool {
    let missing = Command::new("prometheus").arg("--version").output().is_err();
    if missing {
        testkit::skipped::skipped("engine missing: no prometheus program");
    }
    missing
}

/// What `status` says of the tier once both engines are ready.
#[track_caller]
fn ready(home: &Home) -> Value {
    loop {
        let tier = home.run(&["status", "-o", "json"]).exits(0).json()["server"]["metrics"].take();
        assert_eq!(tier["kind"], "local", "{tier}");
        let states = ["governed", "platform"].map(|class| tier[class]["state"].as_str().unwrap_or_default().to_owned());
        assert!(states.iter().all(|state| state != "down"), "{tier}");
        if states.iter().all(|state| state == "ready") {
            return tier;
        }
    }
}

fn engines(home: &Home) -> Vec<String> {
    home.processes().into_iter().filter(|line| line.contains("storage.tsdb.path")).collect()
}

/// The answer to a query, once there is one.
fn first_value(home: &Home, query: &str) -> String {
    loop {
        let found = home.run(&["metrics", "query", query, "-o", "json"]).exits(0).json();
        if let Some(value) = found["result"][0]["value"][1].as_str() {
            return value.to_owned();
        }
    }
}

#[test]
fn engines_keep_our_own_page_outlive_nobody_and_are_on_loopback_only() {
    if missing() {
        return;
    }
    let home = Home::with_metrics();
    home.up();
    home.run_with(&["intent", "create"], INTENT).exits(0);
    ready(&home);
    let engines = engines(&home);
    assert_eq!(engines.len(), 2, "{engines:?}");
    for line in &engines {
        let (_, port) = line.split_once("--web.listen-address=127.0.0.1:").expect("on loopback");
        let port: u16 = port.split(' ').next().unwrap().parse().unwrap();
        assert!((1024..32_768).contains(&port), "{line}");
    }
    assert!(engines.iter().any(|line| line.contains("retention.time=731d")), "{engines:?}");
    assert!(engines.iter().any(|line| line.contains("retention.time=1827d")), "{engines:?}");
    let doctor = home.run(&["doctor"]);
    assert!(doctor.out.contains("governed ready, platform ready"), "{}", doctor.out);

    // Both classes of what the page shows are there, and one expression reads across them.
    let published: u64 = first_value(&home, "nephkeep_record_published_position").parse().unwrap();
    assert!(published > 0);
    // Whatever page was kept last, its counters are those of the log at the position that it names.
    assert_eq!(first_value(&home, "nephkeep_intents_created_total"), "1");
    let verified = home.run(&["verify", "metrics", "-o", "json"]).exits(0).json();
    assert_eq!((&verified[0]["differing"], &verified[0]["objects"]), (&0.into(), &1.into()), "{verified}");
    let table = home.run(&["metrics", "query", "nephkeep_record_published_position"]).exits(0);
    assert!(table.out.lines().nth(1).unwrap().contains("tenant=\"default\""), "{}", table.out);
    let range = home.run(&["metrics", "range", "nephkeep_record_epoch", "--last", "5m", "--step", "15s"]).exits(0);
    assert!(range.out.lines().count() > 1, "{}", range.out);
    let wrong = home.run(&["metrics", "query", "sum("]).exits(2);
    assert!(wrong.err.contains("error[promql-malformed]"), "{}", wrong.err);
    home.run(&["down"]).exits(0);
    assert_eq!(home.processes(), Vec::<String>::new());
}

#[test]
fn engines_of_a_killed_server_are_ended_by_the_next_or_by_down() {
    if missing() {
        return;
    }
    let home = Home::with_metrics();
    home.up();
    ready(&home);
    let before = engines(&home);
    kill_9(home.server_pid());
    assert_eq!(engines(&home), before, "the supervised engines are expected to outlive their supervisor");
    home.up();
    ready(&home);
    let after = engines(&home);
    assert!(after.len() == 2 && after.iter().all(|line| !before.contains(line)), "{before:?} {after:?}");
    kill_9(home.server_pid());
    assert!(home.run(&["doctor"]).out.contains("without their server"));
    home.run(&["down"]).exits(0);
    assert_eq!(home.processes(), Vec::<String>::new());
}

#[test]
fn a_start_that_is_interrupted_or_fails_leaves_no_engine() {
    if missing() {
        return;
    }
    let home = Home::with_metrics();
    let mut command = home.command();
    command.args(["up", "--listen", "127.0.0.1:0"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    while engines(&home).is_empty() {
        std::thread::yield_now();
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let done = Done::from(child.wait_with_output().unwrap());
    assert!(matches!(done.code, 0 | 4), "{done:?}");
    assert_eq!(home.processes(), Vec::<String>::new());

    // It fails after the engines were begun: the record is another one's.
    home.up();
    home.run(&["down"]).exits(0);
    let other = Home::new();
    other.up();
    other.run(&["down"]).exits(0);
    fs::rename(home.directory().join("record"), home.beside("record")).unwrap();
    fs::rename(other.directory().join("record"), home.directory().join("record")).unwrap();
    let refused = home.run(&["up", "--listen", "127.0.0.1:0"]).exits(4);
    assert!(refused.err.contains("error[record-other]"), "{}", refused.err);
    assert_eq!(home.processes(), Vec::<String>::new());
}

#[test]
fn without_a_program_everything_else_works_and_the_absence_is_told() {
    let home = Home::with_metrics();
    let mut up = home.command();
    up.env("NEPHKEEP_PROMETHEUS", "/nowhere/prometheus");
    let listen = format!("127.0.0.1:{}", home.port);
    Done::from(up.args(["up", "--detach", "--listen", &listen]).output().unwrap()).exits(0);
    let tier = home.run(&["status", "-o", "json"]).exits(0).json()["server"]["metrics"].take();
    assert_eq!(tier["kind"], "unavailable", "{tier}");
    assert!(tier["reason"].as_str().unwrap().contains("/nowhere/prometheus"), "{tier}");
    assert!(home.run(&["doctor"]).out.contains("there is no Prometheus program"));
    home.run_with(&["intent", "create"], INTENT).exits(0);
    let refused = home.run(&["metrics", "query", "up"]).exits(4);
    assert!(refused.err.contains("error[metrics-unavailable]"), "{}", refused.err);
    home.run(&["down"]).exits(0);
}
