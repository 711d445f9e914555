//! Events from the command line, and that a group's positions survive `kill -9`.

use super::shared::{Done, Home, free_port, kill_9};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

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

/// Others need not wait for the lease of a member that was told to end.
#[test]
fn a_member_that_is_told_to_end_leaves_its_group() {
    let home = Home::new();
    home.up();
    let members = || home.run(&["events", "groups", "-o", "json"]).exits(0).json()[0]["members"].clone();
    for signal in ["-INT", "-TERM"] {
        let mut command = home.command();
        command.args(["events", "consume", "intent.lifecycle", "--group", "billing"]);
        let member = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while members().as_array().is_none_or(Vec::is_empty) {}
        assert!(Command::new("kill").args([signal, &member.id().to_string()]).status().unwrap().success());
        Done::from(member.wait_with_output().unwrap()).exits(0);
        assert_eq!(members(), json!([]), "{signal}");
    }
}

/// Refuses whatever is sent to it; its address, and how much that was.
fn refusing() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let (to, met) = (format!("http://{}/hook", listener.local_addr().unwrap()), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&met);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap() <= 2 {
                    break;
                }
                if let Some(told) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = told.trim().parse().unwrap();
                }
            }
            stream.read_exact(&mut vec![0; length]).unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let refusal = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.get_mut().write_all(refusal).unwrap();
        }
    });
    (to, met)
}

#[test]
fn a_dead_letter_is_shown_before_it_is_sent_again() {
    let home = Home::new();
    home.up();
    intents(&home, &["one"]);
    let (to, met) = refusing();
    let sink = ["events", "sinks", "create", "oss", "--to", &to, "--topic", "intent.lifecycle", "--from", "earliest"];
    home.run(&[&sink[..], &["--attempts", "1"]].concat()).exits(0);
    let letters = || home.run(&["events", "sinks", "letters", "sink/oss", "-o", "json"]).exits(0).json();
    while letters() == json!([]) {}
    let (letter, before) = (letters()[0].clone(), met.load(Ordering::SeqCst));
    let retry = |consumer: &str, topic: &str, more: &[&str]| {
        let place = ["events", "sinks", "retry", consumer, topic, letter["position"].as_str().unwrap(), "-o", "json"];
        home.run(&[&place[..], more].concat())
    };
    let planned = retry("sink/oss", "intent.lifecycle", &["--dry-run"]).exits(0).json();
    assert_eq!((&planned["to"], &planned["reason"]), (&json!(to), &letter["reason"]), "{planned}");
    retry("sink/oss", "knowledge.changed", &["--dry-run"]).exits(1);
    retry("sink/none", "intent.lifecycle", &["--dry-run"]).exits(1);
    retry("group/billing", "intent.lifecycle", &["--dry-run"]).exits(2);
    assert_eq!((letters(), met.load(Ordering::SeqCst)), (json!([letter]), before));
    let sent = retry("sink/oss", "intent.lifecycle", &[]);
    assert!(sent.code != 0 && met.load(Ordering::SeqCst) == before + 1, "{sent:?}");
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
        Done::from(command.output().unwrap())
    };
    let broken = home.write("broken.toml", "[x]\nkinds = []\n");
    let refused = start(broken.to_str().unwrap());
    assert!(refused.code == 4 && refused.err.contains("topics-malformed"), "{refused:?}");
    start(policy.to_str().unwrap()).exits(0);
    let topics = home.run(&["events", "topics", "-o", "json"]).exits(0).json();
    assert_eq!((topics["topics"].as_array().unwrap().len(), &topics["topics"][0]["name"]), (1, &"everything".into()));
}
