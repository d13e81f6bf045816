//! Processor time that the machine below gives to others.

use sysop_common::finding::{Category, Finding, Severity, fingerprint};
use sysop_common::time::MINUTE_MS;

use super::soft::{CLOSE, found, least, odds, percent, row, since};
use super::{Detector, HostInput, Rows};
use crate::analyse::baseline::Signal;

/// This share of the time, five minutes on end, where the host's past has not that much.
const STOLEN: f64 = 0.05;
const LONG: usize = 5;
/// So much is trouble in two minutes, whatever the past.
const MUCH: f64 = 0.15;
const SHORT: usize = 2;

/// Steal time.
pub(super) struct Steal;

impl Detector for Steal {
    fn category(&self) -> Category {
        Category::CpuSteal
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["cpu.steal"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        stolen(input).into_iter().collect()
    }

    fn odds(&self, input: &HostInput, _: &Finding) -> Option<f64> {
        let share = least(input, Signal::Steal, "", MINUTE_MS, SHORT)?;
        Some(odds(input, Signal::Steal, "", share, STOLEN))
    }

    fn observes(&self, input: &HostInput, _: &str) -> bool {
        least(input, Signal::Steal, "", MINUTE_MS, 1).is_some()
    }
}

fn stolen(input: &HostInput) -> Option<Finding> {
    let open = input.open.contains(&fingerprint(Category::CpuSteal, "host"));
    let over = |times| least(input, Signal::Steal, "", MINUTE_MS, times);
    let known = input.state.baselines.get(Signal::Steal, "").filter(|known| known.grown_up());
    let odd = known.is_none_or(|known| known.z() > 4.0);
    let share = if open {
        over(1).filter(|share| *share >= STOLEN * CLOSE)
    } else {
        let much = over(SHORT).filter(|share| *share >= MUCH && odd);
        much.or_else(|| over(LONG).filter(|share| *share >= STOLEN && odd))
    }?;
    let say = input.text();
    let onset = since(input, Signal::Steal, "", STOLEN);
    let chance = odds(input, Signal::Steal, "", share, STOLEN);
    let mut finding = found(input, Category::CpuSteal, "host", onset, chance);
    finding.title = say.say("steal.title", &[]);
    finding.cause = say.say("steal.cause", &[]);
    if share >= MUCH {
        finding.severity = Severity::Critical;
    }
    let mut rows = Rows::default();
    let text = say.say("steal.share", &[("percent", &percent(share))]);
    row(input, &mut rows, "cpu.steal", Signal::Steal, (share, onset, text));
    finding.evidence = rows.0;
    Some(finding)
}
