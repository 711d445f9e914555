//! What needs no server: explain, completions, manual pages, bad command lines.

use super::shared::{Done, Home};
use std::fs;

#[test]
fn explain_tells_cause_check_and_remedy_and_the_nearest_codes() {
    let home = Home::new();
    let page = home.run(&["explain", "port-taken"]).exits(0);
    assert!(["\nCause\n", "\nCheck\n", "\nRemedy\n"].iter().all(|heading| page.out.contains(heading)));
    home.run(&["explain", "error[PORT-TAKEN]:"]).exits(0);
    let json = home.run(&["explain", "port-taken", "-o", "json"]).exits(0).json();
    assert!(json["remedy"].as_str().unwrap().contains("--listen"));
    let unknown = home.run(&["explain", "prot-taken"]).exits(2);
    assert!(unknown.err.contains("port-taken"), "{}", unknown.err);
    assert!(home.run(&["explain"]).exits(0).out.lines().count() > 20);
}

#[test]
fn bad_command_lines_are_usage_errors_and_print_nothing_on_stdout() {
    let home = Home::new();
    for arguments in [
        vec![],
        vec!["no-such-verb"],
        vec!["up", "--listen", "7210"],
        vec!["intent", "import"],
        vec!["intent", "list", "--limit", "many"],
        vec!["status", "-o", "xml"],
        vec!["completions", "tcsh"],
    ] {
        let done = home.run(&arguments).exits(2);
        assert!(done.out.is_empty() && !done.err.is_empty(), "{arguments:?}: {}", done.out);
    }
}

#[test]
fn completions_and_manual_pages_cover_the_verbs() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.run(&["completions", shell]).exits(0).out.contains("import"), "{shell}");
    }
    let directory = home.beside("man");
    home.run(&["man".as_ref(), directory.as_os_str()]).exits(0);
    let page = fs::read_to_string(directory.join("nephkeep-intent-import.1")).unwrap();
    assert!(page.contains("Examples"));
}

#[test]
fn without_a_server_the_verbs_say_so() {
    let home = Home::new();
    let status = home.run(&["status", "-o", "json"]).exits(1);
    assert_eq!(status.json()["state"], "not running");
    let list = home.run(&["intent", "list"]).exits(4);
    assert!(list.err.contains("error[server-not-running]") && list.err.contains("nephkeep up"), "{}", list.err);
    let down = home.run(&["down"]).exits(1);
    assert!(down.err.contains("error[directory-missing]"), "{}", down.err);
    let plan = home.run(&["up", "--dry-run", "-o", "json"]).exits(0);
    assert_eq!((&plan.json()["initialise"], &plan.json()["listen"]), (&true.into(), &"127.0.0.1:7210".into()));
    let settings = home.write("own.toml", "[server]\nlisten = \"127.0.0.1:7999\"\n");
    for (variable, value, listen) in [
        ("NEPHKEEP_LISTEN", "127.0.0.1:7998", "127.0.0.1:7998"),
        ("NEPHKEEP_SETTINGS", settings.to_str().unwrap(), "127.0.0.1:7999"),
    ] {
        let mut plan = home.command();
        plan.args(["up", "--dry-run", "-o", "json"]).env(variable, value);
        assert_eq!(Done::from(plan.output().unwrap()).exits(0).json()["listen"], listen, "{variable}");
    }
    assert!(!home.directory().exists());
}
