//! Which state follows from a host's word. Pure.

use sysop_common::action::{Event, Refusal, RunState};

/// The state after `event` in `state`; `None` when it changes nothing.
///
/// A late word after `unknown`, or after a controller's own `expired`, settles the run; nothing else
/// that ended moves again, and nothing moves backwards.
#[must_use]
pub fn next(state: RunState, event: &Event) -> Option<RunState> {
    use RunState::{Accepted, Cancelled, Failed, Refused, Started, Succeeded, TimedOut, Unknown};
    let before_start = || waits_for_start(state) || state == Accepted;
    let before_end = || before_start() || state == Started;
    match event {
        Event::Accepted => waits_for_start(state).then_some(Accepted),
        Event::Started => before_start().then_some(Started),
        Event::Finished { state: end @ (Succeeded | Failed | TimedOut), .. } => before_end().then_some(*end),
        Event::Finished { .. } | Event::Duplicate => None,
        // Other bytes ran under this id: what became of ours is not known.
        Event::Refused { reason: Refusal::Replayed, .. } => {
            (waits_for_start(state) && state != Unknown).then_some(Unknown)
        }
        Event::Refused { .. } => before_start().then_some(Refused),
        Event::Cancelled => before_start().then_some(Cancelled),
        Event::Unknown { .. } => (before_end() && state != Unknown).then_some(Unknown),
        Event::Checked { verified, .. } => {
            let seen = if *verified { RunState::Verified } else { RunState::NotVerified };
            (state == Succeeded).then_some(seen)
        }
    }
}

/// Whether the host may have the order and no word of it has come.
const fn waits_for_start(state: RunState) -> bool {
    matches!(
        state,
        RunState::Approved | RunState::Claimed | RunState::Sent | RunState::Unknown | RunState::Expired
    )
}

/// The word under which an event is stored.
#[must_use]
pub const fn word(event: &Event) -> &'static str {
    match event {
        Event::Accepted => "accepted",
        Event::Started => "started",
        Event::Finished { state, .. } => state.word(),
        Event::Refused { .. } => "refused",
        Event::Cancelled => "cancelled",
        Event::Unknown { .. } => "unknown",
        Event::Checked { verified: true, .. } => "verified",
        Event::Checked { verified: false, .. } => "not_verified",
        Event::Duplicate => "duplicate",
    }
}
