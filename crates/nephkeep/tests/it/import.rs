//! `intent import`: whole documents, a reason for each refusal, and a second run that changes nothing.

use super::shared::Home;
use std::fmt::Write;

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
    let Some(samples) = std::env::var_os("NEPHKEEP_SAMPLES").filter(|path| !path.is_empty()) else {
        println!("skipped, data missing: NEPHKEEP_SAMPLES is not set");
        return;
    };
    let home = Home::new();
    home.up();
    let intents = std::path::Path::new(&samples).join("intents");
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
