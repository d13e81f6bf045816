//! Waiting between attempts: full jitter, so that a fleet that lost its controller at one moment does
//! not come back at one moment.

use std::time::Duration;

/// The first wait without a window is at most this.
const BASE: Duration = Duration::from_secs(1);
/// A controller may not put an agent off for longer.
const MAX_WINDOW: Duration = Duration::from_secs(600);

/// How long to wait before the next attempt.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    cap: Duration,
    window: Option<Duration>,
    failures: u32,
}

impl Backoff {
    /// With the longest wait while no controller gave a window.
    pub(super) const fn new(cap: Duration) -> Self {
        Self { cap, window: None, failures: 0 }
    }

    /// The window over which the controller wants its fleet spread. It overrides the cap, and the first
    /// wait is spread over all of it.
    pub(super) fn set_window(&mut self, window: Duration) {
        self.window = (!window.is_zero()).then_some(window.min(MAX_WINDOW));
    }

    /// An attempt led to a session that did its work.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The next wait; `random` is drawn evenly from 0 to 1.
    pub(super) fn next(&mut self, random: f64) -> Duration {
        let grown = BASE.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        self.window.unwrap_or(grown.min(self.cap)).mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn waits_grow_to_the_cap_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(seconds(60));
        let waits: Vec<u64> = (0..8).map(|_| backoff.next(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.next(0.0), Duration::ZERO);
        assert_eq!(backoff.next(0.5), seconds(30));
        backoff.succeeded();
        assert_eq!(backoff.next(1.0), seconds(1));
    }

    #[test]
    fn the_controllers_window_overrides_the_cap_from_the_first_wait_on() {
        let mut backoff = Backoff::new(seconds(60));
        backoff.set_window(seconds(100));
        assert_eq!((backoff.next(1.0), backoff.next(0.5)), (seconds(100), seconds(50)));
        backoff.set_window(Duration::from_millis(u64::from(u32::MAX)));
        assert_eq!(backoff.next(1.0), MAX_WINDOW);
        backoff.set_window(Duration::ZERO);
        backoff.succeeded();
        assert_eq!(backoff.next(1.0), seconds(1));
    }
}
