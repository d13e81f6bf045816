//! The memory of a service through its life, and of its earlier lives.

use serde::{Deserialize, Serialize};
use sysop_common::time::{MINUTE_MS, UnixMs};

use super::series::Series;

/// Points of a minute that are kept, and points of ten minutes: an hour and a day.
pub(super) const MINUTES: usize = 60;
pub(super) const TENS: usize = 144;
/// Ages at which lives are compared, in minutes.
pub const AGES: [i64; 8] = [10, 20, 40, 60, 180, 360, 720, 1_440];
/// Earlier lives that are remembered.
const LIVES: usize = 3;
/// A life is worth comparing with from this age on, in minutes.
const WORTH: i64 = 20;

/// Anonymous memory of one service, in KiB.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitMemory {
    /// When this life began.
    started: i64,
    main_pid: u32,
    minutes: Series,
    tens: Series,
    /// Memory at each of [`AGES`] that this life has reached.
    life: Vec<u32>,
    /// The same of earlier lives, the latest last.
    lives: Vec<Vec<u32>>,
    /// It was in trouble in this life, or not seen from its beginning: nothing to compare with later.
    tainted: bool,
}

impl UnitMemory {
    /// Takes in what was seen at `at`: the main process tells one life from another.
    pub(super) fn push(&mut self, at: UnixMs, main_pid: u32, started: Option<UnixMs>, kib: u32) {
        if self.main_pid != main_pid || self.started == 0 {
            self.end();
            let (started, lives) = (started.unwrap_or(at).0, std::mem::take(&mut self.lives));
            // Of a life that began long before it was seen the first ages are not known.
            let tainted = at.0 - started > AGES[0] * MINUTE_MS;
            *self = Self { started, main_pid, lives, tainted, ..Self::default() };
        }
        let minute = at.0.div_euclid(MINUTE_MS);
        self.minutes.push(minute, kib, MINUTES);
        self.tens.push(minute.div_euclid(10), kib, TENS);
        let age = self.age(at) / MINUTE_MS;
        let reached = AGES.iter().take_while(|reached| **reached <= age).count();
        if reached > self.life.len() && !self.tainted {
            // Ages that were missed have what is seen next.
            self.life.resize(reached, kib);
        }
    }

    fn end(&mut self) {
        let long = AGES.get(self.life.len().wrapping_sub(1)).is_some_and(|age| *age >= WORTH);
        if long && !self.tainted {
            self.lives.push(std::mem::take(&mut self.life));
            let surplus = self.lives.len().saturating_sub(LIVES);
            self.lives.drain(..surplus);
        }
    }

    /// It is in trouble: this life is nothing to compare with.
    pub(super) fn taint(&mut self) {
        self.tainted = true;
    }

    /// How long this life lasts at `now`, in ms.
    #[must_use]
    pub fn age(&self, now: UnixMs) -> i64 {
        now.since(UnixMs(self.started)).max(0)
    }

    /// When this life began.
    #[must_use]
    pub fn started(&self) -> UnixMs {
        UnixMs(self.started)
    }

    /// Least bytes of each minute from `from` on, and of each ten minutes: `(minutes since from, bytes)`.
    #[must_use]
    pub fn points(&self, from: UnixMs, tens: bool) -> Vec<(f64, f64)> {
        let (series, width) = if tens { (&self.tens, 10 * MINUTE_MS) } else { (&self.minutes, MINUTE_MS) };
        // A slot that began before is not whole.
        let first = from.0.div_euclid(width) + 1;
        let place = |slot: i64| (slot - first) as f64 * width as f64 / MINUTE_MS as f64;
        series.since(first).map(|(slot, kib)| (place(slot), f64::from(kib) * 1_024.0)).collect()
    }

    /// When it was last seen.
    #[must_use]
    pub fn newest(&self) -> Option<UnixMs> {
        self.minutes.newest().map(|minute| UnixMs(minute * MINUTE_MS))
    }

    /// Bytes now.
    #[must_use]
    pub fn bytes(&self) -> Option<f64> {
        self.minutes.last().map(|kib| f64::from(kib) * 1_024.0)
    }

    /// Median bytes that earlier lives had at the age of this one at `now`, with that age in minutes;
    /// `None` when there is no earlier one, or this one is too young.
    #[must_use]
    pub fn earlier(&self, now: UnixMs) -> Option<(i64, f64)> {
        let age = self.age(now) / MINUTE_MS;
        let mut then: Vec<f64> = self.lives.iter().filter_map(|life| at_age(life, age)).collect();
        then.sort_by(f64::total_cmp);
        then.get(then.len() / 2).map(|kib| (age, kib * 1_024.0))
    }

    /// Whether what was read keeps the bounds.
    pub(super) fn is_sane(&self) -> bool {
        let short = |life: &Vec<u32>| life.len() <= AGES.len();
        self.minutes.is_within(MINUTES)
            && self.tens.is_within(TENS)
            && short(&self.life)
            && self.lives.len() <= LIVES
            && self.lives.iter().all(short)
    }
}

/// What a life had at an age in minutes, in a straight line between two of [`AGES`]; at its end what it had
/// last.
fn at_age(life: &[u32], age: i64) -> Option<f64> {
    let after = AGES.iter().position(|known| *known > age).unwrap_or(AGES.len()).min(life.len());
    let before = after.checked_sub(1)?;
    let low = f64::from(*life.get(before)?);
    let Some(high) = life.get(after).map(|high| f64::from(*high)) else { return Some(low) };
    let part = (age - AGES[before]) as f64 / (AGES[after] - AGES[before]) as f64;
    Some(low + (high - low) * part)
}
