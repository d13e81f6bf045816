//! Whether a host's newest sample calls for a whole look. Never misses what a rule could find at the
//! newest sample; what came between is found by the look of each minute.

use sysop_common::metric::{self, MetricId};
use sysop_common::sample::{Active, NOT_OBSERVED};

use crate::store::samples::{Latest, Stored};

/// Whether anything in the newest tick, or changed since the one before, could be trouble.
pub(super) fn calls(latest: &Latest) -> bool {
    let now = &*latest.now;
    let before = latest.previous.as_deref();
    units(now, before) || disks(now, before) || kills(now) != before.and_then(kills)
}

fn kills(stored: &Stored) -> Option<i64> {
    stored.raw(metric::MEMORY_OOM_KILLS, "").map(|kills| kills as i64)
}

fn units(now: &Stored, before: Option<&Stored>) -> bool {
    let known = before.map(|before| before.tick.units.as_slice()).unwrap_or_default();
    // Both are sorted by name; the usual case is that they are the same list.
    let find = |at: usize, name: &str| {
        known
            .get(at)
            .filter(|unit| unit.name == name)
            .or_else(|| known.binary_search_by(|unit| unit.name.as_str().cmp(name)).ok().map(|at| &known[at]))
    };
    now.tick.units.iter().enumerate().any(|(at, unit)| {
        let odd = |before: &sysop_common::sample::Unit| {
            before.restarts != unit.restarts
                || (before.oom_kills != unit.oom_kills && unit.oom_kills.is_some_and(|kills| kills > 0))
                || before.result != unit.result
        };
        unit.active == Active::Failed || find(at, &unit.name).is_some_and(odd)
    })
}

/// A file system that became read-only, or fell below a twentieth: slower filling is the minute's matter.
fn disks(now: &Stored, before: Option<&Stored>) -> bool {
    let Some(before) = before else { return true };
    if before.schema.id != now.schema.id {
        return true;
    }
    let columns = &now.schema.schema.columns;
    columns.iter().enumerate().any(|(at, column)| {
        let value = |stored: &Stored, at: usize| {
            stored.tick.values.get(at).copied().filter(|value| *value != NOT_OBSERVED)
        };
        let low = |stored: &Stored, total: MetricId| {
            let total = now.schema.schema.position(total, &column.label).and_then(|at| value(stored, at));
            value(stored, at).zip(total).is_some_and(|(left, total)| left.saturating_mul(20) < total)
        };
        let fell = |total| low(now, total) && !low(before, total);
        match column.metric {
            metric::FS_READ_ONLY => value(now, at) == Some(1) && value(before, at) != Some(1),
            metric::FS_AVAILABLE => fell(metric::FS_TOTAL),
            metric::FS_INODES_FREE => fell(metric::FS_INODES_TOTAL),
            _ => false,
        }
    })
}
