//! The last quarter of an hour of one host, as the rules read it.

use std::sync::Arc;

use sysop_common::metric::MetricId;
use sysop_common::sample::{NOT_OBSERVED, Process, Unit};
use sysop_common::time::UnixMs;

use crate::store::samples::Stored;

/// Ticks in the order of their time.
#[derive(Debug, Clone, Default)]
pub struct Window {
    ticks: Vec<Arc<Stored>>,
}

/// One tick of a [`Window`].
#[derive(Debug, Clone, Copy)]
pub struct Look<'a>(&'a Stored);

impl Window {
    /// Sorts what was read; the newest tick may come beside the others, out of order.
    #[must_use]
    pub fn new(mut ticks: Vec<Arc<Stored>>, newest: Option<Arc<Stored>>) -> Self {
        ticks.extend(newest);
        ticks.sort_by_key(|stored| (stored.at, stored.tick.seq));
        ticks.dedup_by_key(|stored| (stored.epoch, stored.tick.seq));
        Self { ticks }
    }

    /// The ticks themselves, oldest first.
    #[must_use]
    pub fn stored(&self) -> &[Arc<Stored>] {
        &self.ticks
    }

    /// The newest tick.
    #[must_use]
    pub fn latest(&self) -> Option<Look<'_>> {
        self.ticks.last().map(|stored| Look(stored))
    }

    /// All ticks, oldest first.
    pub fn looks(&self) -> impl DoubleEndedIterator<Item = Look<'_>> + Clone {
        self.ticks.iter().map(|stored| Look(stored))
    }

    /// Ticks of the last `ms` before the newest one.
    pub fn last(&self, ms: i64) -> impl DoubleEndedIterator<Item = Look<'_>> + Clone {
        let since = self.ticks.last().map_or(UnixMs(0), |stored| stored.at.plus(-ms));
        self.looks().filter(move |look| look.at() >= since)
    }
}

impl<'a> Look<'a> {
    /// When it was taken, on the controller's clock.
    #[must_use]
    pub fn at(self) -> UnixMs {
        self.0.at
    }

    /// Time from when the host's clock says that it was taken to when it arrived, in ms.
    #[must_use]
    pub fn delay_ms(self) -> i64 {
        self.0.received_at.since(self.0.tick.at)
    }

    /// Whether both were taken in one boot of the host: only then do its counters go on.
    #[must_use]
    pub fn same_boot(self, other: Look<'_>) -> bool {
        self.0.boot == other.0.boot
    }

    /// A time of the host's clock on the controller's; `None` when it is not known or not plausible.
    #[must_use]
    pub fn corrected(self, host_ms: i64) -> Option<UnixMs> {
        let ago = self.0.tick.at.0.checked_sub(host_ms)?;
        (host_ms > 0 && ago >= 0).then(|| self.0.at.plus(-ago))
    }

    /// The stored integer of a column; `None` when there is none, or it was not observed.
    #[must_use]
    pub fn value(self, metric: MetricId, label: &str) -> Option<i64> {
        let at = self.0.schema.schema.position(metric, label)?;
        self.0.tick.values.get(at).copied().filter(|value| *value != NOT_OBSERVED)
    }

    /// Labels of a metric's columns.
    pub fn labels(self, metric: MetricId) -> impl Iterator<Item = &'a str> {
        self.0.labels(metric)
    }

    /// Services, by name; empty when they were not observed.
    #[must_use]
    pub fn units(self) -> &'a [Unit] {
        &self.0.tick.units
    }

    /// One service.
    #[must_use]
    pub fn unit(self, name: &str) -> Option<&'a Unit> {
        let units = &self.0.tick.units;
        units.binary_search_by(|unit| unit.name.as_str().cmp(name)).ok().map(|at| &units[at])
    }

    /// Top processes.
    #[must_use]
    pub fn processes(self) -> &'a [Process] {
        &self.0.tick.processes
    }
}
