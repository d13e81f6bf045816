//! Timed jobs that begin again before they are done.

use sysop_common::finding::{Category, Finding, Severity, fingerprint};
use sysop_common::metric;

use super::{Detector, HostInput, Look, Rows, fact, row, since};

/// Runs of one job at a time from which it is told.
pub(super) const RUNS: i64 = 4;

/// Overlapping runs.
pub(super) struct TimerOverlap;

impl Detector for TimerOverlap {
    fn category(&self) -> Category {
        Category::TimerOverlap
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["job.runs"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        latest.labels(metric::JOB_RUNS).filter_map(|job| overlap(input, latest, job)).collect()
    }

    fn observes(&self, input: &HostInput, _: &str) -> bool {
        // A job without a column does not overlap; the sensor may have failed.
        input
            .window
            .latest()
            .is_some_and(|latest| latest.value(metric::AGENT_SENSOR_FAILED, "jobs") == Some(0))
    }
}

fn overlap(input: &HostInput, latest: Look<'_>, job: &str) -> Option<Finding> {
    let runs = latest.value(metric::JOB_RUNS, job)?;
    let open = input.open.contains(&fingerprint(Category::TimerOverlap, job));
    if runs < if open { RUNS / 2 } else { RUNS } {
        return None;
    }
    let say = input.text();
    let onset = since(input, |look| Some(look.value(metric::JOB_RUNS, job).unwrap_or(0) >= 2));
    let mut finding = fact(input, Category::TimerOverlap, job, onset);
    finding.severity = Severity::Warning;
    finding.title = say.say("jobs.title", &[("job", &job)]);
    finding.cause = say.say("jobs.cause", &[]);
    let mut rows = Rows::default();
    let text = say.say("jobs.runs", &[("count", &runs), ("job", &job)]);
    row(&mut rows, latest, (metric::JOB_RUNS, job), text);
    finding.evidence = rows.0;
    Some(finding)
}
