//! `record advise` on an installation of its own: statements are counted without anybody setting anything.

use crate::shared::Home;

#[test]
fn a_fresh_installation_is_advised_keeps_a_baseline_and_is_compared_with_it() {
    let home = Home::new();
    home.up();
    home.run_with(&["configuration", "set", "net/mtu"], "{\"mtu\": 9000}").exits(0);
    let advised = || home.run(&["record", "advise", "-o", "json"]).exits(0).json();
    let mut first = advised();
    // The leader makes the view beside everything else that a start does.
    while first["statements_state"] == "not-created" {
        first = advised();
    }
    if first["statements_state"] == "not-loaded" {
        testkit::skipped::skipped("this PostgreSQL has no pg_stat_statements");
        return;
    }
    assert_eq!(first["statements_state"], "counted", "{first}");
    let statements = first["statements"].as_array().unwrap();
    assert!(statements.iter().any(|one| one["query"].as_str().unwrap().contains("nephkeep.")), "{first}");
    let table = home.run(&["record", "advise"]).exits(0);
    assert!(table.out.contains("baseline-missing") && table.out.contains("log_head"), "{}", table.out);

    let kept = home.run(&["record", "advise", "--keep-baseline", "-o", "json"]).exits(0).json();
    assert!(kept["statements"].as_u64().unwrap() > 0, "{kept}");
    let then = advised();
    assert_eq!(then["baseline"]["statements"], kept["statements"], "{then}");
    assert!(!then["findings"].as_array().unwrap().iter().any(|one| one["what"] == "baseline-missing"), "{then}");
    // The upkeep shows in the status.
    assert_eq!(home.run(&["status", "-o", "json"]).exits(0).json()["server"]["record"]["upkeep"]["failures"], 0);
}
