//! One look at one host, without a store and without a clock: state and samples in, groups of findings
//! and the next state out. The same input gives the same findings, byte for byte, whether the samples
//! come from a live host, a recording or a generator.

use sysop_common::finding::{Category, Finding};
use sysop_common::metric;
use sysop_common::time::UnixMs;

use super::budget::Claim;
use super::correlate::{self, Group};
use super::gate;
use super::housekeeping;
use super::input::HostInput;
use super::offers::About;
use super::operator;
use super::rules::entity::entity_lane;
use super::rules::{Detector, hard_lane, soft_lane};
use crate::store::samples::Latest;

/// The detectors of both lanes.
pub struct Engine {
    detectors: Vec<Box<dyn Detector>>,
}

/// What a look gave.
#[derive(Debug, Clone)]
pub struct Step {
    /// Findings that hold, each group with its root first and its offers.
    pub groups: Vec<Group>,
    /// Time of the newest sample that was looked at.
    pub looked: UnixMs,
    /// The input; its `state` is the one for the next look.
    pub input: HostInput,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// With every detector.
    #[must_use]
    pub fn new() -> Self {
        Self {
            detectors: hard_lane()
                .into_iter()
                .chain(soft_lane())
                .chain(entity_lane())
                .chain(operator::lane())
                .collect(),
        }
    }

    /// Adds a detector.
    pub fn add(&mut self, detector: Box<dyn Detector>) {
        self.detectors.push(detector);
    }

    /// Learns from what is new, finds, groups. `None` when there is no sample at all; then nothing changed
    /// and the input comes back.
    ///
    /// # Errors
    /// The input as it was, when it has no sample.
    pub fn step(&self, mut input: HostInput) -> Result<Step, Box<HostInput>> {
        let Some(looked) = input.window.latest().map(|latest| latest.at()) else {
            return Err(Box::new(input));
        };
        input.state.baselines.advance(&input.window, &input.open);
        input.state.entities.advance(&input.window, &input.open);
        input.standings = operator::stand(&mut input);
        let found: Vec<(Finding, Option<f64>)> = self
            .detectors
            .iter()
            .flat_map(|detector| detector.look(&input).into_iter().map(|f| (detector.odds(&input, &f), f)))
            .map(|(odds, finding)| (finding, odds))
            .collect();
        let told = found.into_iter().filter(|(finding, odds)| is_told(&mut input, finding, *odds, looked));
        let findings = told.map(|(finding, _)| finding).collect();
        let groups = correlate::group(findings, &about(&input));
        input.state.memory = input.state.memory.after(&input.window);
        Ok(Step { groups, looked, input })
    }

    /// Whether the input tells if the trouble of a finding holds.
    #[must_use]
    pub fn observes(&self, input: &HostInput, finding: &Finding) -> bool {
        let mut of = self.detectors.iter().filter(|detector| detector.category() == finding.category);
        of.any(|detector| detector.observes(input, &finding.entity))
    }
}

/// Whether a finding is told: facts are; what is soft stays untold in a maintenance window, when somebody
/// does what they are there for, and when the budget does not allow it. It is measured all the same.
fn is_told(input: &mut HostInput, finding: &Finding, odds: Option<f64>, now: UnixMs) -> bool {
    let Some(odds) = odds else { return true };
    let fingerprint = finding.fingerprint();
    let open = input.open.contains(&fingerprint);
    if !open && (input.maintenance || housekeeping::excuses(finding, now)) {
        return false;
    }
    let urgent = finding.category == Category::MemoryPressure;
    let claim = Claim { fingerprint: &fingerprint, odds, onset: finding.onset, open, urgent };
    input.state.budget.admits(&claim, now)
}

/// Whether a host's newest sample calls for a look at once; without that a host is looked at each minute,
/// and at each sample while an incident of it is open.
#[must_use]
pub fn calls(latest: &Latest) -> bool {
    gate::calls(latest)
}

/// What offers must know of the host.
fn about(input: &HostInput) -> About<'_> {
    let text = input.text();
    let Some(latest) = input.window.latest() else { return About { text, ..About::default() } };
    let quarter = latest.value(metric::MEMORY_TOTAL, "").and_then(|total| u64::try_from(total / 4).ok());
    let large = |memory: Option<u64>| memory.zip(quarter).is_some_and(|(memory, quarter)| memory > quarter);
    let units = latest.units().iter().filter(|unit| large(unit.anon_bytes.or(unit.memory_bytes)));
    About {
        mounts: latest.labels(metric::FS_TOTAL).collect(),
        large: units.map(|unit| unit.name.as_str()).collect(),
        text,
    }
}
