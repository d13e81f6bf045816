//! Processes that wait in the kernel and do not come back, and services whose main process is stopped.

use sysop_common::finding::{Category, Culprit, Finding, Severity, fingerprint};
use sysop_common::metric;
use sysop_common::sample::{Active, Unit};
use sysop_common::time::{MINUTE_MS, SECOND_MS};

use super::super::word;
use super::{Detector, HostInput, Look, Rows, culprit_of, entity_of, fact, process, row, since};

/// A wait of this long at one place is no wait for a disk; the kernel's own watchdog warns then too.
pub(super) const STUCK_MS: i64 = 2 * MINUTE_MS;
/// What the agent shows as stopped lasts for most of a minute already.
const STOPPED_MS: i64 = 45 * SECOND_MS;
/// Processor time in this long in which a service did nothing, in µs.
const IDLE_MS: i64 = MINUTE_MS;
const IDLE_US: u64 = 2_000;

/// Waits in the kernel.
pub(super) struct Stuck;

impl Detector for Stuck {
    fn category(&self) -> Category {
        Category::StuckProcess
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["task.stuck", "process.unit"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        let mut found: Vec<Finding> = Vec::new();
        for label in latest.labels(metric::TASK_STUCK) {
            let next = stuck(input, latest, label);
            found.extend(next.filter(|next| !found.iter().any(|known| known.entity == next.entity)));
        }
        found
    }

    fn observes(&self, input: &HostInput, _: &str) -> bool {
        // The sensor that tells of waits tells of zombies too.
        input.window.latest().is_some_and(|latest| latest.labels(metric::TASKS_ZOMBIE).next().is_some())
    }
}

fn stuck(input: &HostInput, latest: Look<'_>, label: &str) -> Option<Finding> {
    let ms = latest.value(metric::TASK_STUCK, label).filter(|ms| *ms >= STUCK_MS)?;
    let (pid, channel) = label.split_once(' ').unwrap_or((label, "?"));
    let process = process(latest, pid)?;
    let say = input.text();
    let entity = entity_of(process);
    let onset = latest.at().plus(-ms);
    let mut finding = fact(input, Category::StuckProcess, &entity, onset);
    finding.title = say.say("stuck.title", &[("who", &entity)]);
    finding.cause = say.say("stuck.cause", &[]);
    finding.culprit = Some(culprit_of(process, 100));
    let mut rows = Rows::default();
    let span = say.span(ms);
    let text = say.say("stuck.for", &[("comm", &process.comm), ("pid", &pid), ("span", &span)]);
    row(&mut rows, latest, (metric::TASK_STUCK, label), text);
    if channel == "?" {
        finding.confidence = 85;
        finding.not_observed.push(say.say("stuck.unseen", &[]));
    } else {
        let text = say.say("stuck.channel", &[("channel", &channel)]);
        rows.value(("process.wchan", pid), latest.at(), word(channel), text);
    }
    finding.evidence = rows.0;
    Some(finding)
}

/// Services that say they run and do nothing.
pub(super) struct Hung;

impl Detector for Hung {
    fn category(&self) -> Category {
        Category::UnitHung
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["unit.active", "unit.main_pid", "unit.cpu", "task.stopped", "task.stuck"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        let running = latest.units().iter().filter(|unit| unit.active == Active::Active && unit.main_pid > 0);
        running.filter_map(|unit| hung(input, latest, unit)).collect()
    }

    fn observes(&self, input: &HostInput, entity: &str) -> bool {
        let Some(latest) = input.window.latest() else { return false };
        latest.unit(entity).is_some() && latest.labels(metric::TASKS_ZOMBIE).next().is_some()
    }
}

/// The column that tells that the main process is stopped, or waits in the kernel.
fn held(look: Look<'_>, pid: &str) -> Option<(metric::MetricId, String)> {
    let stopped = look.value(metric::TASK_STOPPED, pid).filter(|ms| *ms >= STOPPED_MS);
    if stopped.is_some() {
        return Some((metric::TASK_STOPPED, pid.to_owned()));
    }
    let of = |label: &&str| label.split_once(' ').is_some_and(|(stuck, _)| stuck == pid);
    let label = look.labels(metric::TASK_STUCK).find(of)?;
    let ms = look.value(metric::TASK_STUCK, label).filter(|ms| *ms >= STUCK_MS);
    ms.map(|_| (metric::TASK_STUCK, label.to_owned()))
}

fn hung(input: &HostInput, latest: Look<'_>, unit: &Unit) -> Option<Finding> {
    let pid = unit.main_pid.to_string();
    let (id, label) = held(latest, &pid)?;
    let idle = is_idle(input, latest, &unit.name);
    if idle == Some(false) && !input.open.contains(&fingerprint(Category::UnitHung, &unit.name)) {
        return None;
    }
    let say = input.text();
    let ms = latest.value(id, &label)?;
    let mut finding = fact(input, Category::UnitHung, &unit.name, latest.at().plus(-ms));
    finding.title = say.say("hung.title", &[("unit", &unit.name)]);
    let stopped = id == metric::TASK_STOPPED;
    finding.cause =
        if stopped { say.say("hung.cause.stopped", &[]) } else { say.say("hung.cause.stuck", &[]) };
    finding.severity = Severity::Critical;
    finding.culprit = Some(Culprit::Unit { unit: unit.name.to_string(), share: 100 });
    let mut rows = Rows::default();
    let span = say.span(ms);
    let text = if stopped {
        say.say("hung.stopped", &[("pid", &pid), ("span", &span)])
    } else {
        say.say("hung.stuck", &[("pid", &pid), ("span", &span)])
    };
    row(&mut rows, latest, (id, &label), text);
    match idle {
        Some(_) => {
            let onset = since(input, |look| look.unit(&unit.name).map(|known| known.cpu_us == unit.cpu_us));
            let span = say.span(latest.at().since(onset));
            let text = say.say("hung.idle", &[("unit", &unit.name), ("span", &span)]);
            rows.value(("unit.cpu", &unit.name), latest.at(), super::number(unit.cpu_us.unwrap_or(0)), text);
        }
        None => finding.not_observed.push("unit.cpu".to_owned()),
    }
    finding.not_observed.push(say.say("hung.unseen", &[]));
    finding.evidence = rows.0;
    Some(finding)
}

/// Whether the service used no processor time of late; `None` when that was not observed.
fn is_idle(input: &HostInput, latest: Look<'_>, name: &str) -> Option<bool> {
    let used = |look: Look<'_>| look.unit(name)?.cpu_us;
    let first = input.window.last(IDLE_MS + 5 * SECOND_MS).find(|look| look.same_boot(latest))?;
    // One look, or two close to each other, tell nothing.
    if latest.at().since(first.at()) * 2 < IDLE_MS {
        return None;
    }
    let grown = used(latest)?.checked_sub(used(first)?)?;
    Some(grown <= IDLE_US)
}
