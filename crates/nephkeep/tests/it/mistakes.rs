//! What people get wrong: each is told, and nothing passes for done that was not done.

use super::shared::Home;

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
