//! What is usual for something that has no baseline of its own: a mean over about a day.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most habits of one host; the one not seen for longest makes place.
const MAX_HABITS: usize = 96;
/// Minutes over which the mean goes back.
const MEMORY: u32 = 1_440;
/// Minutes after which a mean is believed.
pub const GROWN: u32 = 720;

/// A mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Habit {
    /// The mean.
    pub mean: f64,
    /// Minutes that it was learned from.
    pub minutes: u32,
    /// Minute since 1970 in which it was last learned.
    pub last: i64,
}

impl Habit {
    /// Whether it was learned for long enough.
    #[must_use]
    pub const fn is_grown(&self) -> bool {
        self.minutes >= GROWN
    }
}

/// Means by what they are of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Habits(BTreeMap<String, Habit>);

impl Habits {
    /// Takes in the value of a minute; a minute counts once.
    pub(super) fn learn(&mut self, key: &str, value: f64, minute: i64) {
        if !value.is_finite() {
            return;
        }
        if !self.0.contains_key(key) {
            while self.0.len() >= MAX_HABITS {
                let oldest = self.0.iter().min_by_key(|(_, habit)| habit.last).map(|(key, _)| key.clone());
                let Some(oldest) = oldest else { break };
                self.0.remove(&oldest);
            }
            self.0.insert(key.to_owned(), Habit::default());
        }
        let Some(habit) = self.0.get_mut(key).filter(|habit| minute > habit.last) else { return };
        habit.minutes = habit.minutes.saturating_add(1);
        habit.last = minute;
        habit.mean += (value - habit.mean) / f64::from(habit.minutes.min(MEMORY));
    }

    /// What is usual for `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Habit> {
        self.0.get(key).copied()
    }

    /// Keys that begin with `family` and a colon, without it.
    pub(super) fn of<'a>(&'a self, family: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.keys().filter_map(move |key| key.strip_prefix(family)?.strip_prefix(':'))
    }

    pub(super) fn is_sane(&self) -> bool {
        self.0.len() <= MAX_HABITS && self.0.values().all(|habit| habit.mean.is_finite())
    }
}
