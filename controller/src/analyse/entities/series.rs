//! Least values of equal stretches of time, newest last.

use serde::{Deserialize, Serialize};

/// Stands for a stretch in which nothing was seen.
const NONE: u32 = u32::MAX;

/// A bounded run of values, one per slot of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Number of the last slot since 1970.
    slot: i64,
    values: Vec<u32>,
}

impl Series {
    /// Takes in a value of `slot`; of several in one slot the least stays. At most `cap` slots are kept.
    pub fn push(&mut self, slot: i64, value: u32, cap: usize) {
        let value = value.min(NONE - 1);
        let ahead = if self.values.is_empty() { 1 } else { slot.saturating_sub(self.slot) };
        if ahead < 0 {
            return;
        }
        if ahead == 0 {
            if let Some(last) = self.values.last_mut() {
                *last = (*last).min(value);
            }
            return;
        }
        let missing = usize::try_from(ahead - 1).unwrap_or(cap).min(cap);
        self.values.resize(self.values.len() + missing, NONE);
        self.values.push(value);
        self.slot = slot;
        let surplus = self.values.len().saturating_sub(cap);
        self.values.drain(..surplus);
    }

    /// Slots with a value, oldest first, from slot `from` on.
    pub fn since(&self, from: i64) -> impl Iterator<Item = (i64, u32)> {
        let first = self.slot + 1 - i64::try_from(self.values.len()).unwrap_or(0);
        let slots = (first..).zip(self.values.iter().copied());
        slots.filter(move |(slot, value)| *slot >= from && *value != NONE)
    }

    /// The newest slot; `None` when there is none.
    #[must_use]
    pub fn newest(&self) -> Option<i64> {
        (!self.values.is_empty()).then_some(self.slot)
    }

    /// The newest value.
    #[must_use]
    pub fn last(&self) -> Option<u32> {
        self.values.last().copied().filter(|value| *value != NONE)
    }

    /// Whether it is within `cap` slots.
    #[must_use]
    pub fn is_within(&self, cap: usize) -> bool {
        self.values.len() <= cap
    }
}
