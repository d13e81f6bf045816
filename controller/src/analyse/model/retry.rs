//! When to try again: pure but for the random fraction, which is passed in.

use std::time::Duration;

use super::fault::Again;
use super::pace::Pace;

/// Most requests for one question.
pub(super) const TRIES: u32 = 3;
/// Shortest and longest pause, in seconds.
const SHORTEST: f64 = 0.5;
const LONGEST: f64 = 20.0;
/// A server that asks for a longer pause is left alone, in seconds.
pub(super) const AFTER: f64 = 60.0;

/// The pause before the next try, after `tried` of them; none to give up. `fraction` is from 0 to 1:
/// full jitter, so that callers that failed together do not come back together.
pub(super) fn pause(
    pace: &Pace,
    tried: u32,
    again: Again,
    fraction: f64,
    left: Duration,
) -> Option<Duration> {
    if tried >= TRIES || (again == Again::Once && tried >= 2) {
        return None;
    }
    let pause = match again {
        Again::Never | Again::With(_) => return None,
        Again::Later(Some(after)) if after > pace.seconds(AFTER) => return None,
        // A little more than asked for, so that not all come in the same instant.
        Again::Later(Some(after)) => after + pace.seconds(SHORTEST * fraction),
        Again::Once | Again::Later(None) => {
            let widest = (2.0 * 4_f64.powi(i32::try_from(tried).unwrap_or(1) - 1)).min(LONGEST);
            pace.seconds(SHORTEST + (widest - SHORTEST) * fraction.clamp(0.0, 1.0))
        }
    };
    // What cannot end in time is not begun: the rules' own text comes sooner.
    (pause < left).then_some(pause)
}

/// `Retry-After`: seconds, or a date of which `now_ms` (Unix) is taken off.
pub(super) fn retry_after(pace: &Pace, text: &str, now_ms: i64) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0).then(|| pace.seconds(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp().as_millisecond();
    let ms = i32::try_from(at.saturating_sub(now_ms).max(0)).unwrap_or(i32::MAX);
    Some(pace.seconds(f64::from(ms) / 1_000.0))
}
