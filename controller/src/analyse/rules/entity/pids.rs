//! Services, and hosts, that come near their limit of processes and threads.

use sysop_common::finding::{Category, Culprit, Finding, Severity, fingerprint};
use sysop_common::metric;
use sysop_common::time::{MINUTE_MS, UnixMs};

use super::super::soft::percent;
use super::{CLOSE, Detector, HostInput, Look, Rows, fact, forks_per_second, minutes_left, row, since};

/// Share of the limit that is told.
const SHARE: f64 = 0.8;
/// From half of the limit on, an end within so many minutes is told.
const HALF: f64 = 0.5;
const SOON_MINUTES: f64 = 60.0;
/// Refused forks are news for this long.
const NEWS_MS: i64 = 5 * MINUTE_MS;
/// So many processes begun per second, on a host where a limit is near, are a bomb.
pub(in crate::analyse) const BOMB: f64 = 20.0;

/// Processes and threads.
pub(super) struct Pids;

impl Detector for Pids {
    fn category(&self) -> Category {
        Category::PidExhaustion
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["unit.pids", "unit.pids.max", "unit.pids.refused", "threads.total", "pid.max", "procs.forked"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        let units = latest.labels(metric::UNIT_PIDS_MAX).filter_map(|unit| near(input, latest, unit));
        host(input, latest).into_iter().chain(units).collect()
    }

    fn observes(&self, input: &HostInput, entity: &str) -> bool {
        let Some(latest) = input.window.latest() else { return false };
        match entity {
            "host" => latest.value(metric::THREADS_TOTAL, "").is_some(),
            // A unit without columns is below half of its limit, if it is there at all.
            unit => latest.unit(unit).is_some(),
        }
    }
}

fn share(look: Look<'_>, unit: &str) -> Option<f64> {
    let (used, max) = (look.value(metric::UNIT_PIDS, unit)?, look.value(metric::UNIT_PIDS_MAX, unit)?);
    (max > 0).then(|| used as f64 / max as f64)
}

/// Forks refused of late, and when the last of them was.
fn refused(input: &HostInput, unit: &str) -> Option<(u64, UnixMs)> {
    let looks = super::super::pairs(input.window.last(NEWS_MS));
    let value = |look: Look<'_>| look.value(metric::UNIT_PIDS_REFUSED, unit);
    let rises: Vec<(u64, UnixMs)> = looks
        .into_iter()
        .filter_map(|(before, now)| {
            // The column comes with the crowd: a first value that is not 0 was counted before.
            let grown = value(now)?.checked_sub(value(before)?)?;
            u64::try_from(grown).ok().filter(|grown| *grown > 0).map(|grown| (grown, now.at()))
        })
        .collect();
    let sum = rises.iter().map(|(grown, _)| grown).sum();
    rises.last().map(|(_, at)| (sum, *at))
}

fn near(input: &HostInput, latest: Look<'_>, unit: &str) -> Option<Finding> {
    let share = share(latest, unit)?;
    let open = input.open.contains(&fingerprint(Category::PidExhaustion, unit));
    let limit = if open { SHARE * CLOSE } else { SHARE };
    let refused = refused(input, unit);
    let max = latest.value(metric::UNIT_PIDS_MAX, unit)? as f64;
    let left = (share >= HALF).then(|| minutes_left(input, metric::UNIT_PIDS, unit, max)).flatten();
    let soon = left.is_some_and(|left| left < SOON_MINUTES);
    if share < limit && !soon && refused.is_none() {
        return None;
    }
    let say = input.text();
    let onset = since(input, |look| super::pids::share(look, unit).map(|share| share >= HALF));
    let mut finding = fact(input, Category::PidExhaustion, unit, onset);
    let bomb = forks_per_second(input).filter(|rate| *rate >= BOMB && (soon || refused.is_some()));
    finding.severity = if refused.is_some() || share >= 0.9 { Severity::Critical } else { Severity::Warning };
    finding.title = say.say("pids.title", &[("unit", &unit)]);
    finding.cause = if bomb.is_some() {
        say.say("pids.cause.bomb", &[("unit", &unit)])
    } else {
        say.say("pids.cause", &[("unit", &unit)])
    };
    let mut rows = Rows::default();
    let (used, most) = (latest.value(metric::UNIT_PIDS, unit)?, max as i64);
    let text = say.say("pids.share", &[("used", &used), ("max", &most), ("percent", &percent(share))]);
    row(&mut rows, latest, (metric::UNIT_PIDS, unit), text);
    match refused {
        Some((count, _)) => {
            let text = say.say("pids.refused", &[("count", &count)]);
            row(&mut rows, latest, (metric::UNIT_PIDS_REFUSED, unit), text);
        }
        None if latest.value(metric::UNIT_PIDS_REFUSED, unit).is_none() => {
            finding.not_observed.push("unit.pids.refused".to_owned());
        }
        None => {}
    }
    if let Some(rate) = bomb {
        let text = say.say("pids.forks", &[("n", &format!("{rate:.0}"))]);
        row(&mut rows, latest, (metric::PROCS_FORKED, ""), text);
    }
    finding.evidence = rows.0;
    finding.culprit = Some(Culprit::Unit { unit: unit.to_owned(), share: 100 });
    Some(finding)
}

fn host(input: &HostInput, latest: Look<'_>) -> Option<Finding> {
    let share = |look: Look<'_>| {
        let (used, max) = (look.value(metric::THREADS_TOTAL, "")?, look.value(metric::PID_MAX, "")?);
        (max > 0).then(|| used as f64 / max as f64)
    };
    let now = share(latest)?;
    let open = input.open.contains(&fingerprint(Category::PidExhaustion, "host"));
    let limit = if open { SHARE * CLOSE } else { SHARE };
    if now < limit {
        return None;
    }
    let say = input.text();
    let onset = since(input, |look| share(look).map(|share| share >= limit));
    let mut finding = fact(input, Category::PidExhaustion, "host", onset);
    finding.title = say.say("pids.host.title", &[]);
    finding.cause = say.say("pids.host.cause", &[]);
    let mut rows = Rows::default();
    let text = say.say("pids.host.share", &[("percent", &percent(now))]);
    row(&mut rows, latest, (metric::THREADS_TOTAL, ""), text);
    finding.evidence = rows.0;
    Some(finding)
}
