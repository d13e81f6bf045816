//! One source that opens very many connections.

use sysop_common::finding::{Category, Finding, Severity, fingerprint};
use sysop_common::metric;

use super::super::soft::{found, percent};
use super::{Detector, HostInput, Look, Rows, odds_at, row};

/// Connections of one source, and its share of all inbound ones, from which it is told.
pub(super) const MANY: i64 = 200;
const SHARE: f64 = 0.5;
/// It must have so many times what is usual for it: a proxy in front of a service has all of its connections.
const TIMES: f64 = 4.0;

/// Floods by source.
pub(super) struct Source;

impl Detector for Source {
    fn category(&self) -> Category {
        Category::ConnectionFlood
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["tcp.inbound", "tcp.inbound.from"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        latest.labels(metric::TCP_INBOUND_FROM).filter_map(|source| flood(input, latest, source)).collect()
    }

    fn odds(&self, input: &HostInput, finding: &Finding) -> Option<f64> {
        let count = input.window.latest()?.value(metric::TCP_INBOUND_FROM, &finding.entity).unwrap_or(0);
        Some(odds_at(count as f64, MANY as f64))
    }

    fn observes(&self, input: &HostInput, entity: &str) -> bool {
        entity != "host"
            && input.window.latest().is_some_and(|latest| latest.value(metric::TCP_INBOUND, "").is_some())
    }
}

fn flood(input: &HostInput, latest: Look<'_>, source: &str) -> Option<Finding> {
    let count = latest.value(metric::TCP_INBOUND_FROM, source)?;
    let all = latest.value(metric::TCP_INBOUND, "").filter(|all| *all > 0)?;
    let share = (count as f64 / all as f64).min(1.0);
    let open = input.open.contains(&fingerprint(Category::ConnectionFlood, source));
    let holds = if open {
        count >= MANY / 3
    } else {
        // What it had a quarter of an hour ago, and on other days: a source without a column had few.
        let earlier =
            input.window.looks().next().and_then(|look| look.value(metric::TCP_INBOUND_FROM, source));
        let usual = input.state.entities.usual(&format!("source:{source}"));
        // A mean of a few minutes would be of the flood itself.
        let usual = usual.filter(|usual| usual.minutes >= 60).map_or(0.0, |usual| usual.mean);
        let before = usual.max(earlier.unwrap_or(0) as f64);
        count >= MANY && share >= SHARE && count as f64 >= TIMES * before
    };
    if !holds {
        return None;
    }
    let say = input.text();
    let onset = super::since(input, |look| {
        let seen = look.value(metric::TCP_INBOUND, "")?;
        Some(seen > 0 && look.value(metric::TCP_INBOUND_FROM, source).unwrap_or(0) >= MANY / 3)
    });
    let chance = odds_at(count as f64, MANY as f64);
    let mut finding = found(input, Category::ConnectionFlood, source, onset, chance);
    if count >= 5 * MANY {
        finding.severity = Severity::Critical;
    }
    finding.title = say.say("flood.source.title", &[("source", &source)]);
    finding.cause = say.say("flood.source.cause", &[("source", &source)]);
    let mut rows = Rows::default();
    let text = say.say("flood.source.count", &[("count", &count), ("percent", &percent(share))]);
    row(&mut rows, latest, (metric::TCP_INBOUND_FROM, source), text);
    finding.evidence = rows.0;
    Some(finding)
}
