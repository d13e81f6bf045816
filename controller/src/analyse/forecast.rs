//! Slopes that a few odd points cannot bend: Theil-Sen with Kendall's interval. Pure.

use sysop_common::time::UnixMs;

/// Most points of one fit; more are thinned evenly. The number of pairs grows with the square.
const MAX_POINTS: usize = 60;
/// Two-sided 95 % of the normal distribution.
const Z_95: f64 = 1.96;

/// Change per ms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// Lower bound of the 95 % interval.
    pub low: f64,
    /// Median of all pairs.
    pub mid: f64,
    /// Upper bound.
    pub high: f64,
    /// From the first to the last point, in ms.
    pub span_ms: i64,
}

/// Fits a slope; `None` with fewer than four points.
#[must_use]
pub fn slope(points: &[(UnixMs, f64)]) -> Option<Slope> {
    let points = thin(points);
    let n = points.len();
    if n < 4 {
        return None;
    }
    let mut slopes = Vec::with_capacity(n * (n - 1) / 2);
    for (at, (t0, v0)) in points.iter().enumerate() {
        for (t1, v1) in &points[at + 1..] {
            let dt = t1.since(*t0);
            if dt > 0 {
                slopes.push((v1 - v0) / dt as f64);
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    let pairs = slopes.len() as f64;
    let size = n as f64;
    let spread = Z_95 * (size * (size - 1.0) * (2.0 * size + 5.0) / 18.0).sqrt();
    let pick = |position: f64| {
        let at = position.round().clamp(0.0, pairs - 1.0) as usize;
        slopes.get(at).copied()
    };
    Some(Slope {
        low: pick((pairs - spread) / 2.0 - 1.0)?,
        mid: pick((pairs - 1.0) / 2.0)?,
        high: pick((pairs + spread) / 2.0)?,
        span_ms: points.last()?.0.since(points.first()?.0),
    })
}

fn thin(points: &[(UnixMs, f64)]) -> Vec<(UnixMs, f64)> {
    if points.len() <= MAX_POINTS {
        return points.to_vec();
    }
    // The last point is always there: what holds now matters most.
    let last = points.len() - 1;
    (0..MAX_POINTS).map(|at| points[at * last / (MAX_POINTS - 1)]).collect()
}

/// Times at which a series fell back by more than half of its range: a cleaner ran.
#[must_use]
pub fn resets(points: &[(UnixMs, f64)]) -> Vec<UnixMs> {
    let low = points.iter().map(|(_, value)| *value).fold(f64::INFINITY, f64::min);
    let high = points.iter().map(|(_, value)| *value).fold(f64::NEG_INFINITY, f64::max);
    let drop = (high - low) / 2.0;
    if drop.is_nan() || drop <= 0.0 {
        return Vec::new();
    }
    points.windows(2).filter(|pair| pair[0].1 - pair[1].1 > drop).map(|pair| pair[1].0).collect()
}

/// When the next reset is due, by the median of the times between past ones; with at least three of them.
#[must_use]
pub fn next_reset(resets: &[UnixMs]) -> Option<UnixMs> {
    let (last, _) = (resets.last()?, resets.get(2)?);
    let mut between: Vec<i64> = resets.windows(2).map(|pair| pair[1].since(pair[0])).collect();
    between.sort_unstable();
    Some(last.plus(*between.get(between.len() / 2)?))
}
