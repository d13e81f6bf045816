//! What is normal for the series of one host, learned from its own minutes.
//!
//! A minute is taken in once, when a later sample shows that it is over, from the samples in memory; so
//! the result does not depend on when looks are made. At most [`MAX_SERIES`] series are kept, each a
//! few KiB in memory; `docs/analysis.md` has what was measured.

mod learn;
mod pack;
mod ring;
pub mod signal;

use std::collections::BTreeSet;

use sysop_common::finding::Category;
use sysop_common::time::{MINUTE_MS, UnixMs};

pub use learn::{Fit, GROWN_UP_MS, Learned, WISE_MS};
pub use signal::Signal;

use super::window::{Look, Window};

/// Most series of one host.
pub const MAX_SERIES: usize = 32;
/// A series that was not seen for so many minutes is forgotten.
const FORGET_MINUTES: i64 = 8 * 1_440;
/// The look before a minute, from which its counters grow, may be this much older.
const REACH_MS: i64 = 90_000;

/// Baselines of one host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Baselines {
    /// The newest minute that was taken in, counted since 1970.
    minute: i64,
    series: Vec<Learned>,
}

impl Baselines {
    /// Takes in the minutes of `window` that are new and over. `open` are fingerprints of findings that
    /// are active in an open incident: nothing is learned from what is in trouble.
    pub fn advance(&mut self, window: &Window, open: &BTreeSet<String>) {
        let Some(latest) = window.latest() else { return };
        let over = minute_of(latest.at());
        if self.minute + 1 >= over {
            return;
        }
        let looks: Vec<Look<'_>> = window.looks().collect();
        let categories: Vec<Category> = open
            .iter()
            .filter_map(|print| Category::from_word(print.split(':').next().unwrap_or_default()))
            .collect();
        let first = looks.first().map_or(over, |look| minute_of(look.at()));
        for minute in first.max(self.minute + 1)..over {
            let from = looks.partition_point(|look| minute_of(look.at()) < minute);
            let to = looks.partition_point(|look| minute_of(look.at()) <= minute);
            if from == to {
                continue;
            }
            let reaches = |look: &Look<'_>| minute * MINUTE_MS - look.at().0 <= REACH_MS;
            let start = from.checked_sub(1).filter(|at| reaches(&looks[*at])).unwrap_or(from);
            self.take(minute, &looks[start..to], &categories);
        }
        self.minute = over - 1;
    }

    fn take(&mut self, minute: i64, looks: &[Look<'_>], open: &[Category]) {
        let Some(last) = looks.last() else { return };
        let count = self.series.len().max(1);
        for signal in Signal::ALL {
            for label in signal::labels(*last, signal.per()) {
                let Some(value) = signal.measure(label, looks) else { continue };
                let frozen = open.iter().any(|category| signal.of(*category));
                if let Some(series) = self.place(signal, label, minute) {
                    series.push(minute, value, frozen, count);
                }
            }
        }
        self.series.retain(|series| minute - series.last < FORGET_MINUTES);
    }

    /// The series of `signal` and `label`, made if there is room.
    fn place(&mut self, signal: Signal, label: &str, minute: i64) -> Option<&mut Learned> {
        let key = |series: &Learned| (series.signal, series.label.as_str()).cmp(&(signal, label));
        match self.series.binary_search_by(key) {
            Ok(at) => self.series.get_mut(at),
            Err(_) if self.series.len() >= MAX_SERIES => None,
            Err(at) => {
                self.series.insert(at, Learned::new(signal, label, minute));
                self.series.get_mut(at)
            }
        }
    }

    /// The baseline of a series, if there is one.
    #[must_use]
    pub fn get(&self, signal: Signal, label: &str) -> Option<&Learned> {
        let key = |series: &Learned| (series.signal, series.label.as_str()).cmp(&(signal, label));
        self.series.binary_search_by(key).ok().map(|at| &self.series[at])
    }

    /// All baselines, in the order of signal and label.
    pub fn all(&self) -> impl Iterator<Item = &Learned> {
        self.series.iter()
    }

    /// Packed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        pack::encode(self.minute, &self.series)
    }

    /// From its packed form; `None` when it cannot be read.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (minute, mut series) = pack::decode(bytes)?;
        series.sort_by(|a, b| (a.signal, &a.label).cmp(&(b.signal, &b.label)));
        series.dedup_by(|a, b| (a.signal, &a.label) == (b.signal, &b.label));
        Some(Self { minute, series })
    }
}

fn minute_of(at: UnixMs) -> i64 {
    at.0.div_euclid(MINUTE_MS)
}
