//! Results: one case per test, their sum, and the file that keeps them.

use std::path::Path;

use anyhow::{Context, Result};

/// How one test went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed,
    /// Not run, for this reason.
    Skipped(String),
}

/// One test and its outcome.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    /// Seconds it took, where its runner says so.
    pub(crate) seconds: Option<f64>,
    /// Failed first and passed on its second try.
    pub(crate) unsteady: bool,
}

impl Case {
    pub(crate) fn passed(name: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: Outcome::Passed, seconds: None, unsteady: false }
    }

    pub(crate) fn failed(name: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: Outcome::Failed, seconds: None, unsteady: false }
    }

    pub(crate) fn skipped(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { name: name.into(), outcome: Outcome::Skipped(reason.into()), seconds: None, unsteady: false }
    }

    /// Gives a reason to a case that was skipped without one.
    pub(crate) fn explain(&mut self, why: &str) {
        if let Outcome::Skipped(reason) = &mut self.outcome
            && reason.is_empty()
        {
            why.clone_into(reason);
        }
    }
}

/// The cases of one suite.
#[derive(Debug)]
pub(crate) struct SuiteResult {
    pub(crate) suite: &'static str,
    pub(crate) cases: Vec<Case>,
    pub(crate) seconds: f64,
}

/// How many cases went which way.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    pub(crate) fn of<'a>(cases: impl IntoIterator<Item = &'a Case>) -> Self {
        let mut tally = Self::default();
        for case in cases {
            match case.outcome {
                Outcome::Passed => tally.passed += 1,
                Outcome::Failed => tally.failed += 1,
                Outcome::Skipped(_) => tally.skipped += 1,
            }
        }
        tally
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Writes every case to `path` as JSON.
pub(crate) fn save(results: &[SuiteResult], path: &Path) -> Result<()> {
    let tally = Tally::of(results.iter().flat_map(|result| &result.cases));
    let cases: Vec<serde_json::Value> = results
        .iter()
        .flat_map(|result| result.cases.iter().map(|case| (result.suite, case)))
        .map(|(suite, case)| {
            let (result, reason) = match &case.outcome {
                Outcome::Passed => ("passed", None),
                Outcome::Failed => ("failed", None),
                Outcome::Skipped(reason) => ("skipped", Some(reason)),
            };
            serde_json::json!({
                "suite": suite, "name": case.name, "result": result, "seconds": case.seconds, "reason": reason,
                "unsteady": case.unsteady,
            })
        })
        .collect();
    let report = serde_json::json!({
        "passed": tally.passed, "failed": tally.failed, "skipped": tally.skipped,
        "seconds": results.iter().map(|result| result.seconds).sum::<f64>(),
        "cases": cases,
    });
    std::fs::write(path, format!("{report:#}\n"))
        .with_context(|| format!("could not write {}", path.display()))
}
