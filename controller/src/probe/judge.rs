//! How a probe stands after a result: failures and answers in a row, and when it is told of. Pure.

use sysop_common::ids::HostId;
use sysop_common::probe::{Outcome, ProbeState};
use sysop_common::time::UnixMs;

use crate::store::probes::Probe;
use crate::store::probes::standing::Standing;

/// A result.
#[derive(Debug, Clone, Copy)]
pub struct Result {
    /// Who ran it; `None` is this controller.
    pub runner: Option<HostId>,
    /// When.
    pub at: UnixMs,
    /// What came of it.
    pub outcome: Outcome,
    /// What the try is known by: the time that it was due at, or the host's count.
    pub slot: i64,
    /// Of a host, the agent's start.
    pub epoch: i64,
}

/// How `probe` stands after `result`. In `maintenance` failures are counted and not told of. A result that says
/// nothing of the target neither counts nor ends what is told of.
#[must_use]
pub fn next(before: Option<&Standing>, probe: &Probe, result: &Result, maintenance: bool) -> Standing {
    let state = result.outcome.state();
    let since = match before {
        Some(before) if before.outcome.state() == state => before.since,
        _ => result.at,
    };
    let (mut fails, mut passes) = before.map_or((0, 0), |before| (before.fails, before.passes));
    let mut failing_since = before.and_then(|before| before.failing_since);
    let mut told = before.and_then(|before| before.told);
    let reason = result.outcome.reason;
    // The end of a certificate and an answer that does not come are two troubles: each counts for itself.
    let other = before.is_some_and(|before| {
        let last = before.outcome.reason;
        before.fails > 0 && is_failure(last.state()) && last.is_expiry() != reason.is_expiry()
    });
    match state {
        ProbeState::Up => (fails, passes) = (0, passes.saturating_add(1)),
        ProbeState::Down | ProbeState::Warning if other => (fails, passes) = (1, 0),
        ProbeState::Down | ProbeState::Warning => (fails, passes) = (fails.saturating_add(1), 0),
        ProbeState::Unknown | ProbeState::Refused => {}
    }
    if passes >= u32::from(probe.settings.successes) {
        (failing_since, told) = (None, None);
    }
    if is_failure(state) && fails >= u32::from(probe.settings.failures) && !maintenance {
        let same = told.is_none_or(|(told, _)| told.is_expiry() == reason.is_expiry());
        failing_since = failing_since.filter(|_| same).or(Some(since));
        told = Some((reason, result.outcome.number));
    }
    Standing {
        probe: probe.id,
        runner: result.runner,
        at: result.at,
        outcome: result.outcome,
        since,
        fails,
        passes,
        failing_since,
        told,
        slot: result.slot,
        epoch: result.epoch,
    }
}

const fn is_failure(state: ProbeState) -> bool {
    matches!(state, ProbeState::Down | ProbeState::Warning)
}

/// Whether a try is due at `now`, and the time that it was due at. Each probe has its own moment within its
/// interval, so that not all start at once; one that never ran is due at once.
#[must_use]
pub fn due(probe: &Probe, last: Option<i64>, now: UnixMs) -> Option<i64> {
    let slot = slot(probe, now);
    match last {
        // A clock that was set back does not hold a probe up for longer than its interval.
        Some(last) if slot <= last && last <= now.0 => None,
        _ => Some(slot),
    }
}

fn slot(probe: &Probe, now: UnixMs) -> i64 {
    let interval = i64::from(probe.settings.interval_ms.max(1));
    // Knuth's multiplier spreads numbers that follow each other.
    let phase = i64::from(probe.id.0.wrapping_mul(2_654_435_761)) % interval;
    now.0 - (now.0 - phase).rem_euclid(interval)
}

/// How long until the next try of `probe` is due.
#[must_use]
pub fn wait_ms(probe: &Probe, now: UnixMs) -> i64 {
    slot(probe, now) + i64::from(probe.settings.interval_ms) - now.0
}
