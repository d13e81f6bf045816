//! One look at one host, without a store and without a clock: state and samples in, groups of findings
//! and the next state out. The same input gives the same findings, byte for byte, whether the samples
//! come from a live host, a recording or a generator.

use sysop_common::finding::Finding;
use sysop_common::metric;
use sysop_common::time::UnixMs;

use super::correlate::{self, Group};
use super::gate;
use super::input::HostInput;
use super::offers::About;
use super::rules::{Detector, hard_lane};
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
        Self { detectors: hard_lane() }
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
        let findings: Vec<Finding> =
            self.detectors.iter().flat_map(|detector| detector.look(&input)).collect();
        let groups = correlate::group(findings, &about(&input));
        input.state.memory = input.state.memory.after(&input.window);
        Ok(Step { groups, looked, input })
    }

    /// Whether the input tells if the trouble of a finding holds.
    #[must_use]
    pub fn observes(&self, input: &HostInput, finding: &Finding) -> bool {
        let of = self.detectors.iter().find(|detector| detector.category() == finding.category);
        of.is_some_and(|detector| detector.observes(input, &finding.entity))
    }
}

/// Whether a host's newest sample calls for a look at once; without that a host is looked at each minute,
/// and at each sample while an incident of it is open.
#[must_use]
pub fn calls(latest: &Latest) -> bool {
    gate::calls(latest)
}

/// What offers must know of the host.
fn about(input: &HostInput) -> About<'_> {
    let mounts = input.window.latest().map(|latest| latest.labels(metric::FS_TOTAL).collect());
    About { mounts: mounts.unwrap_or_default(), text: input.text() }
}
