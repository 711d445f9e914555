//! Drills with the real binary: what is shipped passes and leaves nothing; what is broken on purpose is found by name.

use crate::shared::{Done, Home};
use serde_json::Value;

fn drill(home: &Home, arguments: &[&str]) -> Done {
    let mut all = vec!["drill", "run"];
    all.extend(arguments);
    all.extend(["--load", "8", "--seconds", "0.5", "-o", "json"]);
    let mut command = home.command();
    // Its directory is made here, so that what it leaves behind would be seen.
    command.args(all).env("TMPDIR", home.beside("")).output().unwrap().into()
}

#[cfg(not(feature = "seeded-bugs"))]
mod shipped {
    use super::*;
    use crate::shared::living_under;
    use std::{
        fs,
        io::{BufRead, BufReader},
        process::{Child, Command, Stdio},
        time::{Duration, Instant},
    };

    fn left_behind(home: &Home) -> Vec<String> {
        let entries = fs::read_dir(home.beside("")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_killed_database_loses_nothing_and_the_evidence_says_so_again() {
        let home = Home::new();
        let evidence = home.beside("evidence").display().to_string();
        let report = drill(&home, &["kill-database", "--rounds", "2", "--evidence", &evidence]).exits(0).json();
        let account = &report["parts"][0]["account"];
        assert!(account["acknowledged"].as_u64() > Some(0), "{account}");
        assert_eq!(
            (account["present"].as_u64(), account["lost"].as_u64()),
            (account["acknowledged"].as_u64(), Some(0))
        );
        assert_eq!(report["rounds"].as_array().map(Vec::len), Some(2));
        assert_eq!(report["record"]["head"], report["audit"]["through"]);
        assert_eq!(left_behind(&home), ["evidence"]);

        home.run(&["drill", "verify", &evidence]).exits(0);
        assert_eq!(home.run(&["drill", "report", &evidence, "-o", "json"]).exits(0).json()["parts"], report["parts"]);
        let found = home.beside("evidence/load.found.jsonl");
        let text = fs::read_to_string(&found).unwrap();
        fs::write(&found, text.split_once('\n').unwrap().1).unwrap();
        let told = home.run(&["drill", "verify", &evidence]).exits(1);
        assert!(told.err.contains("differs: load"), "{}", told.err);
    }

    #[test]
    fn a_killed_server_loses_no_change_and_repeats_none() {
        let home = Home::new();
        let report = drill(&home, &["kill-server", "--work", "patch", "--rounds", "1", "--abandon-per-mille", "100"]);
        let report = report.exits(0).json();
        let part = &report["parts"][0];
        assert!(part["load"]["in_doubt"].as_u64() > Some(0), "nothing was repeated: {part}");
        assert_eq!(part["account"]["duplicated"], 0);
        assert_eq!(left_behind(&home), Vec::<String>::new());
        shares_are_counted(&part["load"]);
        let round = &report["rounds"][0];
        assert_eq!(round["acknowledged"], round["acknowledged_in_all"], "the first round is all there is: {round}");
    }

    /// A server that was away has not answered everything at once, however often it was asked again.
    #[track_caller]
    fn shares_are_counted(load: &Value) {
        let count = |name: &str| load[name].as_u64().unwrap();
        let share = |name: &str| load[name].as_f64().unwrap();
        let (sent, answered) = (count("first_sendings"), count("first_answered"));
        assert!(answered > 0 && answered < sent, "a killed server answered every first sending: {load}");
        assert!(count("connections_refused") > 0, "{load}");
        assert!((share("share_answered") - answered as f64 / sent as f64).abs() < 1e-9, "{load}");
        assert!(count("abandoned") > 0, "{load}");
        assert_eq!(sent + count("abandoned"), count("requests"), "left on purpose is not unanswered: {load}");
        let in_the_end = (count("requests") - count("unanswered")) as f64 / count("requests") as f64;
        assert!((share("share_answered_in_the_end") - in_the_end).abs() < 1e-9, "{load}");
    }

    /// A drill under load, once its first fault is over.
    fn in_the_middle(home: &Home, name: &str) -> Child {
        let mut command = home.command();
        command.args(["drill", "run", name, "--load", "4", "--seconds", "0.5", "--rounds", "1000"]);
        let mut child = command.env("TMPDIR", home.beside("")).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.starts_with("round 1/")), "no round was told");
        // Nobody may be kept from ending because it cannot tell.
        std::thread::spawn(move || lines.for_each(drop));
        child
    }

    fn signal(child: &Child, name: &str) {
        assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
    }

    #[test]
    fn an_interrupted_drill_leaves_nothing() {
        for (drill, name) in [("kill-database", "-INT"), ("kill-server", "-TERM")] {
            let home = Home::new();
            let mut child = in_the_middle(&home, drill);
            signal(&child, name);
            assert_eq!(child.wait().unwrap().code(), Some(4), "{name}");
            assert_eq!(living_under(&home.beside("")), Vec::<String>::new(), "{name}");
            assert_eq!(left_behind(&home), Vec::<String>::new(), "{name}");
        }
    }

    /// It cannot clean up any more, and its leader may be frozen: somebody else does, and the load ends by itself.
    #[test]
    fn of_a_killed_drill_nothing_is_left() {
        for drill in ["kill-database", "pause-leader"] {
            let home = Home::new();
            let mut child = in_the_middle(&home, drill);
            child.kill().unwrap();
            child.wait().unwrap();
            let until = Instant::now() + Duration::from_secs(60);
            while !living_under(&home.beside("")).is_empty() && Instant::now() < until {
                std::thread::yield_now();
            }
            assert_eq!(living_under(&home.beside("")), Vec::<String>::new(), "{drill}");
            assert_eq!(left_behind(&home), Vec::<String>::new(), "{drill}");
        }
    }

    /// The faults that drills must find are in no build but one with the cargo feature.
    #[test]
    fn no_seeded_bug_can_be_reached() {
        let told = drill(&Home::new(), &["kill-database", "--seeded-bug", "skip-dedupe"]).exits(2);
        assert!(told.err.contains("unexpected argument '--seeded-bug'"), "{}", told.err);
        let program = fs::read(env!("CARGO_BIN_EXE_nephkeep")).unwrap();
        for word in ["DRILL_SEEDED_BUG", "skip-dedupe", "sync-commit-off", "skip-epoch", "cached-reads-without-lease"] {
            let found = program.windows(word.len()).any(|window| window == word.as_bytes());
            assert!(!found, "'{word}' stands in the program");
        }
    }

    #[test]
    fn what_drills_there_are_is_told() {
        let home = Home::new();
        let list = home.run(&["drill", "list", "-o", "json"]).exits(0).json();
        let names: Vec<_> =
            list.as_array().unwrap().iter().filter_map(|drill: &Value| drill["name"].as_str()).collect();
        assert_eq!(names, ["kill-database", "kill-server", "pause-leader", "low-recall"]);
        assert!(home.run(&["drill", "report", "/nowhere"]).exits(4).err.contains("drill-evidence-unusable"));
        home.run(&["drill", "run", "kill-database", "--dry-run"]).exits(0);
    }
}

#[cfg(feature = "seeded-bugs")]
mod seeded {
    use super::*;

    #[track_caller]
    fn finds(arguments: &[&str], what: &str) {
        let told = drill(&Home::new(), arguments).exits(1);
        let report: Value = told.json();
        let findings: Vec<_> = report["findings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(findings.iter().any(|finding| finding.contains(what)), "{findings:?}");
    }

    #[test]
    fn without_sync_a_killed_database_loses_what_was_acknowledged() {
        finds(&["kill-database", "--rounds", "4", "--seeded-bug", "sync-commit-off"], "acknowledged writes lost");
    }

    #[test]
    fn without_deduplication_a_repeated_request_is_there_twice() {
        let arguments = ["kill-server", "--rounds", "1", "--abandon-per-mille", "200", "--seeded-bug", "skip-dedupe"];
        finds(&arguments, "requests duplicated");
    }

    #[test]
    fn without_the_epoch_a_fenced_leader_writes() {
        finds(&["pause-leader", "--rounds", "1", "--seeded-bug", "skip-epoch"], "a fenced leader wrote");
    }
}
