//! Reads the lines that test runners print: cargo-nextest's, and those of libtest, which our own runners imitate.

use super::case::{Case, Outcome, Tally};

/// Collects cases from a runner's lines, and its own count of them.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// Tests of this name are another suite's: a runner that filters them out still lists them.
    foreign: Option<&'static str>,
    cases: Vec<Case>,
    /// What the runner's summary lines say.
    said: Tally,
    /// Reason that a suite gives once for all the tests that it ignores.
    reason: Option<String>,
}

impl Parser {
    pub(crate) fn new(foreign: Option<&'static str>) -> Self {
        Self { foreign, ..Self::default() }
    }

    /// Takes a line; returns whether a person should see it (single passes are left out).
    pub(crate) fn line(&mut self, line: &str) -> bool {
        if let Some(reason) = line.trim_start().strip_prefix("hosts ignored: ") {
            self.reason = Some(reason.to_owned());
        }
        if let Some(summary) = summary(line) {
            self.said.passed += summary.passed;
            self.said.failed += summary.failed;
            return true;
        }
        let Some(case) = nextest(line).or_else(|| libtest(line)) else { return true };
        let show = case.outcome == Outcome::Failed;
        let foreign = self.foreign.is_some_and(|prefix| case.name.contains(prefix));
        if !foreign {
            self.cases.push(case);
        }
        show
    }

    /// The cases; one that fails is added where lines, summary and exit code disagree.
    pub(crate) fn finish(self, suite: &str, success: bool) -> Vec<Case> {
        let mut cases = self.cases;
        if let Some(reason) = &self.reason {
            cases.iter_mut().for_each(|case| case.explain(reason));
        }
        let seen = Tally::of(&cases);
        if seen.passed != self.said.passed || seen.failed != self.said.failed {
            let said = self.said;
            cases.push(Case::failed(format!(
                "{suite}: its lines show {} passed and {} failed, its summary {} and {}",
                seen.passed, seen.failed, said.passed, said.failed
            )));
        } else if !success && seen.failed == 0 {
            cases.push(Case::failed(format!("{suite}: the runner failed")));
        }
        cases
    }
}

/// `PASS [   0.007s] (1/5) crate::binary test::name`
fn nextest(line: &str) -> Option<Case> {
    let (status, rest) = line.trim_start().split_once(" [")?;
    let (time, rest) = rest.split_once("] ")?;
    // `TRY 1 FAIL` is followed by another try, whose line counts.
    let (again, status) = match status.strip_prefix("TRY ").map(|tried| tried.split_once(' ')) {
        Some(Some(("1", _)) | None) => return None,
        Some(Some((_, status))) => (true, status),
        None => (false, status),
    };
    let outcome = match status {
        "PASS" | "LEAK" => Outcome::Passed,
        "SKIP" => Outcome::Skipped(String::new()),
        "SLOW" | "TERMINATING" | "Summary" => return None,
        "FAIL" | "TIMEOUT" | "ABORT" | "XFAIL" | "LEAK-FAIL" => Outcome::Failed,
        signal if signal.starts_with("SIG") && !signal.contains(' ') => Outcome::Failed,
        _ => return None,
    };
    let name = match rest.trim_start().strip_prefix('(') {
        Some(counted) => counted.split_once(") ")?.1,
        None => rest,
    };
    let seconds = time.trim().trim_end_matches('s').parse().ok();
    let unsteady = again && outcome == Outcome::Passed;
    Some(Case { name: name.trim().to_owned(), outcome, seconds, unsteady })
}

/// `test name ... ok`, at the start of a line: deeper ones are a failed test's own output.
fn libtest(line: &str) -> Option<Case> {
    let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let name = name.trim_end();
    let mut words = verdict.split([' ', ',']);
    match words.next()? {
        "ok" => Some(Case::passed(name)),
        "FAILED" => Some(Case::failed(name)),
        "ignored" => {
            Some(Case::skipped(name, verdict.trim_start_matches("ignored").trim_start_matches([',', ' '])))
        }
        _ => None,
    }
}

/// The counts of `test result: ok. 4 passed; 0 failed; …` or of `Summary [ 0.1s] 5 tests run: 5 passed, …`.
fn summary(line: &str) -> Option<Tally> {
    let counts = match line.strip_prefix("test result: ") {
        Some(counts) => counts,
        None => line.trim_start().strip_prefix("Summary [")?.split_once(" run: ")?.1,
    };
    let count = |what: &str| -> usize {
        let words: Vec<&str> = counts.split_whitespace().collect();
        let found = words.windows(2).find(|pair| pair[1].trim_end_matches([';', ',']) == what);
        found.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
    };
    let failed = count("failed") + count("timed");
    Some(Tally { passed: count("passed"), failed, skipped: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(foreign: Option<&'static str>, lines: &str, success: bool) -> Vec<Case> {
        let mut parser = Parser::new(foreign);
        lines.lines().for_each(|line| {
            parser.line(line);
        });
        parser.finish("suite", success)
    }

    #[test]
    fn both_runners_are_understood() {
        let nextest = "\
        SKIP [         ] (───) nx ig
     SIGABRT [   0.015s] (1/3) nx aborts
  stdout ───
    test fails ... FAILED
    test result: FAILED. 0 passed; 1 failed; 0 ignored
        PASS [   0.005s] nx passes
     Summary [   0.182s] 2 tests run: 1 passed, 1 failed, 1 skipped";
        let cases = parse(None, nextest, false);
        assert_eq!(Tally::of(&cases), Tally { passed: 1, failed: 1, skipped: 1 });
        assert_eq!((cases[2].name.as_str(), cases[2].seconds), ("nx passes", Some(0.005)));

        let libtest = "running 3 tests\ntest a ... ok\ntest b ... FAILED\ntest c ... ignored, needs root\n\
                       test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured";
        let cases = parse(None, libtest, false);
        assert_eq!(Tally::of(&cases), Tally { passed: 1, failed: 1, skipped: 1 });
        assert_eq!(cases[2].outcome, Outcome::Skipped("needs root".to_owned()));
    }

    #[test]
    fn a_second_try_counts_and_is_named() {
        let lines = "  TRY 1 FAIL [ 0.1s] (1/2) nx a\n  TRY 2 PASS [ 0.1s] (1/2) nx a\n  TRY 1 FAIL [ 0.1s] (2/2) nx b\n\
                     TRY 2 FAIL [ 0.1s] (2/2) nx b\n  Summary [ 0.1s] 2 tests run: 1 passed (1 flaky), 1 failed, 0 skipped";
        let cases = parse(None, lines, false);
        assert_eq!(Tally::of(&cases), Tally { passed: 1, failed: 1, skipped: 0 });
        assert_eq!((cases[0].unsteady, cases[1].unsteady), (true, false));
    }

    #[test]
    fn another_suites_tests_are_left_out_and_a_common_reason_is_given_to_each() {
        let lines = "hosts ignored: needs root\n        SKIP [ ] x booted::lab::y\n        SKIP [ ] x z\n  Summary [ 0.1s] 0 tests run: 0 passed";
        let cases = parse(Some("booted::"), lines, true);
        assert_eq!(cases, [Case::skipped("x z", "needs root")]);

        let lines = "PASS [ 0.1s] web pages::hosts::tests::z\n  Summary [ 0.1s] 1 test run: 1 passed";
        assert_eq!(
            Tally::of(&parse(Some("booted::"), lines, true)),
            Tally { passed: 1, failed: 0, skipped: 0 }
        );
    }

    #[test]
    fn a_runner_that_fails_without_a_failed_test_or_miscounts_is_a_failure() {
        assert_eq!(Tally::of(&parse(None, "error: could not compile", false)).failed, 1);
        assert_eq!(Tally::of(&parse(None, "test result: ok. 4 passed; 0 failed", true)).failed, 1);
        assert_eq!(
            Tally::of(&parse(None, "test a ... ok\ntest result: ok. 1 passed; 0 failed", true)).failed,
            0
        );
    }
}
