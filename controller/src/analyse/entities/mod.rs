//! What is learned of single units and processes: opaque to everything but the detectors that read it.
//!
//! Bounded whatever a host does: 24 services with an hour of minutes, a day of ten minutes and three earlier
//! lives (about 1 KiB each), 96 habits and the restarts of 32 services; together at most 48 KiB
//! unpacked per host, as a test keeps it.

pub mod habits;
pub mod memory;
pub mod series;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sysop_common::finding::{Category, fingerprint};
use sysop_common::metric::{self, MetricId};
use sysop_common::sample::Active;
use sysop_common::time::{HOUR_MS, MINUTE_MS, UnixMs};

use self::habits::{Habit, Habits};
use self::memory::UnitMemory;
use super::window::{Look, Window};

/// Most services whose memory is followed: those with most.
const MAX_UNITS: usize = 24;
/// What is less is not worth following, in KiB.
const LEAST_KIB: u64 = 16 << 10;
/// A service that was not seen for so long is forgotten.
const FORGET_MS: i64 = 48 * HOUR_MS;
/// Services whose restarts are remembered, and how many of each.
const MAX_RESTARTING: usize = 32;
const MAX_RESTARTS: usize = 64;
/// Rates of a minute are taken over two: counters may come once a minute.
const STRETCH_MS: i64 = 2 * MINUTE_MS;

/// Points of units and processes of one host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Entities {
    /// Time of the newest look that was taken in.
    seen: i64,
    units: BTreeMap<String, UnitMemory>,
    habits: Habits,
    /// Times of restarts of the last hour.
    restarts: BTreeMap<String, Vec<i64>>,
}

impl Entities {
    /// Takes in what is new in `window`. `open` are fingerprints of findings that are active in an open
    /// incident: nothing is learned from what is in trouble.
    pub fn advance(&mut self, window: &Window, open: &BTreeSet<String>) {
        let Some(latest) = window.latest() else { return };
        let mut before: Option<Look<'_>> = None;
        for look in window.looks() {
            if look.at().0 > self.seen {
                self.memory(look, latest);
                if let Some(before) = before.filter(|before| before.same_boot(look)) {
                    self.count_restarts(before, look);
                }
            }
            before = Some(look);
        }
        self.seen = self.seen.max(latest.at().0);
        for (name, unit) in &mut self.units {
            if open.contains(&fingerprint(Category::MemoryLeak, name)) {
                unit.taint();
            }
        }
        self.forget(latest.at());
        self.learn(window, latest, open);
    }

    fn memory(&mut self, look: Look<'_>, latest: Look<'_>) {
        for unit in look.units() {
            let running = matches!(unit.active, Active::Active | Active::Reloading);
            let Some(kib) = unit.anon_bytes.filter(|_| running).map(|bytes| bytes / 1_024) else { continue };
            if !self.units.contains_key(&*unit.name) && !self.admit(kib) {
                continue;
            }
            let started = latest.corrected(unit.since_ms);
            let known = self.units.entry(unit.name.to_string()).or_default();
            known.push(look.at(), unit.main_pid, started, u32::try_from(kib).unwrap_or(u32::MAX));
        }
    }

    /// Makes room for a service with so much memory, if it is worth it.
    fn admit(&mut self, kib: u64) -> bool {
        if kib < LEAST_KIB {
            return false;
        }
        if self.units.len() < MAX_UNITS {
            return true;
        }
        let bytes = |unit: &UnitMemory| unit.bytes().unwrap_or(0.0);
        let least = self.units.iter().min_by(|a, b| bytes(a.1).total_cmp(&bytes(b.1)).then(a.0.cmp(b.0)));
        let Some((name, least)) = least.map(|(name, unit)| (name.clone(), bytes(unit))) else { return false };
        // Twice as much, so that two of a size do not drive each other out.
        let room = kib as f64 * 1_024.0 > 2.0 * least;
        if room {
            self.units.remove(&name);
        }
        room
    }

    fn count_restarts(&mut self, before: Look<'_>, look: Look<'_>) {
        for unit in look.units().iter().filter(|unit| unit.restarts > 0) {
            let Some(known) = before.unit(&unit.name) else { continue };
            let grown = unit.restarts.saturating_sub(known.restarts) as usize;
            if grown == 0
                || (!self.restarts.contains_key(&*unit.name) && self.restarts.len() >= MAX_RESTARTING)
            {
                continue;
            }
            let times = self.restarts.entry(unit.name.to_string()).or_default();
            times.extend(std::iter::repeat_n(look.at().0, grown.min(MAX_RESTARTS)));
            let surplus = times.len().saturating_sub(MAX_RESTARTS);
            times.drain(..surplus);
        }
    }

    fn forget(&mut self, now: UnixMs) {
        self.restarts.retain(|_, times| {
            times.retain(|at| now.0 - at <= HOUR_MS);
            !times.is_empty()
        });
        let seen = |unit: &UnitMemory| unit.newest().unwrap_or(UnixMs(0));
        self.units.retain(|_, unit| now.since(seen(unit)) <= FORGET_MS);
    }

    /// Learns what is usual.
    fn learn(&mut self, window: &Window, latest: Look<'_>, open: &BTreeSet<String>) {
        let minute = latest.at().0.div_euclid(MINUTE_MS);
        let calm = |category: Category, entity: &str| !open.contains(&fingerprint(category, entity));
        for unit in latest.labels(metric::UNIT_CPU_PERIODS) {
            if calm(Category::CpuThrottled, unit)
                && let Some(share) = throttled(window, unit, STRETCH_MS)
            {
                self.habits.learn(&format!("throttle:{unit}"), share, minute);
            }
        }
        for log in latest.labels(metric::LOG_BYTES) {
            let rate = grown(window, metric::LOG_BYTES, log, STRETCH_MS);
            if calm(Category::LogFlood, log)
                && let Some((bytes, ms)) = rate
            {
                self.habits.learn(&format!("log:{log}"), bytes * 1_000.0 / ms, minute);
            }
        }
        if calm(Category::BruteForce, "host")
            && let Some((count, ms)) = grown(window, metric::SIGNIN_FAILED, "", STRETCH_MS)
        {
            self.habits.learn("failed:", count * 600_000.0 / ms, minute);
        }
        for source in latest.labels(metric::TCP_INBOUND_FROM) {
            let count = latest.value(metric::TCP_INBOUND_FROM, source);
            if calm(Category::ConnectionFlood, source)
                && let Some(count) = count
            {
                self.habits.learn(&format!("source:{source}"), count as f64, minute);
            }
        }
        self.learn_restarts(latest, minute, &calm);
    }

    fn learn_restarts(&mut self, latest: Look<'_>, minute: i64, calm: &impl Fn(Category, &str) -> bool) {
        let known: Vec<String> = self.habits.of("restarts").map(str::to_owned).collect();
        let names: BTreeSet<String> = known.into_iter().chain(self.restarts.keys().cloned()).collect();
        for name in names {
            if !calm(Category::UnitFlapping, &name) || latest.unit(&name).is_none() {
                continue;
            }
            let last = latest.at().0 - MINUTE_MS;
            let times = self.restarts.get(&name).map_or(&[][..], Vec::as_slice);
            let count = times.iter().filter(|at| **at > last).count();
            self.habits.learn(&format!("restarts:{name}"), count as f64 * 60.0, minute);
        }
    }

    /// Memory of services that are followed.
    pub fn units(&self) -> impl Iterator<Item = (&str, &UnitMemory)> {
        self.units.iter().map(|(name, unit)| (name.as_str(), unit))
    }

    /// Whether the memory of a service is followed.
    #[must_use]
    pub fn unit(&self, name: &str) -> Option<&UnitMemory> {
        self.units.get(name)
    }

    /// What is usual: `throttle:UNIT` a share, `log:LOG` bytes per second, `failed:` sign-ins per ten
    /// minutes, `source:ADDRESS` connections, `restarts:UNIT` per hour.
    #[must_use]
    pub fn usual(&self, key: &str) -> Option<Habit> {
        self.habits.get(key)
    }

    /// Times of a unit's restarts in the last hour, oldest first.
    #[must_use]
    pub fn restarts(&self, unit: &str) -> &[i64] {
        self.restarts.get(unit).map_or(&[], Vec::as_slice)
    }

    /// Packed, at most [`super::state::MAX_SECTION`] bytes once compressed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_cbor::ser::to_vec_packed(self).unwrap_or_default()
    }

    /// From its packed form; `None` when it cannot be read.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let read: Self = serde_cbor::from_slice(bytes).ok()?;
        let bounded = read.units.len() <= MAX_UNITS
            && read.restarts.len() <= MAX_RESTARTING
            && read.restarts.values().all(|times| times.len() <= MAX_RESTARTS);
        let sane = bounded && read.habits.is_sane() && read.units.values().all(UnitMemory::is_sane);
        sane.then_some(read)
    }
}

/// How much a counter grew over the last `ms`, and over how many ms that was seen, at least half of them.
#[must_use]
pub fn grown(window: &Window, id: MetricId, label: &str, ms: i64) -> Option<(f64, f64)> {
    let latest = window.latest()?;
    let now = latest.value(id, label)?;
    let then = |look: Look<'_>| {
        let known = look.same_boot(latest).then(|| look.value(id, label)).flatten()?;
        Some((look.at(), known))
    };
    // Samples are not taken to the millisecond.
    let (at, known) = window.last(ms + 5_000).find_map(then)?;
    let seen = latest.at().since(at);
    let grown = now.checked_sub(known).filter(|grown| *grown >= 0)?;
    (seen * 2 >= ms).then_some((grown as f64, seen as f64))
}

/// Share of a unit's periods in which it was throttled, over the last `ms`; `None` while it hardly ran.
#[must_use]
pub fn throttled(window: &Window, unit: &str, ms: i64) -> Option<f64> {
    let (periods, _) = grown(window, metric::UNIT_CPU_PERIODS, unit, ms)?;
    let (throttled, _) = grown(window, metric::UNIT_CPU_THROTTLED, unit, ms)?;
    (periods >= 100.0).then(|| (throttled / periods).min(1.0))
}
