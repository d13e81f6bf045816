//! Slopes with an interval that neighbours who follow each other do not make too narrow.

use super::distribution::normal_tail;
use super::robust::median;

/// Most points of one fit; more are thinned evenly. The number of pairs grows with the square.
pub const MAX_POINTS: usize = 60;
/// Two-sided 95 % of the normal distribution.
const Z_95: f64 = 1.96;

/// A slope per unit of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Lower bound of the 95 % interval.
    pub low: f64,
    /// Median of the slopes of all pairs (Sen, 1968).
    pub mid: f64,
    /// Upper bound.
    pub high: f64,
    /// How odd so many rises, or falls, are without a trend: one-sided, of the way that `mid` goes.
    pub p: f64,
}

/// The trend of points `(time, value)` in order of time, about evenly apart; `None` with fewer than four.
#[must_use]
pub fn trend(points: &[(f64, f64)]) -> Option<Trend> {
    let points = thin(points);
    let n = points.len();
    if n < 4 {
        return None;
    }
    let mut slopes = Vec::with_capacity(n * (n - 1) / 2);
    let mut score: f64 = 0.0;
    for (at, (t0, v0)) in points.iter().enumerate() {
        for (t1, v1) in &points[at + 1..] {
            if t1 > t0 {
                slopes.push((v1 - v0) / (t1 - t0));
                score += if v1 > v0 { 1.0 } else { 0.0 } - if v1 < v0 { 1.0 } else { 0.0 };
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    let mid = median(&mut slopes.clone())?;
    let size = n as f64;
    let plain = size * (size - 1.0) * (2.0 * size + 5.0) / 18.0;
    let deviation = (plain * inflation(&points, mid)).sqrt();
    let pairs = slopes.len() as f64;
    let pick = |position: f64| slopes[position.round().clamp(0.0, pairs - 1.0) as usize];
    let spread = Z_95 * deviation;
    let z = (score.abs() - 1.0).max(0.0) / deviation;
    Some(Trend {
        low: pick((pairs - spread) / 2.0 - 1.0),
        mid,
        high: pick((pairs + spread) / 2.0),
        p: normal_tail(z),
    })
}

/// How much wider the score spreads when neighbours follow each other (Hamed and Rao, 1998): from the
/// significant autocorrelations of the ranks without the trend, or from the first of them fading evenly if
/// that is wider. Never below 1.
fn inflation(points: &[(f64, f64)], slope: f64) -> f64 {
    let n = points.len();
    let rests: Vec<f64> = points.iter().map(|(at, value)| value - slope * at).collect();
    let ranks = ranks(&rests);
    let size = n as f64;
    let mean = (size + 1.0) / 2.0;
    let whole: f64 = ranks.iter().map(|rank| (rank - mean).powi(2)).sum();
    if whole <= 0.0 {
        return 1.0;
    }
    let together = |lag: usize| {
        let moved = ranks.iter().zip(&ranks[lag..]);
        moved.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / whole
    };
    let limit = Z_95 / size.sqrt();
    let (mut sum, mut fading) = (0.0, 0.0);
    // Short series show less than they have (Kendall's correction); what fades evenly is a lower bound.
    let first = together(1);
    let first = (first + (1.0 + 3.0 * first) / size).clamp(0.0, 0.95);
    for lag in 1..n - 2 {
        let (left, here) = (size - lag as f64, together(lag));
        let weight = left * (left - 1.0) * (left - 2.0);
        sum += if here.abs() > limit { weight * here } else { 0.0 };
        fading += if first > limit { weight * first.powf(lag as f64) } else { 0.0 };
    }
    (1.0 + 2.0 * sum.max(fading) / (size * (size - 1.0) * (size - 2.0))).max(1.0)
}

/// Ranks from 1; equal values share theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]).then(a.cmp(b)));
    let mut ranks = vec![0.0; values.len()];
    let mut at = 0;
    while at < order.len() {
        let mut end = at;
        while end + 1 < order.len() && values[order[end + 1]] == values[order[at]] {
            end += 1;
        }
        let rank = (at + end) as f64 / 2.0 + 1.0;
        order[at..=end].iter().for_each(|index| ranks[*index] = rank);
        at = end + 1;
    }
    ranks
}

fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    // The last point is always there: what holds now matters most.
    let last = points.len() - 1;
    (0..MAX_POINTS).map(|at| points[at * last / (MAX_POINTS - 1)]).collect()
}
