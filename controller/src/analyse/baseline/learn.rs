//! One series: what is normal for it, and how its newest minute compares.

use sysop_common::time::{DAY_MS, HOUR_MS, MINUTE_MS, UnixMs};

use super::ring::{Ring, squeeze, widen};
use super::signal::Signal;
use crate::analyse::statistics::change::changes;
use crate::analyse::statistics::cusum::{Cusum, FLOOR, Way, calibrate};
use crate::analyse::statistics::distribution::student_tail;
use crate::analyse::statistics::peaks::Peaks;
use crate::analyse::statistics::robust::{lag1, median, season_strength, sigma, whitened};

/// Minutes that are kept one by one: what a minute's noise is like.
const RECENT: usize = 120;
/// Medians of ten minutes that are kept: a day.
const DAY: usize = 144;
/// Minutes of one such median.
const TEN: usize = 10;
/// Hours of a week.
pub(super) const WEEK: usize = 168;
/// Weeks that a season remembers.
const MOST_WEEKS: u8 = 4;
/// Samples per week of an hour, and how many the mean of all hours counts for: few weeks say little.
const PER_WEEK: f64 = 12.0;
const SHRINK: f64 = 24.0;
/// A season is used when it explains this much of the spread.
const STRONG: f64 = 0.3;
/// Spread below this share of the level means nothing.
const RELATIVE_FLOOR: f64 = 0.03;
/// Younger ones have no say but by absolute limits.
pub const GROWN_UP_MS: i64 = DAY_MS;
/// Younger ones have no season, and limits half as high again.
pub const WISE_MS: i64 = 7 * DAY_MS;
/// How often a minute may be called odd for nothing, over all series of a host and a day: 0.02 by the
/// fast path, 0.05 by the slow one.
const FAST_RATE: f64 = 0.02 / 1_440.0;
const SLOW_RATE: f64 = 0.05 / 1_440.0;
/// What a minute is at least this often, some three times a day, is no news.
const FAMILIAR: f64 = 2e-3;
/// A trouble that lasts this long without a change of level is how things are now.
const NEW_NORMAL: usize = DAY;

/// What is normal.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Fit {
    /// Middle of the residuals' spread: the level, or what is left of it beside the season.
    pub center: f64,
    /// Standard deviation of the residuals.
    pub sigma: f64,
    /// How far a minute follows the one before.
    pub phi: f64,
    /// Threshold of the sums.
    pub threshold: f64,
    /// Level that the fast path alarms at, above `center`; 0 while it is not known.
    pub level: f64,
    /// Whether the hour of the week counts.
    pub season: bool,
}

/// A baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// Of what.
    pub signal: Signal,
    /// Of which disk or interface.
    pub label: String,
    /// First and newest minute, counted since 1970.
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) recent: Ring,
    pub(super) ten: Ring,
    pub(super) day: Ring,
    /// Medians of ten minutes while trouble is open: what may become normal.
    pub(super) aside: Ring,
    /// Per hour of the week: level, and how many weeks are in it. Empty at first.
    pub(super) week: Vec<(u16, u8)>,
    pub(super) fit: Fit,
    pub(super) fitted: i64,
    pub(super) calibrated: i64,
    pub(super) sums: Cusum,
    pub(super) before: f64,
    pub(super) peaks: Peaks,
    /// Which of the newest minutes passed the fast path's level, newest in the lowest bit.
    pub(super) hits: u8,
    pub(super) value: f64,
    pub(super) z: f64,
    pub(super) odds: f64,
}

impl Learned {
    pub(super) fn new(signal: Signal, label: &str, minute: i64) -> Self {
        Self {
            signal,
            label: label.to_owned(),
            first: minute,
            last: minute - 1,
            recent: Ring::default(),
            ten: Ring::default(),
            day: Ring::default(),
            aside: Ring::default(),
            week: Vec::new(),
            fit: Fit { threshold: FLOOR, ..Fit::default() },
            fitted: 0,
            calibrated: 0,
            sums: Cusum::default(),
            before: 0.0,
            peaks: Peaks::default(),
            hits: 0,
            value: 0.0,
            z: 0.0,
            odds: 1.0,
        }
    }

    /// How long it has been learned, in ms.
    #[must_use]
    pub const fn age_ms(&self) -> i64 {
        (self.last + 1 - self.first) * MINUTE_MS
    }

    /// Whether it may have a say beside absolute limits.
    #[must_use]
    pub const fn grown_up(&self) -> bool {
        self.age_ms() >= GROWN_UP_MS && self.fitted > 0
    }

    /// The newest minute's value.
    #[must_use]
    pub const fn value(&self) -> f64 {
        self.value
    }

    /// What it should have been.
    #[must_use]
    pub fn expected(&self) -> f64 {
        (self.fit.center + self.season(self.last)).max(0.0)
    }

    /// How many standard deviations off it is; not cut. 0 while too little is known.
    #[must_use]
    pub fn z(&self) -> f64 {
        if self.grown_up() { self.z } else { 0.0 }
    }

    /// How seldom a minute is this high, as a share of all; 1 while too little is known.
    #[must_use]
    pub fn odds(&self) -> f64 {
        if self.grown_up() { self.odds } else { 1.0 }
    }

    /// What is normal.
    #[must_use]
    pub const fn fit(&self) -> &Fit {
        &self.fit
    }

    /// A lasting shift upwards, and when it began.
    #[must_use]
    pub fn shifted_up(&self) -> Option<UnixMs> {
        if !self.grown_up() {
            return None;
        }
        let (way, ago) = self.sums.alarm(self.fit.threshold * self.caution())?;
        (way == Way::Up).then(|| UnixMs((self.last + 1 - i64::from(ago)) * MINUTE_MS))
    }

    /// Two of the newest three minutes passed a level that hardly any passes.
    #[must_use]
    pub const fn peaked(&self) -> bool {
        self.grown_up() && (self.hits & 0b111).count_ones() >= 2
    }

    /// Whether the newest minute is how it usually is at this time, as far as is known: then what an
    /// absolute limit says is no news.
    #[must_use]
    pub fn usual(&self) -> bool {
        let near = self.z < 3.0 || self.odds > FAMILIAR;
        self.grown_up() && near && self.shifted_up().is_none() && !self.peaked()
    }

    const fn caution(&self) -> f64 {
        if self.age_ms() < WISE_MS { 1.5 } else { 1.0 }
    }

    /// The season's part at a minute.
    fn season(&self, minute: i64) -> f64 {
        if self.fit.season { self.season_at(minute) - self.season_middle() } else { 0.0 }
    }

    fn season_at(&self, minute: i64) -> f64 {
        let middle = self.season_middle();
        let Some((level, weeks)) = self.week.get(hour_of_week(minute)) else { return middle };
        let n = f64::from(*weeks) * PER_WEEK;
        (n * widen(*level) + SHRINK * middle) / (n + SHRINK)
    }

    fn season_middle(&self) -> f64 {
        let mut known: Vec<f64> =
            self.week.iter().filter(|(_, weeks)| *weeks > 0).map(|(level, _)| widen(*level)).collect();
        median(&mut known).unwrap_or(0.0)
    }

    fn floor(&self) -> f64 {
        self.signal.floor().max(RELATIVE_FLOOR * self.fit.center.abs())
    }

    /// Takes in the value of a minute. `frozen`: trouble is open, so nothing is learned from it.
    pub(super) fn push(&mut self, minute: i64, value: f64, frozen: bool, series: usize) {
        if minute <= self.last {
            return;
        }
        let follows = minute == self.last + 1;
        self.last = minute;
        self.value = value;
        if self.fitted > 0 {
            self.compare(minute, value, follows, frozen);
        }
        if frozen {
            self.set_aside(value);
            return;
        }
        self.aside.clear();
        self.recent.push(value, RECENT);
        self.ten.push(value, TEN);
        if self.ten.len() == TEN {
            self.close_ten(minute);
        }
        // Soon at first, then seldom; each series in its own minute.
        let phase = self.signal as i64 % 30;
        let every = if self.age_ms() < GROWN_UP_MS { 30 } else { 180 };
        if self.recent.len() >= 30 && (self.fitted == 0 || minute >= self.fitted + every + phase) {
            self.refit(minute, series);
        }
    }

    fn compare(&mut self, minute: i64, value: f64, follows: bool, frozen: bool) {
        let residual = value - self.season(minute) - self.fit.center;
        let before = if follows { self.before } else { 0.0 };
        let (phi, sigma, floor) = (self.fit.phi, self.fit.sigma, self.floor());
        self.z = residual / sigma.max(floor);
        self.sums.push(whitened(residual, before, phi, sigma, floor));
        self.before = residual;
        let passed = self.fit.level > 0.0 && residual > self.fit.level * self.caution().sqrt();
        self.hits = (self.hits << 1 | u8::from(passed)) & 0x7f;
        let odds = self.peaks.odds(residual).filter(|odds| *odds < 1.0);
        // Without a tail of its own: one that is heavier than most.
        self.odds = odds.unwrap_or_else(|| student_tail(self.z.max(0.0), 4.0)).max(1e-12);
        // In its first day a series shows what its peaks are; later what is odd does not become normal.
        if !frozen && (!passed || !self.grown_up()) {
            self.peaks.push(residual);
        }
    }

    fn close_ten(&mut self, minute: i64) {
        let middle = median(&mut self.ten.values()).unwrap_or(0.0);
        self.ten.clear();
        self.day.push(middle, DAY);
        // The end of an hour: its level goes into the season.
        if minute % 60 >= 50 && self.day.len() >= 6 {
            let level = median(&mut self.day.newest(6)).unwrap_or(0.0);
            self.learn_hour(minute, level);
        }
    }

    fn learn_hour(&mut self, minute: i64, level: f64) {
        if self.week.is_empty() {
            self.week = vec![(0, 0); WEEK];
        }
        let Some((known, weeks)) = self.week.get_mut(hour_of_week(minute)) else { return };
        *weeks = (*weeks + 1).min(MOST_WEEKS);
        let old = widen(*known);
        *known = squeeze(old + (level - old) / f64::from(*weeks));
    }

    /// While trouble is open: what stays like this for a day is normal.
    fn set_aside(&mut self, value: f64) {
        self.ten.push(value, TEN);
        if self.ten.len() < TEN {
            return;
        }
        let middle = median(&mut self.ten.values()).unwrap_or(0.0);
        self.ten.clear();
        self.aside.push(middle, NEW_NORMAL);
        if self.aside.len() == NEW_NORMAL && changes(&self.aside.values()).is_empty() {
            self.day = std::mem::take(&mut self.aside);
            let level = median(&mut self.day.values()).unwrap_or(value);
            self.recent.clear();
            self.week.clear();
            self.peaks = Peaks::default();
            self.sums = Cusum::default();
            self.fit = Fit { center: level, season: false, level: 0.0, ..self.fit };
        }
    }

    fn refit(&mut self, minute: i64, series: usize) {
        let season = self.age_ms() >= WISE_MS && self.season_is_strong(minute);
        self.fit.season = season;
        let rests = self.rests(minute);
        let recent = self.recent_rests(minute);
        let all = if rests.is_empty() { &recent } else { &rests };
        let center = median(&mut all.clone()).unwrap_or(0.0);
        self.fit.center = center;
        let floor = self.floor();
        // Noise from minute to minute, and how the level wanders within a day.
        let own = median(&mut recent.clone()).unwrap_or(0.0);
        let noise = sigma(&recent, own, floor * 0.5);
        let wander = if rests.len() < 36 { 0.0 } else { sigma(&rests, center, 0.0) };
        let whole = noise * noise + wander * wander;
        self.fit.sigma = whole.sqrt().max(floor);
        let centered: Vec<f64> = recent.iter().map(|rest| rest - own).collect();
        let follows = lag1(&centered);
        let phi = (follows * noise * noise + 0.99 * wander * wander) / whole.max(f64::MIN_POSITIVE);
        self.fit.phi = phi.clamp(0.0, 0.95);
        self.tail(&recent, center, series);
        if minute >= self.calibrated + 1_440 || self.calibrated == 0 {
            let (phi, sigma) = (follows.min(0.95), noise.max(floor));
            let white: Vec<f64> =
                centered.windows(2).map(|pair| whitened(pair[1], pair[0], phi, sigma, floor)).collect();
            let rate = SLOW_RATE / series.max(1) as f64;
            self.fit.threshold = calibrate(&white, rate, self.signal as u64 + 1);
            self.calibrated = minute;
        }
        self.fitted = minute;
    }

    /// The fast path's level, from a threshold that still holds.
    fn tail(&mut self, recent: &[f64], center: f64, series: usize) {
        let share = self.peaks.above.len() as f64 / self.peaks.seen.max(1.0);
        if self.peaks.seen < 1.0 || self.peaks.seen > 400.0 && !(0.008..=0.05).contains(&share) {
            let centered: Vec<f64> = recent.iter().map(|rest| rest - center).collect();
            self.peaks = Peaks::learn(&centered);
        }
        let level = self.peaks.level(FAST_RATE / series.max(1) as f64);
        // Never nearer than what nobody would call odd.
        self.fit.level = level.map_or(0.0, |level| level.max(4.0 * self.fit.sigma));
    }

    fn season_is_strong(&self, minute: i64) -> bool {
        let values = self.day.values();
        if values.len() < DAY || self.week.is_empty() {
            return false;
        }
        let rests: Vec<f64> = values
            .iter()
            .enumerate()
            .map(|(at, value)| value - self.season_at(minute - ((values.len() - 1 - at) * TEN) as i64))
            .collect();
        season_strength(&values, &rests) >= STRONG
    }

    /// Medians of ten minutes without the season.
    fn rests(&self, minute: i64) -> Vec<f64> {
        let values = self.day.values();
        let n = values.len();
        let ago = |at: usize| ((n - 1 - at) * TEN) as i64;
        values.iter().enumerate().map(|(at, value)| value - self.season(minute - ago(at))).collect()
    }

    fn recent_rests(&self, minute: i64) -> Vec<f64> {
        let values = self.recent.values();
        let n = values.len();
        let ago = |at: usize| (n - 1 - at) as i64;
        values.iter().enumerate().map(|(at, value)| value - self.season(minute - ago(at))).collect()
    }
}

/// Hours since the week began, UTC. The first of January 1970 was a Thursday; where weeks begin does not
/// matter.
fn hour_of_week(minute: i64) -> usize {
    usize::try_from((minute * MINUTE_MS / HOUR_MS).rem_euclid(WEEK as i64)).unwrap_or(0)
}
