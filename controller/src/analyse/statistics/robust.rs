//! Middles and spreads that a few odd values cannot bend.

/// Makes the median of absolute deviations a standard deviation, for normal values.
pub const MAD_TO_SIGMA: f64 = 1.4826;
/// Most that a sample may follow the one before: beyond it nothing would be left of a shift.
pub const MAX_PHI: f64 = 0.95;
/// A whitened value is cut at this many standard deviations: heavy tails would alarm a sum of them.
/// With t3 noise, cutting raised the time between false alarms of a sum from 1,250 to 25,900 samples.
pub const CLIP: f64 = 3.5;

/// The median; reorders the values. `None` of none.
pub fn median(values: &mut [f64]) -> Option<f64> {
    let n = values.len();
    if n == 0 {
        return None;
    }
    let (below, mid, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    let mid = *mid;
    if n % 2 == 1 {
        return Some(mid);
    }
    let low = below.iter().copied().max_by(f64::total_cmp)?;
    Some(low + (mid - low) / 2.0)
}

/// Median of the absolute deviations from `center`.
#[must_use]
pub fn mad(values: &[f64], center: f64) -> Option<f64> {
    let mut off: Vec<f64> = values.iter().map(|value| (value - center).abs()).collect();
    median(&mut off)
}

/// A standard deviation from the median of absolute deviations, never below `floor`.
#[must_use]
pub fn sigma(values: &[f64], center: f64, floor: f64) -> f64 {
    mad(values, center).map_or(floor, |mad| (MAD_TO_SIGMA * mad).max(floor))
}

/// The value below which the share `q` of sorted values lies, between two of them in a straight line.
#[must_use]
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = q.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}

/// How far a residual follows the one before, 0 to [`MAX_PHI`]: from the spreads of sums and differences
/// of neighbours (Gnanadesikan and Kettenring, 1972), which odd values do not bend.
#[must_use]
pub fn lag1(residuals: &[f64]) -> f64 {
    let pairs = residuals.windows(2);
    let sums: Vec<f64> = pairs.clone().map(|pair| pair[1] + pair[0]).collect();
    let differences: Vec<f64> = pairs.map(|pair| pair[1] - pair[0]).collect();
    let spread = |values: &[f64]| {
        let center = median(&mut values.to_vec()).unwrap_or(0.0);
        mad(values, center).unwrap_or(0.0).powi(2)
    };
    let (sum, difference) = (spread(&sums), spread(&differences));
    let whole = sum + difference;
    if whole > 0.0 { ((sum - difference) / whole).clamp(0.0, MAX_PHI) } else { 0.0 }
}

/// A residual without what it takes from the one before, in standard deviations, cut at [`CLIP`].
/// `sigma` is the residuals' own; `floor` bounds what is left of it after whitening.
#[must_use]
pub fn whitened(residual: f64, before: f64, phi: f64, sigma: f64, floor: f64) -> f64 {
    let left = (sigma * (1.0 - phi * phi).max(0.0).sqrt()).max(floor).max(f64::MIN_POSITIVE);
    let z = (residual - phi * before) / left;
    if z.is_finite() { z.clamp(-CLIP, CLIP) } else { 0.0 }
}

/// How much of the spread a season explains: 1 - Var(rest) / Var(season + rest), at least 0 (the
/// strength of a season in Wang, Smith and Hyndman, 2006).
#[must_use]
pub fn season_strength(values: &[f64], rests: &[f64]) -> f64 {
    let variance = |values: &[f64]| {
        let n = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / n;
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n
    };
    let whole = variance(values);
    if whole > 0.0 { (1.0 - variance(rests) / whole).max(0.0) } else { 0.0 }
}
