//! Who failed and who got in: counts per source, bounded whatever an attacker does.

use std::collections::HashMap;
use std::net::IpAddr;

use super::record::Record;

/// Most sources that are counted one by one; the one with the fewest failures makes place.
const MAX_SOURCES: usize = 1024;
/// Most sources of accepted sign-ins that are remembered.
const MAX_ACCEPTED: usize = 4096;
const MINUTES: usize = 60;
const MONTH_S: u64 = 30 * 24 * 3_600;

/// Failures of the last hour by source, a counter per minute.
#[derive(Debug, Default)]
pub(super) struct Failures {
    sources: HashMap<IpAddr, Minutes>,
}

#[derive(Debug)]
struct Minutes {
    counts: [u16; MINUTES],
    /// Minute since 1970 of the newest counter.
    newest: u64,
}

impl Minutes {
    /// Moves on to minute `now`: what is older than an hour is forgotten.
    fn advance(&mut self, now: u64) {
        let steps = now.saturating_sub(self.newest).min(MINUTES as u64);
        for step in 1..=steps {
            self.counts[slot(self.newest + step)] = 0;
        }
        self.newest = self.newest.max(now);
    }

    fn last(&self, minutes: u64) -> u32 {
        let from = self.newest.saturating_sub(minutes - 1);
        (from..=self.newest).map(|minute| u32::from(self.counts[slot(minute)])).sum()
    }
}

fn slot(minute: u64) -> usize {
    usize::try_from(minute % MINUTES as u64).unwrap_or(0)
}

impl Failures {
    /// Counts a failure at `at`; `now` bounds what a wrong clock wrote.
    pub(super) fn add(&mut self, source: IpAddr, at: u64, now: u64) {
        let (minute, now) = (at / 60, now / 60);
        if minute > now || now - minute >= MINUTES as u64 {
            return;
        }
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source) {
            let fewest = self.sources.iter().min_by_key(|(source, m)| (m.last(MINUTES as u64), **source));
            if let Some(source) = fewest.map(|(source, _)| *source) {
                self.sources.remove(&source);
            }
        }
        let fresh = || Minutes { counts: [0; MINUTES], newest: now };
        let known = self.sources.entry(source).or_insert_with(fresh);
        known.advance(now);
        let count = &mut known.counts[slot(minute)];
        *count = count.saturating_add(1);
    }

    /// Sources with failures in the last 60 minutes, with those of the last 5 and 60; most first.
    pub(super) fn within_hour(&mut self, now: u64) -> Vec<(IpAddr, u32, u32)> {
        self.sources.retain(|_, minutes| {
            minutes.advance(now / 60);
            minutes.last(MINUTES as u64) > 0
        });
        let told =
            |(source, minutes): (&IpAddr, &Minutes)| (*source, minutes.last(5), minutes.last(MINUTES as u64));
        let mut all: Vec<_> = self.sources.iter().map(told).collect();
        all.sort_by(|a, b| (b.2, a.0).cmp(&(a.2, b.0)));
        all
    }
}

/// Accepted sign-ins of the last 30 days by source.
#[derive(Debug, Default)]
pub(super) struct Accepted {
    sources: HashMap<IpAddr, (u32, u64)>,
}

impl Accepted {
    pub(super) fn add(&mut self, record: &Record, now: u64) {
        let Some(source) = record.source.filter(|_| record.session) else { return };
        if record.at + MONTH_S < now {
            return;
        }
        if self.sources.len() >= MAX_ACCEPTED && !self.sources.contains_key(&source) {
            let oldest = self.sources.iter().min_by_key(|(source, (_, last))| (*last, **source));
            if let Some(source) = oldest.map(|(source, _)| *source) {
                self.sources.remove(&source);
            }
        }
        let known = self.sources.entry(source).or_default();
        *known = (known.0.saturating_add(1), known.1.max(record.at));
    }

    /// How often `source` got in; 0 when the last time is more than 30 days ago.
    pub(super) fn of(&self, source: IpAddr, now: u64) -> u32 {
        self.sources.get(&source).filter(|(_, last)| last + MONTH_S >= now).map_or(0, |(count, _)| *count)
    }
}
