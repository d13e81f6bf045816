//! Trouble of single services, processes and sources. Facts of the kernel open an incident at once; what
//! is judged by a limit or a trend says how odd it is.

mod deleted;
mod dns;
mod files;
mod flood;
mod hung;
mod jobs;
mod leak;
mod limits;
mod logs;
mod pids;
mod signin;
mod zombies;

use sysop_common::finding::{Culprit, Finding, Severity};
use sysop_common::metric::{self, MetricId};
use sysop_common::sample::Process;
use sysop_common::time::{SECOND_MS, UnixMs};

use super::soft::found;
use super::{Detector, HostInput, Look, Rows, number};
use crate::analyse::entities::grown;
use crate::analyse::statistics::trend::trend;

/// By chance a value at its limit is taken to come once in so many looks; twice the limit, once in the
/// square of it.
const AT_LIMIT: f64 = 1e-4;
/// An open finding goes on until its value is below this share of the limit that opens one.
const CLOSE: f64 = 0.75;

/// The detectors of single services, processes and sources.
#[must_use]
pub(in crate::analyse) fn entity_lane() -> Vec<Box<dyn Detector>> {
    vec![
        Box::new(leak::Leak),
        Box::new(deleted::DeletedOpen),
        Box::new(logs::LogFlood),
        Box::new(jobs::TimerOverlap),
        Box::new(pids::Pids),
        Box::new(files::OpenFiles),
        Box::new(limits::Throttled),
        Box::new(limits::IoLimited),
        Box::new(hung::Stuck),
        Box::new(zombies::Zombies),
        Box::new(flood::Source),
        Box::new(signin::BruteForce),
        Box::new(dns::Dns),
        Box::new(hung::Hung),
    ]
}

/// How seldom a value at or above its limit comes by chance.
fn odds_at(value: f64, limit: f64) -> f64 {
    AT_LIMIT.powf((value / limit).clamp(0.0, 3.0))
}

/// The process with this number in a look.
fn process<'a>(look: Look<'a>, pid: &str) -> Option<&'a Process> {
    let pid: u32 = pid.parse().ok()?;
    look.processes().iter().find(|process| process.pid == pid)
}

/// What a process is named by: its service, or its own name and number.
fn entity_of(process: &Process) -> String {
    if process.unit.ends_with(".service") {
        return process.unit.to_string();
    }
    format!("{}[{}]", process.comm, process.pid)
}

/// A process as who did it: its service, or itself.
fn culprit_of(process: &Process, share: u8) -> Culprit {
    if process.unit.ends_with(".service") {
        return Culprit::Unit { unit: process.unit.to_string(), share };
    }
    Culprit::Process {
        pid: process.pid,
        start_ticks: process.start_ticks,
        comm: process.comm.to_string(),
        user: process.user.to_string(),
        share,
    }
}

/// A fact: as sure as what it was read from.
fn fact(
    input: &HostInput,
    category: sysop_common::finding::Category,
    entity: &str,
    onset: UnixMs,
) -> Finding {
    let mut finding = found(input, category, entity, onset, 1.0);
    finding.confidence = 100;
    finding.severity = Severity::Critical;
    finding
}

/// Since when something holds without a break in which it was seen not to, up to now.
fn since<'a>(input: &'a HostInput, holds: impl Fn(Look<'a>) -> Option<bool>) -> UnixMs {
    let mut first = input.window.latest().map_or(UnixMs(0), Look::at);
    for look in input.window.looks().rev() {
        match holds(look) {
            Some(true) => first = look.at(),
            Some(false) => break,
            None => {}
        }
    }
    first
}

/// Whether a gauge has been at `limit` or above in every look of the last `ms`, and was seen for that long.
fn lasts(input: &HostInput, id: MetricId, label: &str, limit: i64, ms: i64) -> bool {
    let Some(latest) = input.window.latest() else { return false };
    let mut oldest = latest.at();
    for look in input.window.last(ms + 5 * SECOND_MS) {
        match look.value(id, label) {
            Some(value) if value < limit => return false,
            Some(_) => oldest = oldest.min(look.at()),
            None => {}
        }
    }
    latest.at().since(oldest) + 5 * SECOND_MS >= ms
}

/// Minutes until a gauge of `label` is at `max` by the slope of its window; `None` when it does not rise
/// for sure.
fn minutes_left(input: &HostInput, id: MetricId, label: &str, max: f64) -> Option<f64> {
    let latest = input.window.latest()?;
    let start = input.window.looks().next()?.at();
    let same = |look: Look<'_>| look.same_boot(latest);
    let points: Vec<(f64, f64)> = input
        .window
        .looks()
        .filter(|look| same(*look))
        .filter_map(|look| Some((look.at().since(start) as f64 / 60_000.0, look.value(id, label)? as f64)))
        .collect();
    let (first, last) = (points.first()?, points.last()?);
    // A few looks tell no slope.
    if points.len() < 12 || last.0 - first.0 < 3.0 {
        return None;
    }
    let slope = trend(&points)?;
    (slope.low > 0.0).then(|| (max - last.1).max(0.0) / slope.mid)
}

/// A row with the newest value of a column.
fn row(rows: &mut Rows, look: Look<'_>, (id, label): (MetricId, &str), text: String) {
    let name = metric::by_id(id).map_or("", |metric| metric.name);
    let value = look.value(id, label).and_then(|value| u64::try_from(value).ok()).unwrap_or(0);
    rows.value((name, label), look.at(), number(value), text);
}

/// Processes begun per second over the last minute.
fn forks_per_second(input: &HostInput) -> Option<f64> {
    let (forks, ms) = grown(&input.window, metric::PROCS_FORKED, "", 60 * SECOND_MS)?;
    Some(forks * 1_000.0 / ms)
}

/// The value of a gauge from which its detector finds trouble, where that needs no other column.
pub(in crate::analyse) const fn alarm(id: MetricId) -> Option<i64> {
    Some(match id {
        metric::SIGNIN_FAILED_5M => signin::FIVE,
        metric::SIGNIN_FAILED_60M => signin::HOUR,
        metric::TASK_ZOMBIES => zombies::MANY,
        metric::TASK_STUCK => hung::STUCK_MS,
        metric::TCP_INBOUND_FROM => flood::MANY,
        metric::JOB_RUNS => jobs::RUNS,
        _ => return None,
    })
}
