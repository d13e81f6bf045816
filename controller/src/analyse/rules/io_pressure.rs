//! Work that waits for storage: because somebody keeps a disk busy, or because a limit holds it back.

use std::collections::{BTreeMap, BTreeSet};

use sysop_common::finding::{Category, Culprit, Finding, Severity, fingerprint};
use sysop_common::metric;
use sysop_common::time::{SECOND_MS, UnixMs};

use super::blame::{Use, blame};
use super::soft::{CLOSE, culprit, found, least, odds, over, percent, row, since, unit_of, usual};
use super::{Detector, HostInput, Look, Rows, word};
use crate::analyse::baseline::{
    Signal,
    signal::{Per, labels},
};

/// All tasks that could run wait for storage in this share of the time.
const WAITING: f64 = 0.20;
/// A disk whose requests take far longer than ever is enough with this much waiting.
const ODD_WAITING: f64 = 0.05;
/// A disk that is busy to this share explains waiting; below the lower one none does.
const BUSY: f64 = 0.80;
const IDLE: f64 = 0.50;
const STRETCH_MS: i64 = 30 * SECOND_MS;
const STRETCHES: usize = 2;
/// Work that is held back by a limit, or by storage elsewhere, waits for so many stretches: its own finding
/// comes first.
const LIMITED_STRETCHES: usize = 3;
/// Somebody else is seen to wait at least so often in this time: who waits for the requests that it makes
/// itself hurts nobody, and on a host that has nothing else to do is all of the pressure.
const VICTIMS: usize = 2;
const VICTIMS_MS: i64 = 90 * SECOND_MS;

/// Pressure on storage.
pub(super) struct IoPressure;

impl Detector for IoPressure {
    fn category(&self) -> Category {
        Category::IoPressure
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["psi.io.full", "disk.busy", "disk.read_time", "disk.write_time", "unit.io", "process.io"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        pressure(input).into_iter().collect()
    }

    fn odds(&self, input: &HostInput, _: &Finding) -> Option<f64> {
        let share = least(input, Signal::PsiIoFull, "", STRETCH_MS, STRETCHES)?;
        let disk = busiest(input).map_or(1.0, |disk| slowness(input, disk.name));
        Some((odds(input, Signal::PsiIoFull, "", share, WAITING) * disk).max(1e-12))
    }

    fn observes(&self, input: &HostInput, _: &str) -> bool {
        over(input, Signal::PsiIoFull, "", 60 * SECOND_MS).is_some()
    }
}

/// The disk that was busiest in the last minute.
struct Disk<'a> {
    name: &'a str,
    busy: f64,
    latency: Option<f64>,
}

fn busiest(input: &HostInput) -> Option<Disk<'_>> {
    let latest = input.window.latest()?;
    let minute = 60 * SECOND_MS;
    let busy = labels(latest, Per::Disk)
        .into_iter()
        .filter_map(|name| Some((name, over(input, Signal::DiskBusy, name, minute)?)));
    let (name, busy) = busy.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(a.0)))?;
    Some(Disk { name, busy, latency: over(input, Signal::DiskAwait, name, minute) })
}

/// How odd a disk's latency is, by its own past.
fn slowness(input: &HostInput, disk: &str) -> f64 {
    input.state.baselines.get(Signal::DiskAwait, disk).map_or(1.0, |known| known.odds().max(1e-4))
}

fn pressure(input: &HostInput) -> Option<Finding> {
    let open = input.open.contains(&fingerprint(Category::IoPressure, "host"));
    let waiting = least(input, Signal::PsiIoFull, "", STRETCH_MS, if open { 1 } else { STRETCHES })?;
    let disk = busiest(input);
    let slow = disk.as_ref().is_some_and(|disk| {
        let known = input.state.baselines.get(Signal::DiskAwait, disk.name);
        disk.busy >= BUSY && known.is_some_and(|known| known.z() > 4.0)
    });
    let holds = if open {
        waiting >= WAITING * CLOSE
    } else {
        let plain = waiting >= WAITING && !usual(input, Signal::PsiIoFull, "");
        plain || slow && waiting >= ODD_WAITING
    };
    let limited = disk.as_ref().is_some_and(|disk| disk.busy < IDLE);
    let lasts =
        || least(input, Signal::PsiIoFull, "", STRETCH_MS, LIMITED_STRETCHES).is_some_and(|w| w >= WAITING);
    let matters = open || if limited { lasts() } else { hurts(input) };
    if !holds || !matters {
        return None;
    }
    let say = input.text();
    let onset = since(input, Signal::PsiIoFull, "", (waiting / 2.0).min(WAITING));
    let chance = odds(input, Signal::PsiIoFull, "", waiting, WAITING);
    let mut finding = found(input, Category::IoPressure, "host", onset, chance);
    finding.title = say.say("io.title", &[]);
    let mut rows = Rows::default();
    let text = say.say("io.waiting", &[("percent", &percent(waiting))]);
    row(input, &mut rows, "psi.io.full", Signal::PsiIoFull, (waiting, onset, text));
    if let Some(disk) = &disk {
        told(input, &mut rows, disk, onset);
    } else {
        finding.not_observed.push("disk.busy".to_owned());
    }
    if limited {
        finding.cause = say.say("io.cause.limit", &[]);
    } else {
        let who = blame(input, Use::Io, onset, disk_bytes);
        if who.is_none() {
            finding.not_observed.push(say.say("soft.unseen.io", &[]));
        }
        (finding.culprit, finding.cause) = culprit(say, who, "io.cause");
    }
    victims(input, finding.culprit.as_ref(), &mut rows);
    if waiting >= 3.0 * WAITING {
        finding.severity = Severity::Critical;
    }
    finding.evidence = rows.0;
    Some(finding)
}

fn told(input: &HostInput, rows: &mut Rows, disk: &Disk<'_>, onset: UnixMs) {
    let say = input.text();
    let latency = disk.latency.map_or_else(|| "?".to_owned(), |ms| format!("{ms:.1}"));
    let text =
        say.say("io.disk", &[("disk", &disk.name), ("percent", &percent(disk.busy)), ("ms", &latency)]);
    let to = input.window.latest().map_or(onset, Look::at);
    let value = sysop_common::finding::Value::Number(super::soft::scaled(disk.busy));
    rows.change(("disk.busy_ratio", disk.name), None, (to, value), text);
}

/// Services whose processes wait in the kernel while another one uses the disk: they are slow because of
/// it, and not to blame.
fn victims(input: &HostInput, culprit: Option<&Culprit>, rows: &mut Rows) {
    let Some(latest) = input.window.latest() else { return };
    let waiting: BTreeSet<&str> = latest
        .processes()
        .iter()
        .filter(|process| process.state == b'D' && !process.unit.is_empty())
        .map(|process| process.unit.as_str())
        .filter(|unit| unit_of(culprit) != Some(*unit))
        .take(3)
        .collect();
    for unit in waiting {
        let text = input.text().say("io.victim", &[("unit", &unit)]);
        rows.value(("process.state", unit), latest.at(), word("D"), text);
    }
}

/// Whether somebody waits beside the one who waits most: a single process that waits for its own requests is
/// no trouble. Where no process is shown, nobody knows.
fn hurts(input: &HostInput) -> bool {
    let mut seen: BTreeMap<(&str, u32), usize> = BTreeMap::new();
    let mut shown = false;
    for look in input.window.last(VICTIMS_MS) {
        shown |= !look.processes().is_empty();
        for process in look.processes().iter().filter(|process| process.state == b'D') {
            // A service counts once, whichever of its processes waits.
            let pid = if process.unit.is_empty() { process.pid } else { 0 };
            *seen.entry((process.unit.as_str(), pid)).or_default() += 1;
        }
    }
    let most = seen.values().max().copied().unwrap_or(0);
    !shown || seen.values().sum::<usize>() - most >= VICTIMS
}

/// Bytes per second over all disks.
fn disk_bytes(a: Look<'_>, b: Look<'_>) -> Option<f64> {
    let ms = b.at().since(a.at());
    let mut bytes = 0;
    for name in labels(b, Per::Disk) {
        for id in [metric::DISK_READ_BYTES, metric::DISK_WRITE_BYTES] {
            bytes += b.value(id, name)?.checked_sub(a.value(id, name)?).filter(|grown| *grown >= 0)?;
        }
    }
    (ms > 0).then(|| bytes as f64 * 1_000.0 / ms as f64)
}
