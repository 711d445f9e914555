//! Events from the command line, and that a group's positions survive `kill -9`.

use super::shared::{Home, kill_9};
use serde_json::Value;

fn intents(home: &Home, names: &[&str]) {
    let lines: Vec<String> = names
        .iter()
        .map(|name| {
            format!(
                r#"{{"@type":"Intent","name":"{name}","expression":{{"@type":"JsonLdExpression","iri":"urn:x","expressionValue":{{}}}}}}"#
            )
        })
        .collect();
    let file = home.write(&format!("{}.jsonl", names[0]), lines.join("\n"));
    home.run(&["intent", "import", file.to_str().unwrap()]).exits(0);
}

/// One CloudEvent a line.
fn events(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn consume(home: &Home, arguments: &[&str]) -> Vec<Value> {
    let all = [&["events", "consume", "intent.lifecycle", "-o", "json"][..], arguments].concat();
    events(&home.run(&all).exits(0).out)
}

#[test]
fn a_group_goes_on_where_it_was_after_kill_9_and_can_be_moved_back() {
    let home = Home::new();
    home.up();
    let topics = home.run(&["events", "topics"]).exits(0).out;
    assert!(topics.contains("intent.lifecycle") && topics.contains("audit.recorded"), "{topics}");
    let tried = home.run(&["events", "produce-test", "--count", "3", "-o", "json"]).exits(0).json();
    assert_eq!((&tried["written"], &tried["received"]), (&3.into(), &3.into()), "{tried}");
    intents(&home, &["one", "two", "three"]);
    assert_eq!(consume(&home, &["--from", "earliest", "--until-end"]).len(), 3);
    let in_group = ["--group", "billing", "--from", "earliest"];
    let first = consume(&home, &[&in_group[..], &["--count", "2"]].concat());
    assert_eq!(first.len(), 2);

    kill_9(home.server_pid());
    home.up();
    intents(&home, &["four"]);
    let rest = consume(&home, &[&in_group[..], &["--until-end"]].concat());
    let subjects: Vec<&Value> = first.iter().chain(&rest).map(|event| &event["subject"]).collect();
    assert_eq!(subjects.len(), 4, "each once, across the kill: {subjects:?}");
    let groups = home.run(&["events", "groups", "-o", "json"]).exits(0).json();
    assert_eq!((&groups[0]["name"], &groups[0]["members"]), (&"billing".into(), &serde_json::json!([])), "{groups}");

    home.run(&["events", "seek", "billing", "earliest", "--dry-run"]).exits(0);
    assert!(consume(&home, &[&in_group[..], &["--until-end"]].concat()).is_empty());
    let at = first[1]["id"].as_str().unwrap();
    home.run(&["events", "seek", "billing", at]).exits(0);
    assert_eq!(consume(&home, &[&in_group[..], &["--until-end"]].concat()), rest);
    let sink = ["events", "sinks", "create", "oss", "--to", "http://127.0.0.1:9/x", "--topic", "intent.lifecycle"];
    home.run(&[&sink[..], &["--dry-run"]].concat()).exits(0);
    home.run(&sink).exits(0);
    assert!(home.run(&["events", "sinks", "list"]).exits(0).out.contains("oss"));
    assert_eq!(
        home.run(&["events", "sinks", "letters", "sink/oss", "-o", "json"]).exits(0).json(),
        serde_json::json!([])
    );
    home.run(&["events", "sinks", "retry", "sink/oss", "intent.lifecycle", at]).exits(1);
    home.run(&["events", "sinks", "delete", "oss"]).exits(0);
    home.run(&["events", "delete", "billing"]).exits(0);
    home.run(&["events", "groups", "billing"]).exits(1);

    let opened = home.run(&["events", "consume", "intent.document", "--from", "earliest", "--until-end", "--open"]);
    let opened = opened.exits(0).out;
    assert!(opened.contains("\"name\":\"three\""), "{opened}");
    home.run(&["events", "consume", "intent.lifecycle", "knowledge.changed"]).exits(2);
    home.run(&["events", "consume", "intents"]).exits(1);
}

#[test]
fn a_policy_of_ones_own_takes_the_place_of_the_built_in_one() {
    let home = Home::new();
    let policy = home.write(
        "topics.toml",
        "[\"everything\"]\nkinds = [\"intent\"]\ndata = \"clear\"\npartitions = 1\nretention_days = 7\n",
    );
    let start = |file: &str| {
        let listen = format!("127.0.0.1:{}", home.port);
        let mut command = home.command();
        command.args(["up", "--detach", "--listen", &listen]).env("NEPHKEEP_TOPICS", file);
        super::shared::Done::from(command.output().unwrap())
    };
    let broken = home.write("broken.toml", "[x]\nkinds = []\n");
    let refused = start(broken.to_str().unwrap());
    assert!(refused.code == 4 && refused.err.contains("topics-malformed"), "{refused:?}");
    start(policy.to_str().unwrap()).exits(0);
    let topics = home.run(&["events", "topics", "-o", "json"]).exits(0).json();
    assert_eq!((topics["topics"].as_array().unwrap().len(), &topics["topics"][0]["name"]), (1, &"everything".into()));
}
