//! `intent import`: whole documents, a reason for each refusal, and a second run that changes nothing.

use super::shared::{Done, Home, kill_9};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fmt::Write,
    fs,
    io::{BufRead, BufReader, Write as _},
    process::{Command, Stdio},
};

fn generated(count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        writeln!(text, r#"{{"@type":"Intent","name":"cell-{n}","expression":{{"@type":"JsonLdExpression","iri":"https://example.test/e","expressionValue":{{"n":{n}}}}}}}"#).unwrap();
    }
    text
}

#[test]
fn an_import_is_complete_resumable_and_names_what_it_refuses() {
    let home = Home::new();
    home.up();
    let mut text = generated(300);
    text.insert_str(
        text.len() / 2 + 1 - text[..text.len() / 2 + 1].chars().rev().position(|c| c == '\n').unwrap(),
        "{broken\n",
    );
    let file = home.write("intents.jsonl", &text);
    let file = file.to_str().unwrap();

    let first = home.run(&["intent", "import", file, "-o", "json"]).exits(1);
    let account = first.json();
    assert_eq!((&account["imported"], &account["skipped"], &account["refused"]), (&300.into(), &0.into(), &1.into()));
    let place = account["refusals"][0]["place"].as_str().unwrap();
    let line: usize = place.rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(text.lines().nth(line - 1), Some("{broken"));
    assert!(first.err.contains(place), "{}", first.err);

    let again = home.run(&["intent", "import", "--allow-refused", file, "-o", "json"]).exits(0).json();
    assert_eq!((&again["imported"], &again["skipped"], &again["refused"]), (&0.into(), &300.into(), &1.into()));
    let listed = home.run(&["intent", "list", "--all", "--limit", "77", "-o", "json"]).exits(0).json();
    assert_eq!(listed.as_array().unwrap().len(), 300);
}

#[test]
fn a_dry_run_checks_every_document_without_a_server() {
    let home = Home::new();
    let file = home.write("intents.jsonl", generated(3) + "{\"@type\":\"Intent\",\"name\":7}\n");
    let done = home.run(&["intent", "import", "--dry-run", file.to_str().unwrap()]).exits(1);
    assert!(done.out.contains("would import 3, refuses 1"), "{}", done.out);
    assert!(done.err.contains("intents.jsonl:4"), "{}", done.err);
}

#[test]
fn real_samples_are_imported_or_refused_by_name() {
    let Some(intents) = testkit::skipped::samples("intents") else { return };
    let home = Home::new();
    home.up();
    let run = |flag: &str| {
        home.run(&[
            "intent".as_ref(),
            "import".as_ref(),
            flag.as_ref(),
            intents.as_os_str(),
            "-o".as_ref(),
            "json".as_ref(),
        ])
    };
    let first = run("--allow-refused").exits(0).json();
    let (imported, refused) = (first["imported"].as_u64().unwrap(), first["refused"].as_u64().unwrap());
    assert!(imported > 5_000, "{first}");
    let again = run("--allow-refused").exits(0).json();
    assert_eq!((again["imported"].as_u64(), again["refused"].as_u64()), (Some(0), Some(refused)));
}

fn counts(account: &Value) -> [u64; 3] {
    ["imported", "skipped", "refused"].map(|name| account[name].as_u64().unwrap())
}

/// Sixty-four documents are on their way at a time; those of one id keep their order all the same.
#[test]
fn rows_of_one_id_are_taken_in_the_order_of_the_file_at_every_import() {
    let home = Home::new();
    home.up();
    let mut text = String::new();
    for n in 0..60 {
        for name in ["first", "first", "second", "first"] {
            writeln!(
                text,
                r#"{{"@type":"Intent","id":"same-{n}","name":"{name}","expression":{{"@type":"E","iri":"urn:x"}}}}"#
            )
            .unwrap();
        }
    }
    let file = home.write("same.jsonl", text);
    let import = || home.run(&["intent", "import", file.to_str().unwrap(), "-o", "json"]).exits(1).json();
    let (first, again) = (import(), import());
    assert_eq!(counts(&first), [60, 120, 60]);
    assert_eq!(counts(&again), [0, 180, 60]);
    for account in [&first, &again] {
        let refused = account["refusals"].as_array().unwrap();
        let lines = refused.iter().map(|refusal| refusal["place"].as_str().unwrap().rsplit(':').next().unwrap());
        let lines: BTreeSet<usize> = lines.map(|line| line.parse().unwrap()).collect();
        assert_eq!(lines, (0..60).map(|n| 4 * n + 3).collect(), "the third of each four is another document");
        assert!(refused.iter().all(|refusal| refusal["code"] == "already-exists"), "{account}");
    }
    let listed = home.run(&["intent", "list", "--all", "-o", "json"]).exits(0).json();
    assert!(listed.as_array().unwrap().iter().all(|intent| intent["name"] == "first"), "{listed}");
}

#[test]
fn each_refused_line_is_told_with_its_place_code_and_reason_and_the_others_are_imported() {
    let home = Home::new();
    home.up();
    let mut text = generated(3).into_bytes();
    let bad: [(&[u8], &str); 5] = [
        (b"{broken", "json-malformed"),
        (br#"{"@type":"Intent","name":"a","name":"b"}"#, "json-duplicate-key"),
        (br#"{"@type":"Intent","name":7,"expression":{"@type":"E","iri":"urn:x"}}"#, "attribute-type"),
        (b"{\"@type\":\"Intent\",\"name\":\"\xff\"}", "utf8"),
        (br#"{"@type":"Intent","name":"\ud800","expression":{"@type":"E","iri":"urn:x"}}"#, "json-surrogate"),
    ];
    for (line, _) in bad {
        text.extend([line, b"\n"].concat());
    }
    text.extend(generated(1).into_bytes());
    let file = home.write("bad.jsonl", text);
    let done = home.run(&["intent", "import", file.to_str().unwrap(), "-o", "json"]).exits(1);
    let account = done.json();
    assert_eq!(counts(&account), [4, 0, 5], "{}", done.err);
    for (at, (_, code)) in bad.iter().enumerate() {
        let place = format!("{}:{}", file.display(), at + 4);
        let refusals = account["refusals"].as_array().unwrap();
        let refusal = refusals.iter().find(|refusal| refusal["place"] == place.as_str()).expect(&place);
        let told = refusal["code"].as_str().unwrap();
        assert!(told.contains(code), "{refusal}");
        let line = done.err.lines().find(|line| line.starts_with(&place)).expect(&place);
        let reason = line.strip_prefix(&format!("{place}: {told}: ")).expect(line);
        assert!(reason.len() > 10, "no reason: {line}");
    }
    home.run(&["intent", "import", "--allow-refused", file.to_str().unwrap()]).exits(0);
}

/// A server that stands still: the import says how far it is, and what it waits for ends well.
#[test]
fn off_a_terminal_there_is_a_line_now_and_then_however_slow_it_goes() {
    let home = Home::new();
    home.up();
    let file = home.write("slow.jsonl", generated(50));
    let server = home.server_pid().to_string();
    let signal = |name: &str| assert!(Command::new("kill").args([name, &server]).status().unwrap().success());
    signal("-STOP");
    let mut command = home.command();
    command.args(["intent", "import", file.to_str().unwrap()]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
    let lines: Vec<String> = told.by_ref().take(2).map(Result::unwrap).collect();
    signal("-CONT");
    assert!(lines.iter().all(|line| line.contains("imported 0, skipped 0, refused 0")), "{lines:?}");
    let rest: Vec<String> = told.map(Result::unwrap).collect();
    let done = Done::from(child.wait_with_output().unwrap()).exits(0);
    assert!(done.out.contains("imported 50, skipped 0, refused 0"), "{} {rest:?}", done.out);
}

/// What stands there is whole: its number is in its name and in its expression.
fn whole(home: &Home) -> usize {
    let listed = home.run(&["intent", "list", "--all", "-o", "json"]).exits(0).json();
    let listed = listed.as_array().unwrap();
    for intent in listed {
        let n = &intent["expression"]["expressionValue"]["n"];
        assert_eq!(intent["name"], format!("cell-{n}"), "half a document: {intent}");
    }
    listed.len()
}

/// It reads from a pipe that does not end, so it is surely in the middle when it is killed.
#[test]
fn an_import_killed_in_the_middle_leaves_whole_documents_and_is_resumed() {
    let home = Home::new();
    home.up();
    let text = generated(400);
    let (pipe, file) = (home.beside("pipe/cells.jsonl"), home.beside("file/cells.jsonl"));
    [&pipe, &file].iter().for_each(|path| fs::create_dir(path.parent().unwrap()).unwrap());
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut command = home.command();
    command.args(["intent", "import", pipe.to_str().unwrap()]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut feed = fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    feed.write_all(text.as_bytes()).unwrap();
    while whole(&home) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before its input did");
    }
    kill_9(child.id());
    child.wait().unwrap();
    drop(feed);

    let stands = whole(&home) as u64;
    assert!(stands > 0);
    // The rows of a file are known by its name and their number.
    fs::write(&file, &text).unwrap();
    let account = home.run(&["intent", "import", file.to_str().unwrap(), "-o", "json"]).exits(0).json();
    let [imported, skipped, refused] = counts(&account);
    assert_eq!((imported + skipped, refused), (400, 0), "{account}");
    assert!(skipped >= stands, "{stands} stood there: {account}");
    assert_eq!(whole(&home), 400);
}
