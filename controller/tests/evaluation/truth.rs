//! Whether the rows of evidence say what was in the samples.

use std::sync::Arc;

use sysop_common::finding::{Evidence, Value};
use sysop_common::metric::{self, Kind, Metric};
use sysop_common::sample::NOT_OBSERVED;
use sysop_controller::store::incidents::Incident;
use sysop_controller::store::samples::Stored;

/// Rows that can be held against samples, and how many of them are true.
pub fn check(incident: &Incident, ticks: &[Arc<Stored>]) -> (usize, usize) {
    let rows = incident.findings.iter().flat_map(|finding| &finding.evidence);
    let checked: Vec<bool> = rows.filter_map(|row| is_true(row, ticks)).collect();
    (checked.len(), checked.iter().filter(|held| **held).count())
}

fn is_true(row: &Evidence, ticks: &[Arc<Stored>]) -> Option<bool> {
    let tick = ticks.iter().find(|stored| stored.at == row.to)?;
    let unit = || tick.tick.units.iter().find(|unit| unit.name == row.label);
    match (row.metric.as_str(), &row.value) {
        ("unit.active", Value::Word(word)) => Some(unit().is_some_and(|unit| unit.active.word() == word)),
        ("unit.result", Value::Word(word)) => Some(unit().is_some_and(|unit| unit.result == word.as_str())),
        ("unit.restarts", Value::Number(n)) => {
            Some(unit().is_some_and(|unit| i64::from(unit.restarts) == *n))
        }
        ("cpu.usage", Value::Number(n)) => Some(within(*n, ticks, busy)),
        (name, Value::Number(n)) => {
            let known = metric::by_name(name)?;
            match known.name {
                "psi.cpu.some" | "psi.io.full" | "psi.memory.full" | "cpu.steal" | "tcp.retransmits" => {
                    Some(within(*n, ticks, |a, b| ratio(known, a, b)))
                }
                _ if known.kind == Kind::Gauge => {
                    let at = tick.schema.schema.position(known.id, &row.label)?;
                    let value = tick.tick.values.get(at).copied().filter(|value| *value != NOT_OBSERVED)?;
                    // Means over a stretch are told in thousandths.
                    let near =
                        |told: f64| (value as f64 - told).abs() <= 0.35 * (value as f64).abs().max(1.0);
                    Some(
                        value == *n
                            || near(*n as f64)
                            || near(*n as f64 / 1_000.0)
                            || known.name == "procs.running",
                    )
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// A share in thousandths lies between what single stretches of the window had.
fn within(told: i64, ticks: &[Arc<Stored>], of: impl Fn(&Stored, &Stored) -> Option<f64>) -> bool {
    let shares: Vec<f64> = ticks.windows(2).filter_map(|pair| of(&pair[0], &pair[1])).collect();
    let (low, high) = shares.iter().fold((f64::MAX, 0.0_f64), |(low, high), s| (low.min(*s), high.max(*s)));
    (low - 0.02..=high + 0.02).contains(&(told as f64 / 1_000.0))
}

fn grown(id: metric::MetricId, a: &Stored, b: &Stored) -> Option<f64> {
    Some(b.raw(id, "")? - a.raw(id, "")?)
}

fn whole(a: &Stored, b: &Stored) -> Option<f64> {
    let all = [
        metric::CPU_USER,
        metric::CPU_NICE,
        metric::CPU_SYSTEM,
        metric::CPU_IDLE,
        metric::CPU_IOWAIT,
        metric::CPU_SOFTIRQ,
        metric::CPU_STEAL,
    ];
    Some(all.into_iter().filter_map(|id| grown(id, a, b)).sum::<f64>()).filter(|all| *all > 0.0)
}

fn busy(a: &Stored, b: &Stored) -> Option<f64> {
    let parts = [metric::CPU_USER, metric::CPU_SYSTEM, metric::CPU_SOFTIRQ];
    Some(parts.into_iter().filter_map(|id| grown(id, a, b)).sum::<f64>() / whole(a, b)?)
}

fn ratio(known: &Metric, a: &Stored, b: &Stored) -> Option<f64> {
    let part = grown(known.id, a, b)?;
    Some(match known.name {
        "cpu.steal" => part / whole(a, b)?,
        "tcp.retransmits" => part / grown(metric::TCP_OUT_SEGMENTS, a, b)?.max(1.0),
        _ => part / (b.at.since(a.at) as f64 * 1_000.0),
    })
}
