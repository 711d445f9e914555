//! The test runner's results, added up: one line for all binaries and doc-tests.

use std::fmt;

const RESULT: &str = "test result: ";

#[derive(Debug, Default)]
pub struct Summary {
    passed: u64,
    failed: u64,
    ignored: u64,
    runs: u64,
}

impl Summary {
    /// `test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`
    pub fn hear(&mut self, line: &str) {
        let Some((_, told)) = line.split_once(RESULT) else { return };
        let words: Vec<&str> = told.split([' ', ';']).filter(|word| !word.is_empty()).collect();
        let count = |what: &str| -> Option<u64> {
            words.iter().position(|word| *word == what).and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok())
        };
        let (Some(passed), Some(failed), Some(ignored)) = (count("passed"), count("failed"), count("ignored")) else {
            return;
        };
        self.passed += passed;
        self.failed += failed;
        self.ignored += ignored;
        self.runs += 1;
    }

    /// Where nothing ran, nothing was tested.
    pub fn is_good(&self) -> bool {
        self.passed > 0 && self.failed == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, ignored, runs } = self;
        let word = if self.is_good() { "ok" } else { "FAILED" };
        let plural = if *runs == 1 { "run" } else { "runs" };
        write!(f, "{RESULT}{word}. {passed} passed; {failed} failed; {ignored} ignored; all of {runs} {plural}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_all_binaries_are_added_and_a_failure_shows() {
        let mut summary = Summary::default();
        assert_eq!(summary.to_string(), "test result: FAILED. 0 passed; 0 failed; 0 ignored; all of 0 runs");
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.01s\n",
            "..test result: ok. 40 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 12.01s",
        ] {
            summary.hear(line);
        }
        assert_eq!(summary.to_string(), "test result: ok. 43 passed; 0 failed; 1 ignored; all of 2 runs");
        summary
            .hear("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.0s");
        assert_eq!(summary.to_string(), "test result: FAILED. 44 passed; 2 failed; 1 ignored; all of 3 runs");
    }
}
