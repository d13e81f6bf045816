//! The durations of the wire, all multiples of one second that tests make shorter.

use std::time::Duration;

use crate::config::Timeouts;

use super::ask::Purpose;

/// Durations, in this second's measure.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    second: Duration,
    timeouts: Timeouts,
}

impl Pace {
    /// With real seconds.
    #[must_use]
    pub fn new(timeouts: Timeouts) -> Self {
        Self::scaled(timeouts, Duration::from_secs(1))
    }

    /// With seconds of another length, `Retry-After` included.
    #[must_use]
    pub fn scaled(timeouts: Timeouts, second: Duration) -> Self {
        Self { second, timeouts }
    }

    /// So many seconds.
    pub(super) fn seconds(&self, seconds: f64) -> Duration {
        self.second.mul_f64(seconds.clamp(0.0, 1e9))
    }

    /// A duration in seconds, to be told to people.
    pub(super) fn unscaled(&self, duration: Duration) -> Duration {
        let seconds = duration.as_secs_f64() / self.second.as_secs_f64().max(1e-6);
        Duration::from_secs_f64(seconds.clamp(0.0, 1e9))
    }

    fn ms(&self, ms: i64) -> Duration {
        self.second.mul_f64(f64::from(i32::try_from(ms).unwrap_or(i32::MAX).max(0)) / 1_000.0)
    }

    /// To connect.
    pub(super) fn connect(&self) -> Duration {
        self.ms(self.timeouts.connect_ms)
    }

    /// Between two pieces of an answer.
    pub(super) fn read(&self) -> Duration {
        self.ms(self.timeouts.read_ms)
    }

    /// Everything together, for a purpose.
    #[must_use]
    pub fn deadline(&self, purpose: Purpose) -> Duration {
        self.ms(match purpose {
            Purpose::Triage | Purpose::Test => self.timeouts.triage_ms,
            Purpose::DeepDive | Purpose::Probe => self.timeouts.deep_ms,
        })
    }
}
