//! The slow path: sums of what is too much and of what is too little, and a moving average that must
//! agree with them.

use super::random::Seeded;
use super::robust::CLIP;

/// Slack per sample in standard deviations: tuned to shifts of one standard deviation.
pub const SLACK: f64 = 0.5;
/// No threshold lies below this. Whitened and clipped t3 noise passes 12.5 once in 25,900 samples and
/// 16 once in about 700,000.
pub const FLOOR: f64 = 16.0;
/// Nor above this: what needs more never alarms.
pub const CEILING: f64 = 60.0;
/// Weight of the newest sample in the average that must agree.
const LAMBDA: f64 = 0.1;
/// The average must be this many of its own standard deviations away.
const AGREE: f64 = 3.0;
/// Draws of a calibration, and samples that are drawn together so that what follows each other stays so.
const DRAWS: usize = 20_000;
const BLOCK: usize = 60;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// More than usual.
    Up,
    /// Less than usual.
    Down,
}

/// The sums so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cusum {
    /// What was too much.
    pub up: f64,
    /// What was too little.
    pub down: f64,
    /// Samples since `up` was 0: the shift began then.
    pub up_for: u32,
    /// Samples since `down` was 0.
    pub down_for: u32,
    /// The moving average.
    pub average: f64,
}

impl Cusum {
    /// Takes in a whitened sample.
    pub fn push(&mut self, z: f64) {
        self.up = (self.up + z - SLACK).max(0.0);
        self.down = (self.down - z - SLACK).max(0.0);
        self.up_for = if self.up > 0.0 { self.up_for.saturating_add(1) } else { 0 };
        self.down_for = if self.down > 0.0 { self.down_for.saturating_add(1) } else { 0 };
        self.average += LAMBDA * (z - self.average);
        // A sum that no threshold needs any more would take long to come back.
        self.up = self.up.min(2.0 * CEILING);
        self.down = self.down.min(2.0 * CEILING);
    }

    /// The shift that both the sums and the average see, and how many samples ago it began.
    #[must_use]
    pub fn alarm(&self, threshold: f64) -> Option<(Way, u32)> {
        let limit = AGREE * (LAMBDA / (2.0 - LAMBDA)).sqrt();
        if self.up > threshold && self.average > limit {
            Some((Way::Up, self.up_for))
        } else if self.down > threshold && self.average < -limit {
            Some((Way::Down, self.down_for))
        } else {
            None
        }
    }
}

/// The threshold at which a series alarms at most `rate` times per sample for nothing: its own whitened
/// samples are drawn again in blocks, the heights of the sums' excursions are kept, and their upper tail,
/// which falls off exponentially, is drawn out to that rate.
#[must_use]
pub fn calibrate(whitened: &[f64], rate: f64, seed: u64) -> f64 {
    if whitened.len() < 2 * BLOCK || rate <= 0.0 {
        return FLOOR;
    }
    let heights = excursions(whitened, seed);
    let n = heights.len();
    if n < 50 {
        // The sums hardly ever came back to 0, or never left it.
        let highest = heights.last().copied().unwrap_or(0.0);
        return if n > 0 && highest > FLOOR { CEILING } else { FLOOR };
    }
    let upper = n * 9 / 10;
    let base = heights[upper];
    let beyond = &heights[upper..];
    let mean = beyond.iter().map(|height| height - base).sum::<f64>() / beyond.len() as f64;
    let often = beyond.len() as f64 / DRAWS as f64;
    let threshold = base + mean.max(1e-3) * (often / rate).max(1.0).ln();
    threshold.clamp(FLOOR, CEILING)
}

/// Heights of the excursions of both sums from 0, sorted.
fn excursions(whitened: &[f64], seed: u64) -> Vec<f64> {
    let mut random = Seeded::new(seed);
    let mut heights = Vec::new();
    let (mut sum, mut top) = ([0.0f64; 2], [0.0f64; 2]);
    let mut drawn = 0;
    while drawn < DRAWS {
        let from = random.below(whitened.len() - BLOCK + 1);
        for z in &whitened[from..from + BLOCK] {
            let z = z.clamp(-CLIP, CLIP);
            for (side, z) in [z, -z].into_iter().enumerate() {
                sum[side] = (sum[side] + z - SLACK).max(0.0);
                if sum[side] > 0.0 {
                    top[side] = top[side].max(sum[side]);
                } else if top[side] > 0.0 {
                    heights.push(top[side]);
                    top[side] = 0.0;
                }
            }
        }
        drawn += BLOCK;
    }
    heights.extend(top.into_iter().filter(|top| *top > 0.0));
    heights.sort_by(f64::total_cmp);
    heights
}
