//! Logs that grow far faster than they used to, and the service that began to work hard with them.

use sysop_common::finding::{Category, Culprit, Finding, Severity, fingerprint};
use sysop_common::metric;
use sysop_common::sample::Unit;
use sysop_common::time::{MINUTE_MS, SECOND_MS};

use super::super::memory::Who;
use super::super::soft::{culprit, found};
use super::{Detector, HostInput, Look, Rows, number, odds_at};
use crate::analyse::attribute::{Part, attribute};
use crate::analyse::entities::grown;
use crate::analyse::messages::bytes;

/// Bytes per second from which a log floods, and how many times what is usual for it.
const RATE: f64 = 1_048_576.0;
const TIMES: f64 = 5.0;
/// Over this time: journald reserves space in steps of 8 MiB.
const STRETCH_MS: i64 = 2 * MINUTE_MS;
/// Services that write what others say.
const WRITERS: [&str; 5] =
    ["systemd-journald.service", "rsyslog.service", "syslog-ng.service", "auditd.service", "syslog.service"];

/// Floods of log.
pub(super) struct LogFlood;

impl Detector for LogFlood {
    fn category(&self) -> Category {
        Category::LogFlood
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["log.bytes", "unit.cpu", "unit.io_write"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        latest.labels(metric::LOG_BYTES).filter_map(|log| flood(input, latest, log)).collect()
    }

    fn odds(&self, input: &HostInput, finding: &Finding) -> Option<f64> {
        Some(odds_at(rate(input, &finding.entity).unwrap_or(0.0), RATE))
    }

    fn observes(&self, input: &HostInput, entity: &str) -> bool {
        let latest = input.window.latest();
        latest.is_some_and(|latest| latest.value(metric::LOG_BYTES, entity).is_some())
    }
}

fn rate(input: &HostInput, log: &str) -> Option<f64> {
    let (bytes, ms) = grown(&input.window, metric::LOG_BYTES, log, STRETCH_MS)?;
    Some(bytes * 1_000.0 / ms)
}

fn flood(input: &HostInput, latest: Look<'_>, log: &str) -> Option<Finding> {
    let rate = rate(input, log)?;
    let usual = input.state.entities.usual(&format!("log:{log}")).filter(|usual| usual.is_grown());
    let usual = usual.map_or(0.0, |usual| usual.mean);
    let open = input.open.contains(&fingerprint(Category::LogFlood, log));
    let limit = RATE.max(TIMES * usual) * if open { 1.0 / 3.0 } else { 1.0 };
    if rate < limit {
        return None;
    }
    let say = input.text();
    let mut finding =
        found(input, Category::LogFlood, log, latest.at().plus(-STRETCH_MS), odds_at(rate, RATE));
    if rate >= 10.0 * RATE {
        finding.severity = Severity::Critical;
    }
    let journal = log == "journal";
    finding.title = if journal {
        say.say("logs.title.journal", &[])
    } else {
        say.say("logs.title.file", &[("file", &log)])
    };
    let parts = rises(input, latest, journal);
    let sum: f64 = parts.iter().map(|part| part.amount).sum();
    // Of a file it is known how much is written, and so how much is nobody's.
    let whole = if journal { sum } else { rate / 1_000.0 };
    let attribution = (!parts.is_empty()).then(|| attribute(whole, &parts));
    let (who, cause) = culprit(say, attribution, "logs.cause");
    (finding.culprit, finding.cause) = (who, cause);
    if matches!(finding.culprit, None | Some(Culprit::Diffuse { .. })) {
        finding.cause = say.say("logs.cause.unclear", &[]);
    }
    let mut rows = Rows::default();
    let (now, before) = (bytes(rate), bytes(usual));
    let text = say.say("logs.rate", &[("log", &log), ("rate", &now), ("usual", &before)]);
    rows.value(("log.bytes", log), latest.at(), number(rate as u64), text);
    finding.evidence = rows.0;
    finding.not_observed.push(say.say("logs.unseen", &[]));
    Some(finding)
}

/// How much more each service does than before: processor time where it speaks to the journal, bytes
/// written where it writes a file itself.
fn rises(input: &HostInput, latest: Look<'_>, journal: bool) -> Vec<Part<Who>> {
    let amount = |unit: &Unit| if journal { unit.cpu_us } else { unit.io_write_bytes };
    let middle = input.window.last(STRETCH_MS + 5 * SECOND_MS).find(|look| look.same_boot(latest));
    let start = input.window.looks().find(|look| look.same_boot(latest));
    let (Some(middle), Some(start)) = (middle, start) else { return Vec::new() };
    if start.units().is_empty() || middle.units().is_empty() {
        return Vec::new();
    }
    let speed = |from: Look<'_>, to: Look<'_>, name: &str| {
        let ms = to.at().since(from.at());
        let first = match from.unit(name) {
            Some(known) => amount(known),
            // No services at all: they were not read, so that nobody is new.
            None if from.units().is_empty() => None,
            None => Some(0),
        };
        let grown = amount(to.unit(name)?)?.checked_sub(first?)?;
        (ms > 0).then(|| grown as f64 / ms as f64)
    };
    let rise = |unit: &Unit| {
        let now = speed(middle, latest, &unit.name)?;
        let before = speed(start, middle, &unit.name).unwrap_or(0.0);
        // In journald's way 10 µs per ms, or in a file's 100 bytes per ms, are too little for a flood.
        let least = if journal { 10.0 } else { 100.0 };
        (now - before >= least).then(|| Part { who: Who::Unit(unit.name.to_string()), amount: now - before })
    };
    latest.units().iter().filter(|unit| !WRITERS.contains(&unit.name.as_str())).filter_map(rise).collect()
}
