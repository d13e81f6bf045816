//! Resolvers that do not answer the agent's own questions.

use sysop_common::finding::{Category, Culprit, Finding, Severity, fingerprint};
use sysop_common::metric;
use sysop_common::sample::Active;
use sysop_common::time::MINUTE_MS;

use super::super::soft::percent;
use super::{Detector, HostInput, Rows, fact, number};
use crate::analyse::entities::grown;

/// More than this share of at least so many questions failed, over the first of these times in which there
/// were so many: the agent asks once a minute, and more often after a failure.
const SHARE: f64 = 0.5;
const TRIES: f64 = 10.0;
const TIMES_MS: [i64; 2] = [2 * MINUTE_MS, 12 * MINUTE_MS];
/// An open finding is over when less than this share fails.
const SHARE_OPEN: f64 = 0.2;
/// Services that resolve names on a host.
const RESOLVERS: [&str; 7] = [
    "systemd-resolved.service",
    "unbound.service",
    "dnsmasq.service",
    "named.service",
    "bind9.service",
    "pdns-recursor.service",
    "knot-resolver.service",
];

/// Name resolution.
pub(super) struct Dns;

impl Detector for Dns {
    fn category(&self) -> Category {
        Category::DnsFailure
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["dns.tries", "dns.failures", "unit.active"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        failing(input).into_iter().collect()
    }

    fn observes(&self, input: &HostInput, _: &str) -> bool {
        input.window.latest().is_some_and(|latest| latest.value(metric::DNS_TRIES, "").is_some())
    }
}

fn failing(input: &HostInput) -> Option<Finding> {
    let latest = input.window.latest()?;
    let open = input.open.contains(&fingerprint(Category::DnsFailure, "host"));
    let seen = |ms: i64| {
        let (tries, _) = grown(&input.window, metric::DNS_TRIES, "", ms)?;
        let (failures, _) = grown(&input.window, metric::DNS_FAILURES, "", ms)?;
        (tries >= if open { 2.0 } else { TRIES }).then_some((tries, failures, ms))
    };
    let (tries, failures, ms) = TIMES_MS.into_iter().find_map(seen)?;
    let share = failures / tries;
    if share <= if open { SHARE_OPEN } else { SHARE } {
        return None;
    }
    let say = input.text();
    let mut finding = fact(input, Category::DnsFailure, "host", latest.at().plus(-ms));
    finding.severity = if share >= 0.9 { Severity::Critical } else { Severity::Warning };
    finding.title = say.say("dns.title", &[]);
    let local =
        RESOLVERS.iter().filter_map(|name| latest.unit(name)).find(|unit| unit.active == Active::Active);
    finding.cause = match local {
        Some(unit) => say.say("dns.cause.local", &[("unit", &unit.name)]),
        None => say.say("dns.cause", &[]),
    };
    finding.culprit = local.map(|unit| Culprit::Unit { unit: unit.name.to_string(), share: 100 });
    let mut rows = Rows::default();
    let span = say.span(ms);
    let (failed, asked) = (format!("{failures:.0}"), format!("{tries:.0}"));
    let text = say.say("dns.share", &[("failures", &failed), ("tries", &asked), ("span", &span)]);
    rows.value(("dns.failures", ""), latest.at(), number(percent(share).unsigned_abs()), text);
    finding.evidence = rows.0;
    finding.not_observed.push(say.say("dns.unseen", &[]));
    Some(finding)
}
