//! What to do next about an incident: at most one run, or none. Pure.

use sysop_common::action::{Action, RunState};
use sysop_common::time::UnixMs;

use super::policy::Wait;

/// Tries without success of one action on one target within one incident, automatic and proposed ones
/// together.
pub const MAX_ATTEMPTS: u32 = 2;
/// Trouble seen again this long after a repair was verified came back.
pub const CAME_BACK_MS: i64 = 30_000;

/// An offer with what policy says of it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// What.
    pub action: Action,
    /// What keeps it from running by itself; empty means that it may.
    pub waits: Vec<Wait>,
}

/// A run that the incident had.
#[derive(Debug, Clone)]
pub struct Past {
    /// What.
    pub action: Action,
    /// Which try.
    pub attempt: u32,
    /// Where it stands.
    pub state: RunState,
    /// Whether it still holds its intent: open, or unknown and not settled by a person.
    pub pending: bool,
    /// Whether policy withdrew it, because the trouble was gone.
    pub withdrawn: bool,
    /// When it last changed.
    pub updated_at: UnixMs,
}

/// What is to be planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Position of the offer.
    pub offer: usize,
    /// Which try.
    pub attempt: u32,
    /// Whether it may run by itself.
    pub automatic: bool,
}

/// The next run for an incident whose trouble was last seen at `last_true`.
///
/// Nothing while one is open or unknown, while a verified repair may still show its effect, or where
/// a person rejected, the host refused, or the tries are used up. What failed once waits for a person
/// (see [`failed_before`]); there is no loop of retries.
#[must_use]
pub fn next(offers: &[Judged], past: &[Past], last_true: UnixMs) -> Option<Planned> {
    if past.iter().any(|run| run.pending) {
        return None;
    }
    let repaired = past.iter().filter(|run| run.state == RunState::Verified).map(|run| run.updated_at).max();
    if repaired.is_some_and(|at| last_true.since(at) < CAME_BACK_MS) {
        return None;
    }
    let candidates: Vec<Planned> = offers
        .iter()
        .enumerate()
        .filter_map(|(offer, judged)| {
            let attempt = attempt_of(&judged.action, past)?;
            let possible = !judged.waits.contains(&Wait::MonitorOnly);
            possible.then_some(Planned { offer, attempt, automatic: judged.waits.is_empty() })
        })
        .collect();
    let granted = |planned: &&Planned| {
        !offers[planned.offer].waits.iter().any(|wait| matches!(wait, Wait::NotGranted(_)))
    };
    let fresh = |planned: &&Planned| planned.attempt == 1 && granted(planned);
    candidates
        .iter()
        .find(|planned| planned.automatic)
        .or_else(|| candidates.iter().find(fresh))
        .or_else(|| candidates.iter().find(granted))
        .or_else(|| candidates.first())
        .cloned()
}

/// Whether an action on the incident failed in a way that a person should look at.
#[must_use]
pub fn failed_before(past: &[Past]) -> bool {
    past.iter().any(|run| {
        matches!(
            run.state,
            RunState::Failed
                | RunState::TimedOut
                | RunState::NotVerified
                | RunState::Unknown
                | RunState::Undone
        )
    })
}

/// The number of the next try; `None` when there is none.
fn attempt_of(action: &Action, past: &[Past]) -> Option<u32> {
    let (name, target) = (action.name(), action.target());
    let same = || past.iter().filter(|run| run.action.name() == name && run.action.target() == target);
    let settled = |run: &Past| {
        matches!(run.state, RunState::Rejected | RunState::Refused)
            || (run.state == RunState::Cancelled && !run.withdrawn)
    };
    // What never reached the host, and what helped, does not count as a try, but keeps its number.
    let counts = |run: &&Past| !run.withdrawn && !matches!(run.state, RunState::Expired | RunState::Verified);
    let tried = same().filter(counts).count();
    if same().any(settled) || tried >= MAX_ATTEMPTS as usize || same().count() >= 10 {
        return None;
    }
    Some(same().map(|run| run.attempt).max().unwrap_or(0) + 1)
}
