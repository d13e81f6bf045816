//! Change points: the split that sets two parts of a series furthest apart, kept when a test agrees
//! (E-divisive of Matteson and James, 2014, with a test in place of permutations, as in Fleming and
//! others, "Hunter", 2023: the same points every time).

use super::distribution::student_tail;

/// A part has at least so many samples.
const LEAST: usize = 12;
/// A split must be this unlikely by chance.
const MOST_P: f64 = 0.001;
/// And this large, in standard deviations within the parts.
const LEAST_EFFECT: f64 = 1.0;
/// Most samples that are looked at; the time grows with the square.
const MAX_SAMPLES: usize = 512;

/// A change of level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// First sample of the new level.
    pub at: usize,
    /// Mean before it, back to the change before.
    pub before: f64,
    /// Mean from it on, up to the next change.
    pub after: f64,
    /// How unlikely by chance.
    pub p: f64,
}

/// Changes of level in the newest [`MAX_SAMPLES`], in order.
#[must_use]
pub fn changes(values: &[f64]) -> Vec<Change> {
    let skip = values.len().saturating_sub(MAX_SAMPLES);
    let mut found = Vec::new();
    split(&values[skip..], skip, &mut found);
    found.sort_by_key(|change: &Change| change.at);
    found
}

fn split(values: &[f64], offset: usize, found: &mut Vec<Change>) {
    let Some(at) = furthest(values) else { return };
    let (before, after) = values.split_at(at);
    let (p, effect) = apart(before, after);
    if p >= MOST_P || effect < LEAST_EFFECT {
        return;
    }
    found.push(Change { at: offset + at, before: mean(before), after: mean(after), p });
    split(before, offset, found);
    split(after, offset + at, found);
}

/// The split with the largest energy distance between its parts.
fn furthest(values: &[f64]) -> Option<usize> {
    let n = values.len();
    if n < 2 * LEAST {
        return None;
    }
    let between = |a: usize, b: usize| (values[a] - values[b]).abs();
    // Sums of distances within the left part, within the right part and across, moved sample by sample.
    let (mut left, mut across) = (0.0, 0.0);
    let mut right: f64 = (0..n).map(|a| (a + 1..n).map(|b| between(a, b)).sum::<f64>()).sum();
    let mut best: Option<(f64, usize)> = None;
    for at in 0..n - LEAST {
        let to_left: f64 = (0..at).map(|other| between(at, other)).sum();
        let to_right: f64 = (at + 1..n).map(|other| between(at, other)).sum();
        left += to_left;
        right -= to_right;
        across += to_right - to_left;
        let (m, k) = ((at + 1) as f64, (n - at - 1) as f64);
        if at + 1 < LEAST {
            continue;
        }
        let within = |sum: f64, size: f64| if size > 1.0 { 2.0 * sum / (size * (size - 1.0)) } else { 0.0 };
        let energy = m * k / (m + k) * (2.0 * across / (m * k) - within(left, m) - within(right, k));
        if best.is_none_or(|(known, _)| energy > known) {
            best = Some((energy, at + 1));
        }
    }
    best.filter(|(energy, _)| *energy > 0.0).map(|(_, at)| at)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    let n = values.len().max(2) as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0)
}

/// Welch's test: how unlikely the difference of means is, and its size in standard deviations.
fn apart(a: &[f64], b: &[f64]) -> (f64, f64) {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let (va, vb) = (variance(a), variance(b));
    let difference = (mean(b) - mean(a)).abs();
    let pooled = (((n - 1.0) * va + (m - 1.0) * vb) / (n + m - 2.0)).sqrt();
    if pooled <= 0.0 {
        return if difference > 0.0 { (0.0, f64::INFINITY) } else { (1.0, 0.0) };
    }
    let (ea, eb) = (va / n, vb / m);
    let df = (ea + eb).powi(2) / (ea.powi(2) / (n - 1.0) + eb.powi(2) / (m - 1.0)).max(f64::MIN_POSITIVE);
    (2.0 * student_tail(difference / (ea + eb).sqrt(), df.max(1.0)), difference / pooled)
}
