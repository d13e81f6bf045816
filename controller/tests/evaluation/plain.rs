//! The baseline: fixed limits as a usual monitoring has them (those of the node exporter's alert library where
//! it has one), each of which must hold for some minutes. It names no root but what its alert is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use sysop_common::finding::Category;
use sysop_common::metric as m;
use sysop_common::sample::Active;
use sysop_common::time::MINUTE_MS;
use sysop_controller::store::samples::Stored;

/// Since how many samples each limit is passed.
#[derive(Debug, Clone, Default)]
pub struct Plain {
    held: BTreeMap<Category, u32>,
    told: BTreeMap<Category, bool>,
}

impl Plain {
    /// Alerts that begin with the newest sample.
    pub fn look(&mut self, ticks: &[Arc<Stored>]) -> Vec<Category> {
        let Some(now) = ticks.last() else { return Vec::new() };
        let from = now.at.plus(-MINUTE_MS);
        let Some(then) = ticks.iter().find(|stored| stored.at >= from) else { return Vec::new() };
        let on = [
            (Category::CpuPressure, busy(then, now) > 0.9, 30),
            (Category::MemoryPressure, left(now) < 0.1, 18),
            (Category::DiskFill, lowest(now, m::FS_AVAILABLE, m::FS_TOTAL) < 0.1, 6),
            (Category::InodeFill, lowest(now, m::FS_INODES_FREE, m::FS_INODES_TOTAL) < 0.1, 6),
            (Category::IoPressure, share(m::CPU_IOWAIT, then, now) > 0.3, 30),
            (Category::CpuSteal, share(m::CPU_STEAL, then, now) > 0.1, 30),
            (Category::NetLoss, resent(then, now) > 0.05, 18),
            (Category::OomKill, grown(m::MEMORY_OOM_KILLS, then, now) > 0.0, 1),
            (Category::ClockSkew, now.raw(m::CLOCK_OFFSET, "").is_some_and(|us| us.abs() > 50_000.0), 60),
            (Category::FsReadOnly, read_only(now), 6),
            (Category::UnitFailed, now.tick.units.iter().any(|unit| unit.active == Active::Failed), 6),
            (Category::ConnectionFlood, conntrack(now) > 0.75, 6),
        ];
        let mut over = Vec::new();
        for (category, holds, samples) in on {
            let held = self.held.entry(category).or_default();
            *held = if holds { *held + 1 } else { 0 };
            if *held >= samples {
                over.push(category);
            }
        }
        self.news(over)
    }

    /// What of this was not there before.
    pub fn news(&mut self, over: Vec<Category>) -> Vec<Category> {
        self.told.retain(|category, _| over.contains(category));
        over.into_iter().filter(|category| self.told.insert(*category, true).is_none()).collect()
    }
}

fn grown(id: m::MetricId, a: &Stored, b: &Stored) -> f64 {
    b.raw(id, "").zip(a.raw(id, "")).map_or(0.0, |(b, a)| b - a)
}

fn share(id: m::MetricId, a: &Stored, b: &Stored) -> f64 {
    let all =
        [m::CPU_USER, m::CPU_NICE, m::CPU_SYSTEM, m::CPU_IDLE, m::CPU_IOWAIT, m::CPU_SOFTIRQ, m::CPU_STEAL];
    grown(id, a, b) / all.into_iter().map(|id| grown(id, a, b)).sum::<f64>().max(1.0)
}

fn busy(a: &Stored, b: &Stored) -> f64 {
    if a.at == b.at { 0.0 } else { 1.0 - share(m::CPU_IDLE, a, b) - share(m::CPU_IOWAIT, a, b) }
}

fn left(now: &Stored) -> f64 {
    now.raw(m::MEMORY_AVAILABLE, "").unwrap_or(1.0) / now.raw(m::MEMORY_TOTAL, "").unwrap_or(1.0)
}

fn lowest(now: &Stored, free: m::MetricId, total: m::MetricId) -> f64 {
    let of = |mount: &str| Some(now.raw(free, mount)? / now.raw(total, mount)?.max(1.0));
    now.labels(total).filter_map(of).fold(1.0, f64::min)
}

fn resent(a: &Stored, b: &Stored) -> f64 {
    grown(m::TCP_RETRANSMITS, a, b) / grown(m::TCP_OUT_SEGMENTS, a, b).max(100.0)
}

fn read_only(now: &Stored) -> bool {
    now.labels(m::FS_READ_ONLY).any(|mount| now.raw(m::FS_READ_ONLY, mount) == Some(1.0))
}

fn conntrack(now: &Stored) -> f64 {
    now.raw(m::CONNTRACK_USED, "").unwrap_or(0.0) / now.raw(m::CONNTRACK_MAX, "").unwrap_or(1.0)
}
