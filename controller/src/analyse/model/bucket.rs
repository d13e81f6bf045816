//! Keeps to limits of requests and tokens in a minute, ours and the server's: pure, time is passed in.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use crate::config::Limits;

use super::pace::Pace;

/// One allowance that fills again over a minute.
#[derive(Debug)]
struct Bucket {
    capacity: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    fn new(capacity: u32, now: Instant) -> Self {
        let capacity = f64::from(capacity);
        Self { capacity, level: capacity, at: now }
    }

    fn fill(&mut self, pace: &Pace, now: Instant) {
        let part = now.duration_since(self.at).as_secs_f64() / pace.seconds(60.0).as_secs_f64();
        self.level = (self.level + part * self.capacity).min(self.capacity);
        self.at = now;
    }

    /// How long until `amount` is there. More than the whole is let through when it is full.
    fn wait(&self, pace: &Pace, amount: f64) -> Duration {
        let lacking = (amount.min(self.capacity) - self.level).max(0.0);
        if lacking < 1e-9 { Duration::ZERO } else { pace.seconds(60.0 * lacking / self.capacity) }
    }
}

/// Both allowances, and a pause that the server asked for.
#[derive(Debug)]
pub(super) struct Buckets {
    requests: Bucket,
    tokens: Bucket,
    hold: Option<Instant>,
}

impl Buckets {
    pub(super) fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            requests: Bucket::new(limits.requests_per_minute, now),
            tokens: Bucket::new(limits.tokens_per_minute, now),
            hold: None,
        }
    }

    /// Takes a request of `tokens`, or says how long to wait before asking again.
    pub(super) fn take(&mut self, pace: &Pace, tokens: u64, now: Instant) -> Result<(), Duration> {
        let held = self.held(now);
        if held > Duration::ZERO {
            return Err(held);
        }
        self.requests.fill(pace, now);
        self.tokens.fill(pace, now);
        let amount = as_f64(tokens);
        let wait = self.requests.wait(pace, 1.0).max(self.tokens.wait(pace, amount));
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.requests.level -= 1.0;
        self.tokens.level -= amount;
        Ok(())
    }

    /// What a request took, when it was reckoned with `reckoned`.
    pub(super) fn settle(&mut self, reckoned: u64, took: u64) {
        let back = as_f64(reckoned) - as_f64(took);
        self.tokens.level = (self.tokens.level + back).min(self.tokens.capacity);
    }

    /// How long the server wants to be left alone.
    pub(super) fn held(&self, now: Instant) -> Duration {
        self.hold.map_or(Duration::ZERO, |hold| hold.saturating_duration_since(now))
    }

    /// The server asked for a pause.
    pub(super) fn hold(&mut self, pause: Duration, now: Instant) {
        let until = now + pause;
        self.hold = Some(self.hold.map_or(until, |hold| hold.max(until)));
    }

    /// Takes over what the server says is left. It can only lower what we allow ourselves.
    pub(super) fn feed(&mut self, pace: &Pace, headers: &HeaderMap, now: Instant) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        for (bucket, kind) in [(&mut self.requests, "requests"), (&mut self.tokens, "tokens")] {
            bucket.fill(pace, now);
            let left =
                text(&format!("x-ratelimit-remaining-{kind}")).and_then(|text| text.trim().parse().ok());
            let Some(left) = left.filter(|left: &f64| left.is_finite() && *left >= 0.0) else { continue };
            bucket.level = bucket.level.min(left);
            let reset = text(&format!("x-ratelimit-reset-{kind}")).and_then(seconds);
            if left < 1.0
                && let Some(reset) = reset.filter(|seconds| *seconds <= 60.0)
            {
                let until = now + pace.seconds(reset);
                self.hold = Some(self.hold.map_or(until, |hold| hold.max(until)));
            }
        }
    }
}

/// Tokens are far below 2^52.
#[allow(clippy::cast_precision_loss, reason = "an allowance, not an account")]
fn as_f64(tokens: u64) -> f64 {
    tokens as f64
}

/// A span as servers write it: `120ms`, `1s`, `6m0s`, `1h2m3.5s`, or bare seconds.
fn seconds(text: &str) -> Option<f64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.is_finite() && seconds >= 0.0).then_some(seconds);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(unit);
        let factor = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = next;
    }
    (total > 0.0 || text.starts_with('0')).then_some(total)
}
