//! Whether a host's newest sample calls for a whole look. It knows the urgent kinds of trouble; the rest,
//! and what came between, is found by the look of each minute.

use sysop_common::metric::{self, MetricId};
use sysop_common::sample::{Active, NOT_OBSERVED};

use super::rules::entity::alarm;
use crate::store::samples::{Latest, Stored};

/// Whether anything in the newest tick, or changed since the one before, could be trouble.
pub(super) fn calls(latest: &Latest) -> bool {
    let now = &*latest.now;
    let before = latest.previous.as_deref();
    units(now, before)
        || disks(now, before)
        || kills(now) != before.and_then(kills)
        || waits(now, before)
        || limits(now, before)
}

/// Work that waits, by limits that lie below those of the rules; and memory that falls fast with little left.
fn waits(now: &Stored, before: Option<&Stored>) -> bool {
    let Some(before) = before.filter(|before| before.boot == now.boot) else { return false };
    let ms = now.at.since(before.at) as f64;
    if ms <= 0.0 {
        return false;
    }
    let grown = |id: MetricId| Some(now.raw(id, "")? - before.raw(id, "")?);
    let share = |id: MetricId| grown(id).map_or(0.0, |us| us / (ms * 1_000.0));
    let pressed = share(metric::PSI_CPU_SOME) >= 0.2
        || share(metric::PSI_MEMORY_FULL) >= 0.08
        || share(metric::PSI_MEMORY_SOME) >= 0.3
        || share(metric::PSI_IO_FULL) >= 0.15;
    let total = now.raw(metric::MEMORY_TOTAL, "").unwrap_or(0.0);
    let left = now.raw(metric::MEMORY_AVAILABLE, "").unwrap_or(total);
    let fell = grown(metric::MEMORY_AVAILABLE).is_some_and(|grown| -grown > total * 0.01);
    let floods = now.raw(metric::TCP_SYN_RECEIVED, "").is_some_and(|half_open| half_open >= 128.0);
    pressed || left < total * 0.35 && fell || floods
}

/// A gauge passed the limit of its detector. New columns call for a look anyway.
fn limits(now: &Stored, before: Option<&Stored>) -> bool {
    let Some(before) = before.filter(|before| before.schema.id == now.schema.id) else { return false };
    let value = |stored: &Stored, at: usize| {
        stored.tick.values.get(at).copied().filter(|value| *value != NOT_OBSERVED)
    };
    let most_of = |id: MetricId, label: &str| {
        let max = now.schema.schema.position(id, label).and_then(|at| value(now, at));
        max.map(|max| max.saturating_mul(4) / 5)
    };
    now.schema.schema.columns.iter().enumerate().any(|(at, column)| {
        let limit = match column.metric {
            metric::UNIT_PIDS_REFUSED => return value(now, at) > value(before, at),
            metric::UNIT_PIDS => most_of(metric::UNIT_PIDS_MAX, &column.label),
            metric::TASK_FDS => most_of(metric::TASK_FDS_MAX, &column.label),
            id => alarm(id),
        };
        limit.is_some_and(|limit| {
            value(now, at).is_some_and(|now| now >= limit)
                && value(before, at).is_none_or(|before| before < limit)
        })
    })
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
