//! Services that failed, and services that restart again and again.

use std::collections::BTreeSet;

use sysop_common::finding::{Category, Finding, Severity, fingerprint};
use sysop_common::sample::{Active, Unit};
use sysop_common::time::{DAY_MS, MINUTE_MS, UnixMs};

use super::{Detector, HostInput, Look, Rows, grown, number, pairs, word};
use crate::analyse::statistics::distribution::poisson_tail;

/// So many restarts within [`RESTART_WINDOW_MS`] are a loop.
const MANY_RESTARTS: u64 = 3;
const RESTART_WINDOW_MS: i64 = 10 * MINUTE_MS;
/// So many restarts in an hour that chance gives them this seldom at the service's own rate are one too; a
/// rate per hour below the last is not believed.
const ODD: f64 = 1e-4;
const LEAST_RATE: f64 = 0.05;
/// And it is over when none came for this long.
const QUIET_MS: i64 = 30 * MINUTE_MS;

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
    let say = input.text();
    let mut rows = Rows::default();
    let was = before.map(|(at, unit)| (at, word(unit.active.word())));
    let text = match before {
        Some((_, before)) => {
            say.say("unit.failed.went", &[("unit", &unit.name), ("before", &before.active.word())])
        }
        None => say.say("unit.failed.is", &[("unit", &unit.name)]),
    };
    rows.change(("unit.active", &unit.name), was, (first.at(), word("failed")), text);
    let mut not_observed = Vec::new();
    let cause = if unit.result.is_empty() {
        not_observed.push(say.say("unit.failed.unseen", &[("unit", &unit.name)]));
        String::new()
    } else {
        let text = say.say("unit.failed.result", &[("result", &unit.result)]);
        rows.value(("unit.result", &unit.name), latest.at(), word(&unit.result), text);
        say.get(&format!("unit.result.{}", unit.result)).unwrap_or_default().to_owned()
    };
    if unit.restarts > 0 {
        let text = say.say("unit.failed.restarts", &[("count", &unit.restarts)]);
        rows.value(("unit.restarts", &unit.name), latest.at(), number(unit.restarts.into()), text);
    }
    Finding {
        category: Category::UnitFailed,
        entity: unit.name.to_string(),
        severity: Severity::Critical,
        confidence: 100,
        onset,
        last_true: latest.at(),
        active: true,
        title: say.say("unit.failed.title", &[("unit", &unit.name)]),
        cause,
        culprit: None,
        evidence: rows.0,
        not_observed,
        caused_by: None,
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
        return slow(input, latest, name);
    }
    let (first, last) = (rises.first()?.0, rises.last()?.0);
    let all: u64 = rises.iter().map(|(_, rise)| rise).sum();
    let now = restarts(latest)?;
    let before = (first, number(now.saturating_sub(all)));
    let mut rows = Rows::default();
    let say = input.text();
    let span = say.span(last.since(first).max(1_000));
    let text = say.say("unit.flapping.restarts", &[("unit", &name), ("count", &all), ("span", &span)]);
    rows.change(("unit.restarts", name), Some(before), (last, number(now)), text);
    Some(Finding {
        category: Category::UnitFlapping,
        entity: name.to_owned(),
        severity: Severity::Critical,
        confidence: 100,
        onset: first,
        last_true: last,
        active: true,
        title: say.say("unit.flapping.title", &[("unit", &name)]),
        cause: say.say("unit.flapping.cause", &[]),
        culprit: None,
        evidence: rows.0,
        not_observed: Vec::new(),
        caused_by: None,
    })
}

/// Restarts that are too far apart for a loop, but far more than is usual for the service.
fn slow(input: &HostInput, latest: Look<'_>, name: &str) -> Option<Finding> {
    let times = input.state.entities.restarts(name);
    let (first, last) = (UnixMs(*times.first()?), UnixMs(*times.last()?));
    let count = u64::try_from(times.len()).unwrap_or(0);
    let usual = input.state.entities.usual(&format!("restarts:{name}"));
    // A service that was never seen to restart may do so once a day.
    let usual = usual.filter(|usual| usual.is_grown()).map_or(LEAST_RATE, |usual| usual.mean.max(LEAST_RATE));
    let odd = count >= MANY_RESTARTS && poisson_tail(count, usual) < ODD;
    if !odd || latest.at().since(last) >= QUIET_MS {
        return None;
    }
    let say = input.text();
    let now = latest.unit(name)?.restarts;
    let mut rows = Rows::default();
    let (span, rate) = (say.span(last.since(first).max(1_000)), format!("{usual:.2}"));
    let before = (first, number(u64::from(now).saturating_sub(count)));
    let text = say
        .say("unit.flapping.slow", &[("unit", &name), ("count", &count), ("span", &span), ("usual", &rate)]);
    rows.change(("unit.restarts", name), Some(before), (last, number(now.into())), text);
    Some(Finding {
        category: Category::UnitFlapping,
        entity: name.to_owned(),
        severity: Severity::Warning,
        confidence: 90,
        onset: first,
        last_true: last,
        active: true,
        title: say.say("unit.flapping.title", &[("unit", &name)]),
        cause: say.say("unit.flapping.cause", &[]),
        culprit: None,
        evidence: rows.0,
        not_observed: Vec::new(),
        caused_by: None,
    })
}
