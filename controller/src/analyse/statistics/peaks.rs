//! The fast path: peaks over a threshold, and the level that only one sample in very many passes
//! (Siffer, Fouque, Termier and Largouet, "Anomaly detection in streams with extreme value theory", 2017).

use super::robust::quantile;

/// The share of samples below the threshold over which peaks are kept.
const LEVEL: f64 = 0.98;
/// Most peaks that are kept.
pub const MAX_PEAKS: usize = 48;
/// Fewer tell nothing of a tail.
const MIN_PEAKS: usize = 6;
/// The tail's shape is kept within these: beyond, few peaks bend it too far.
const SHAPE: (f64, f64) = (-0.5, 0.5);

/// Peaks are kept in single precision: what is stored and read back is the same.
fn kept(above: f64) -> f64 {
    f64::from(above as f32)
}

/// Peaks of one series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Peaks {
    /// Peaks are above this.
    pub threshold: f64,
    /// How far above, oldest first, in single precision.
    pub above: Vec<f64>,
    /// Among how many samples they were seen.
    pub seen: f64,
}

impl Peaks {
    /// From samples of a quiet time.
    #[must_use]
    pub fn learn(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let Some(threshold) = quantile(&sorted, LEVEL) else { return Self::default() };
        let mut above: Vec<f64> = samples
            .iter()
            .filter(|sample| **sample > threshold)
            .map(|sample| kept(sample - threshold))
            .collect();
        let drop = above.len().saturating_sub(MAX_PEAKS);
        above.drain(..drop);
        Self { threshold, above, seen: samples.len() as f64 }
    }

    /// Takes in a sample that is not an alarm.
    pub fn push(&mut self, sample: f64) {
        self.seen += 1.0;
        if sample > self.threshold {
            self.above.push(kept(sample - self.threshold));
        }
        if self.above.len() > MAX_PEAKS {
            self.above.remove(0);
            self.seen *= MAX_PEAKS as f64 / (MAX_PEAKS as f64 + 1.0);
        }
    }

    /// Shape and scale of the tail (probability-weighted moments, Hosking and Wallis, 1987).
    fn tail(&self) -> Option<(f64, f64)> {
        let n = self.above.len();
        if n < MIN_PEAKS {
            return None;
        }
        let mut sorted = self.above.clone();
        sorted.sort_by(f64::total_cmp);
        let mean = sorted.iter().sum::<f64>() / n as f64;
        let weighted = sorted
            .iter()
            .enumerate()
            .map(|(at, value)| value * (1.0 - (at as f64 + 0.65) / n as f64))
            .sum::<f64>()
            / n as f64;
        let apart = mean - 2.0 * weighted;
        if mean <= 0.0 || apart <= 0.0 {
            return Some((0.0, mean.max(f64::MIN_POSITIVE)));
        }
        let shape = (2.0 - mean / apart).clamp(SHAPE.0, SHAPE.1);
        Some((shape, (mean * (1.0 - shape)).max(f64::MIN_POSITIVE)))
    }

    /// The level that one sample in 1 / `rate` passes; `None` while too few peaks were seen.
    #[must_use]
    pub fn level(&self, rate: f64) -> Option<f64> {
        let (shape, scale) = self.tail()?;
        let often = rate * self.seen / self.above.len() as f64;
        let rise = if shape.abs() < 1e-6 { -often.ln() } else { (often.powf(-shape) - 1.0) / shape };
        Some(self.threshold + scale * rise.max(0.0))
    }

    /// How seldom a sample is at least this high: a share of all samples.
    #[must_use]
    pub fn odds(&self, sample: f64) -> Option<f64> {
        let (shape, scale) = self.tail()?;
        let share = self.above.len() as f64 / self.seen.max(1.0);
        let over = (sample - self.threshold) / scale;
        if over <= 0.0 {
            return Some(1.0);
        }
        let beyond =
            if shape.abs() < 1e-6 { (-over).exp() } else { (1.0 + shape * over).max(0.0).powf(-1.0 / shape) };
        Some((share * beyond).clamp(0.0, 1.0))
    }
}
