//! Whether a history could have come from one machine that runs one transaction after the other in real time.

use super::history::{Counts, Recorder, Workload};
use adya::{History, Opts, Valid, check};
use model::{Error, Result};
use std::{collections::BTreeMap, time::Duration};

/// For the search of cycles, per strongly connected component; an unfinished search is no pass.
const SEARCH_LIMIT: Duration = Duration::from_secs(10);
/// Anomalies that are told in full.
const TOLD_MAX: usize = 2;

#[derive(Debug, Clone)]
pub struct Verdict {
    pub workload: Workload,
    pub counts: Counts,
    /// Each by its name, with how often it was found.
    pub anomalies: BTreeMap<String, usize>,
    /// The first ones, step by step.
    pub told: Vec<String>,
    pub holds: bool,
}

/// Of everything one workload recorded.
pub fn of(recorder: &Recorder) -> Result<Verdict> {
    of_text(recorder.workload, &recorder.text(), recorder.counts())
}

fn of_text(workload: Workload, text: &str, counts: Counts) -> Result<Verdict> {
    let history =
        History::from_json(text).map_err(|error| Error::bug("the recorded history cannot be read").caused_by(error))?;
    let (kind, registers) = match workload {
        Workload::ListAppend => (adya::Workload::ListAppend, false),
        Workload::RwRegister => (adya::Workload::RwRegister, true),
    };
    // Registers hide their past. That each key is linearizable and that writes follow reads is part of what is
    // claimed; where it is not so, the assumed version order has a cycle, which is an anomaly by itself.
    let options = Opts { timeout: SEARCH_LIMIT, wfr_keys: registers, linearizable_keys: registers, ..Opts::default() };
    let report = check(&history, kind, &options);
    let anomalies = report.anomalies.iter().map(|(name, found)| (name.clone(), found.len())).collect();
    let found = report.anomalies.iter().filter_map(|(name, found)| Some((name, found.first()?)));
    let told = found.take(TOLD_MAX).map(|(name, first)| format!("{name}\n{}", first.explanation.trim_end())).collect();
    // A history without a committed transaction says nothing, and so does one that could not be searched.
    let holds = report.valid == Valid::True && counts.ok > 0;
    Ok(Verdict { workload, counts, anomalies, told, holds })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// `T` lines of hand-made histories: (process, type, micro-operations).
    fn verdict(workload: Workload, lines: &[(u32, &str, &str)]) -> Verdict {
        let text: String = lines
            .iter()
            .map(|(process, kind, value)| format!("{{\"type\":\"{kind}\",\"process\":{process},\"value\":{value}}}\n"))
            .collect();
        let ok = lines.iter().filter(|(_, kind, _)| *kind == "ok").count();
        of_text(workload, &text, Counts { ok, ..Counts::default() }).unwrap()
    }

    fn names(verdict: &Verdict) -> Vec<&str> {
        verdict.anomalies.keys().map(String::as_str).collect()
    }

    #[test]
    fn a_serial_history_holds() {
        let verdict = verdict(
            Workload::ListAppend,
            &[
                (0, "invoke", r#"[["append",1,1]]"#),
                (0, "ok", r#"[["append",1,1]]"#),
                (1, "invoke", r#"[["r",1,null],["append",1,2],["r",1,null]]"#),
                (1, "ok", r#"[["r",1,[1]],["append",1,2],["r",1,[1,2]]]"#),
                (2, "invoke", r#"[["append",1,3]]"#),
                (2, "info", r#"[["append",1,3]]"#),
                (3, "invoke", r#"[["r",1,null]]"#),
                (3, "ok", r#"[["r",1,[1,2,3]]]"#),
            ],
        );
        assert!(verdict.holds, "{:?}", verdict.anomalies);
    }

    #[test]
    fn an_empty_history_does_not_hold() {
        assert!(!verdict(Workload::ListAppend, &[]).holds);
        let failed = [(0, "invoke", r#"[["append",1,1]]"#), (0, "fail", r#"[["append",1,1]]"#)];
        assert!(!verdict(Workload::ListAppend, &failed).holds);
    }

    #[test]
    fn a_lost_update_is_found() {
        let lines = |append: &str| {
            vec![
                (0, "invoke", format!(r#"[["r",1,null],["{append}",1,1]]"#)),
                (1, "invoke", format!(r#"[["r",1,null],["{append}",1,2]]"#)),
                (0, "ok", format!(r#"[["r",1,null],["{append}",1,1]]"#)),
                (1, "ok", format!(r#"[["r",1,null],["{append}",1,2]]"#)),
            ]
        };
        for (workload, append) in [(Workload::ListAppend, "append"), (Workload::RwRegister, "w")] {
            let lines = lines(append);
            let lines: Vec<_> = lines.iter().map(|(process, kind, value)| (*process, *kind, value.as_str())).collect();
            let verdict = verdict(workload, &lines);
            assert!(!verdict.holds);
            assert!(names(&verdict).contains(&"lost-update"), "{:?}", verdict.anomalies);
            assert!(!verdict.told.is_empty());
        }
    }

    #[test]
    fn a_stale_read_is_found() {
        let list = verdict(
            Workload::ListAppend,
            &[
                (0, "invoke", r#"[["append",1,1]]"#),
                (0, "ok", r#"[["append",1,1]]"#),
                (0, "invoke", r#"[["append",1,2]]"#),
                (0, "ok", r#"[["append",1,2]]"#),
                (1, "invoke", r#"[["r",1,null]]"#),
                (1, "ok", r#"[["r",1,[1]]]"#),
            ],
        );
        assert!(!list.holds);
        assert!(names(&list).iter().any(|name| name.ends_with("-realtime")), "{:?}", list.anomalies);
        let register = verdict(
            Workload::RwRegister,
            &[
                (0, "invoke", r#"[["w",1,1]]"#),
                (0, "ok", r#"[["w",1,1]]"#),
                (0, "invoke", r#"[["w",1,2]]"#),
                (0, "ok", r#"[["w",1,2]]"#),
                (1, "invoke", r#"[["r",1,null]]"#),
                (1, "ok", r#"[["r",1,1]]"#),
            ],
        );
        assert!(!register.holds);
    }

    #[test]
    fn an_acknowledged_append_that_vanished_is_found() {
        let verdict = verdict(
            Workload::ListAppend,
            &[
                (0, "invoke", r#"[["append",1,1]]"#),
                (0, "ok", r#"[["append",1,1]]"#),
                (1, "invoke", r#"[["r",1,null]]"#),
                (1, "ok", r#"[["r",1,[]]]"#),
            ],
        );
        assert!(!verdict.holds);
    }

    #[test]
    fn an_append_applied_twice_is_found() {
        let verdict = verdict(
            Workload::ListAppend,
            &[
                (0, "invoke", r#"[["append",1,1]]"#),
                (0, "ok", r#"[["append",1,1]]"#),
                (1, "invoke", r#"[["r",1,null]]"#),
                (1, "ok", r#"[["r",1,[1,2,1]]]"#),
            ],
        );
        assert!(!verdict.holds);
        assert!(names(&verdict).contains(&"duplicate-elements"), "{:?}", verdict.anomalies);
    }

    #[test]
    fn a_register_written_again_by_a_retry_is_found() {
        let verdict = verdict(
            Workload::RwRegister,
            &[
                (0, "invoke", r#"[["w",1,1]]"#),
                (1, "invoke", r#"[["r",1,null]]"#),
                (1, "ok", r#"[["r",1,1]]"#),
                (2, "invoke", r#"[["w",1,2]]"#),
                (2, "ok", r#"[["w",1,2]]"#),
                (1, "invoke", r#"[["r",1,null]]"#),
                (1, "ok", r#"[["r",1,2]]"#),
                (1, "invoke", r#"[["r",1,null]]"#),
                (1, "ok", r#"[["r",1,1]]"#),
                (0, "ok", r#"[["w",1,1]]"#),
            ],
        );
        assert!(!verdict.holds, "{:?}", verdict.anomalies);
        assert!(names(&verdict).contains(&"cyclic-versions"), "{:?}", verdict.anomalies);
    }

    #[test]
    fn a_read_of_what_was_refused_is_found() {
        let verdict = verdict(
            Workload::ListAppend,
            &[
                (0, "invoke", r#"[["append",1,1]]"#),
                (0, "fail", r#"[["append",1,1]]"#),
                (1, "invoke", r#"[["r",1,null]]"#),
                (1, "ok", r#"[["r",1,[1]]]"#),
            ],
        );
        assert!(!verdict.holds);
        assert!(names(&verdict).contains(&"G1a"), "{:?}", verdict.anomalies);
    }
}
