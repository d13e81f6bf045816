//! Services that failed, and services that restart again and again.

use std::collections::BTreeSet;

use sysop_common::finding::{Category, Finding, Severity, fingerprint};
use sysop_common::sample::{Active, Unit};
use sysop_common::time::{DAY_MS, MINUTE_MS, UnixMs};

use super::{Detector, HostInput, Look, Rows, grown, number, pairs, word};

/// So many restarts within [`RESTART_WINDOW_MS`] are a loop.
const MANY_RESTARTS: u64 = 3;
const RESTART_WINDOW_MS: i64 = 10 * MINUTE_MS;

/// A service in state `failed`. What ended well, was stopped, or waits for its restart is in another
/// state; masked and skipped units never get there.
pub(super) struct Failed;

impl Detector for Failed {
    fn category(&self) -> Category {
        Category::UnitFailed
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["unit.active", "unit.sub", "unit.result", "unit.restarts"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        latest
            .units()
            .iter()
            .filter(|unit| unit.active == Active::Failed && unit.sub != "masked")
            .map(|unit| failed(input, latest, unit))
            .collect()
    }

    fn observes(&self, input: &HostInput, _: &str) -> bool {
        units_seen(input)
    }
}

/// A unit that left the list is not failed; a list that is empty tells nothing.
fn units_seen(input: &HostInput) -> bool {
    input.window.latest().is_some_and(|latest| !latest.units().is_empty())
}

fn failed(input: &HostInput, latest: Look<'_>, unit: &Unit) -> Finding {
    // The first look of the unbroken stretch in which it is failed, and the look before.
    let (mut first, mut before) = (latest, None);
    for look in input.window.looks().rev().skip(1) {
        match look.unit(&unit.name) {
            Some(known) if known.active == Active::Failed => first = look,
            known => {
                before = known.map(|known| (look.at(), known));
                break;
            }
        }
    }
    let since = latest.corrected(unit.since_ms).filter(|since| first.at().since(*since) < 7 * DAY_MS);
    let onset = since.map_or(first.at(), |since| since.min(first.at()));
    let mut rows = Rows::default();
    let was = before.map(|(at, unit)| (at, word(unit.active.word())));
    let text = match before {
        Some((_, before)) => format!("{} went from {} to failed", unit.name, before.active.word()),
        None => format!("{} is failed", unit.name),
    };
    rows.change(("unit.active", &unit.name), was, (first.at(), word("failed")), text);
    let mut not_observed = Vec::new();
    let cause = if unit.result.is_empty() {
        not_observed.push(format!("unit.result of {} (its log may tell why it failed)", unit.name));
        String::new()
    } else {
        let text = format!("systemd gives the result {}", unit.result);
        rows.value(("unit.result", &unit.name), latest.at(), word(&unit.result), text);
        result_in_words(&unit.result).to_owned()
    };
    if unit.restarts > 0 {
        let text = format!("systemd restarted it {} times by itself", unit.restarts);
        rows.value(("unit.restarts", &unit.name), latest.at(), number(unit.restarts.into()), text);
    }
    Finding {
        category: Category::UnitFailed,
        entity: unit.name.clone(),
        severity: Severity::Critical,
        confidence: 100,
        onset,
        last_true: latest.at(),
        active: true,
        title: format!("{} failed", unit.name),
        cause,
        culprit: None,
        evidence: rows.0,
        not_observed,
        caused_by: None,
    }
}

fn result_in_words(result: &str) -> &'static str {
    match result {
        "exit-code" => "its process ended with an error",
        "signal" => "its process was killed by a signal",
        "core-dump" => "its process crashed",
        "oom-kill" => "the kernel killed it for memory",
        "timeout" => "it did not start or stop in time",
        "watchdog" => "it stopped answering systemd's watchdog",
        "start-limit-hit" => "it was started too often in too short a time",
        "resources" => "the system lacked something that it needs to start",
        "protocol" => "it did not do what its service type promises",
        "exec-condition" => "a condition for its start was not met",
        _ => "",
    }
}

/// A service that systemd restarts again and again.
pub(super) struct Flapping;

impl Detector for Flapping {
    fn category(&self) -> Category {
        Category::UnitFlapping
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["unit.restarts", "unit.sub"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        let restarted: BTreeSet<&str> =
            latest.units().iter().filter(|unit| unit.restarts > 0).map(|unit| unit.name.as_str()).collect();
        restarted.into_iter().filter_map(|name| flapping(input, latest, name)).collect()
    }

    fn observes(&self, input: &HostInput, _: &str) -> bool {
        units_seen(input)
    }
}

fn flapping(input: &HostInput, latest: Look<'_>, name: &str) -> Option<Finding> {
    let restarts = |look: Look<'_>| look.unit(name).map(|unit| u64::from(unit.restarts));
    let rises: Vec<(UnixMs, u64)> = pairs(input.window.looks())
        .into_iter()
        .filter_map(|(before, now)| {
            let rise = grown(restarts(before), restarts(now))?;
            (rise > 0).then_some((now.at(), rise))
        })
        .collect();
    let since = latest.at().plus(-RESTART_WINDOW_MS);
    let within: u64 = rises.iter().filter(|(at, _)| *at >= since).map(|(_, rise)| rise).sum();
    let open = input.open.contains(&fingerprint(Category::UnitFlapping, name));
    if within < MANY_RESTARTS && (!open || rises.is_empty()) {
        return None;
    }
    let (first, last) = (rises.first()?.0, rises.last()?.0);
    let all: u64 = rises.iter().map(|(_, rise)| rise).sum();
    let now = restarts(latest)?;
    let before = (first, number(now.saturating_sub(all)));
    let mut rows = Rows::default();
    let text =
        format!("systemd restarted {name} {all} times within {}", super::span(last.since(first).max(1_000)));
    rows.change(("unit.restarts", name), Some(before), (last, number(now)), text);
    Some(Finding {
        category: Category::UnitFlapping,
        entity: name.to_owned(),
        severity: Severity::Critical,
        confidence: 100,
        onset: first,
        last_true: last,
        active: true,
        title: format!("{name} restarts again and again"),
        cause: "it ends soon after each start; another restart will not change that".to_owned(),
        culprit: None,
        evidence: rows.0,
        not_observed: Vec::new(),
        caused_by: None,
    })
}
