//! Leaves an ill server alone: pure, time is passed in.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::pace::Pace;

/// So many failures …
const FAILURES: usize = 5;
/// … within so many seconds open it.
const WITHIN: f64 = 120.0;
/// While it is open, one question goes through in so many seconds.
const PROBE_EVERY: f64 = 60.0;

/// Counts failures of tries.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: VecDeque<Instant>,
    /// When the next question may go through, while open.
    next: Option<Instant>,
}

impl Breaker {
    /// Lets a question through, or says for how long not. While open, the one that is let through is the
    /// only one until the next.
    pub(super) fn admit(&mut self, pace: &Pace, now: Instant) -> Result<(), Duration> {
        match self.next {
            Some(next) if next > now => Err(next - now),
            Some(_) => {
                self.next = Some(now + pace.seconds(PROBE_EVERY));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A try was answered.
    pub(super) fn well(&mut self) {
        self.failures.clear();
        self.next = None;
    }

    /// A try failed; true when this opens it.
    pub(super) fn ill(&mut self, pace: &Pace, now: Instant) -> bool {
        let within = pace.seconds(WITHIN);
        while self.failures.front().is_some_and(|at| now.duration_since(*at) > within) {
            self.failures.pop_front();
        }
        if self.failures.len() == FAILURES {
            self.failures.pop_front();
        }
        self.failures.push_back(now);
        let opens = self.next.is_none() && self.failures.len() == FAILURES;
        if opens || self.next.is_some() {
            self.next = Some(now + pace.seconds(PROBE_EVERY));
        }
        opens
    }

    /// Whether it is open.
    pub(super) fn is_open(&self) -> bool {
        self.next.is_some()
    }
}
