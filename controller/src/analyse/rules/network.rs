//! Packets that are lost or damaged, and floods of connections, by the host's own counters.

use sysop_common::finding::{Category, Finding, Severity, Value, fingerprint};
use sysop_common::time::{MINUTE_MS, SECOND_MS};

use super::soft::{CLOSE, found, least, odds, over, percent, row, scaled, since, usual};
use super::{Detector, HostInput, Look, Rows};
use crate::analyse::baseline::{
    Signal,
    signal::{Per, labels},
};

/// This share of segments sent again is trouble where the host's past has nothing like it; where the past
/// is not known, the second.
const RESENT: (f64, f64) = (0.02, 0.05);
/// This share of an interface's packets with an error.
const DAMAGED: f64 = 0.01;
/// The table of tracked connections is used to this share; node_exporter's own alerts use the same.
const TABLE: f64 = 0.75;
/// Half-open connections, and connections per second that no listener took.
const HALF_OPEN: f64 = 128.0;
const REFUSED: f64 = 1.0;
/// So many times as many connections as usual, and at least so many.
const TIMES: f64 = 4.0;
const MANY: f64 = 300.0;

/// Loss and damage on the way.
pub(super) struct NetLoss;

impl Detector for NetLoss {
    fn category(&self) -> Category {
        Category::NetLoss
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["tcp.retransmits", "tcp.out_segments", "net.rx_errors", "net.tx_errors"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        let Some(latest) = input.window.latest() else { return Vec::new() };
        let damaged = labels(latest, Per::Interface).into_iter().filter_map(|name| damaged(input, name));
        resent(input).into_iter().chain(damaged).collect()
    }

    fn odds(&self, input: &HostInput, finding: &Finding) -> Option<f64> {
        let (signal, label, limit) = match finding.entity.as_str() {
            "host" => (Signal::Retransmits, "", RESENT.0),
            name => (Signal::NetErrors, name, DAMAGED),
        };
        let share = least(input, signal, label, MINUTE_MS, 2).unwrap_or(0.0);
        Some(odds(input, signal, label, share, limit))
    }

    fn observes(&self, input: &HostInput, entity: &str) -> bool {
        let (signal, label) = match entity {
            "host" => (Signal::Retransmits, ""),
            name => (Signal::NetErrors, name),
        };
        over(input, signal, label, MINUTE_MS).is_some()
    }
}

fn resent(input: &HostInput) -> Option<Finding> {
    let open = input.open.contains(&fingerprint(Category::NetLoss, "host"));
    let share = least(input, Signal::Retransmits, "", MINUTE_MS, if open { 1 } else { 2 })?;
    let known = input.state.baselines.get(Signal::Retransmits, "").filter(|known| known.grown_up());
    let odd = known.is_some_and(|known| known.peaked() || known.z() > 4.0);
    let holds = if open {
        share >= RESENT.0 * CLOSE
    } else {
        odd && share >= RESENT.0 || known.is_none() && share >= RESENT.1
    };
    holds.then(|| {
        let say = input.text();
        let onset = since(input, Signal::Retransmits, "", RESENT.0);
        let chance = odds(input, Signal::Retransmits, "", share, RESENT.0);
        let mut finding = found(input, Category::NetLoss, "host", onset, chance);
        finding.title = say.say("net.loss.title", &[]);
        finding.cause = say.say("net.loss.cause", &[]);
        let mut rows = Rows::default();
        let text = say.say("net.loss.share", &[("percent", &format!("{:.1}", share * 100.0))]);
        row(input, &mut rows, "tcp.retransmits", Signal::Retransmits, (share, onset, text));
        finding.evidence = rows.0;
        finding
    })
}

fn damaged(input: &HostInput, name: &str) -> Option<Finding> {
    let open = input.open.contains(&fingerprint(Category::NetLoss, name));
    let limit = if open { DAMAGED * CLOSE } else { DAMAGED };
    let share = least(input, Signal::NetErrors, name, MINUTE_MS, if open { 1 } else { 2 })
        .filter(|share| *share >= limit && (open || !usual(input, Signal::NetErrors, name)))?;
    let say = input.text();
    let onset = since(input, Signal::NetErrors, name, limit);
    let mut finding =
        found(input, Category::NetLoss, name, onset, odds(input, Signal::NetErrors, name, share, DAMAGED));
    finding.title = say.say("net.errors.title", &[("interface", &name)]);
    finding.cause = say.say("net.errors.cause", &[]);
    let mut rows = Rows::default();
    let to = input.window.latest().map_or(onset, Look::at);
    let text =
        say.say("net.errors.share", &[("interface", &name), ("percent", &format!("{:.1}", share * 100.0))]);
    rows.value(("net.errors", name), to, Value::Number(scaled(share)), text);
    finding.evidence = rows.0;
    Some(finding)
}

/// Very many connections.
pub(super) struct Flood;

/// What tells a flood: its signal, the limit, what is read, and its sentence.
const SIGNS: [(Signal, f64, &str, &str); 4] = [
    (Signal::Conntrack, TABLE, "conntrack.used_ratio", "flood.table"),
    (Signal::SynReceived, HALF_OPEN, "tcp.syn_received", "flood.half_open"),
    (Signal::Overflows, REFUSED, "tcp.listen_overflows", "flood.refused"),
    (Signal::Established, MANY, "tcp.established", "flood.established"),
];

impl Detector for Flood {
    fn category(&self) -> Category {
        Category::ConnectionFlood
    }

    fn inputs(&self) -> &'static [&'static str] {
        &["conntrack.used", "conntrack.max", "tcp.syn_received", "tcp.listen_overflows", "tcp.established"]
    }

    fn look(&self, input: &HostInput) -> Vec<Finding> {
        flood(input).into_iter().collect()
    }

    fn odds(&self, input: &HostInput, _: &Finding) -> Option<f64> {
        let each = signs(input, false).into_iter();
        Some(each.map(|(at, value)| odds(input, SIGNS[at].0, "", value, SIGNS[at].1)).fold(1.0, f64::min))
    }

    fn observes(&self, input: &HostInput, entity: &str) -> bool {
        entity == "host" && SIGNS.iter().any(|sign| over(input, sign.0, "", MINUTE_MS).is_some())
    }
}

/// Signs that hold, with their values.
fn signs(input: &HostInput, open: bool) -> Vec<(usize, f64)> {
    let factor = if open { CLOSE } else { 1.0 };
    let holds = |signal: Signal, value: f64, limit: f64| match signal {
        // A table three quarters full is trouble near; a third of that is nothing.
        Signal::Conntrack => value >= if open { limit * 0.8 } else { limit },
        Signal::Established => {
            let known = input.state.baselines.get(signal, "").filter(|known| known.grown_up());
            known.is_some_and(|known| {
                let odd = open || known.peaked() || known.shifted_up().is_some();
                value >= (limit * factor).max(TIMES * factor * known.expected()) && odd
            })
        }
        _ => value >= limit * factor && (open || !usual(input, signal, "")),
    };
    let stretches = if open { 1 } else { 2 };
    SIGNS
        .iter()
        .enumerate()
        .filter_map(|(at, (signal, limit, ..))| {
            let value = least(input, *signal, "", 20 * SECOND_MS, stretches)?;
            holds(*signal, value, *limit).then_some((at, value))
        })
        .collect()
}

fn flood(input: &HostInput) -> Option<Finding> {
    let open = input.open.contains(&fingerprint(Category::ConnectionFlood, "host"));
    let signs = signs(input, open);
    let (first, value) = *signs.first()?;
    let (signal, limit, ..) = SIGNS[first];
    let say = input.text();
    let onset = since(input, signal, "", limit * CLOSE);
    let mut finding =
        found(input, Category::ConnectionFlood, "host", onset, odds(input, signal, "", value, limit));
    finding.title = say.say("flood.title", &[]);
    finding.cause = say.say("flood.cause", &[]);
    finding.not_observed.push(say.say("flood.unseen", &[]));
    let mut rows = Rows::default();
    for (at, value) in &signs {
        let (signal, _, metric, key) = SIGNS[*at];
        let share = signal == Signal::Conntrack;
        let told = if share { format!("{}", percent(*value)) } else { format!("{value:.0}") };
        let text = say.say(key, &[("n", &told)]);
        row(input, &mut rows, metric, signal, (*value, onset, text));
    }
    let full = signs.iter().any(|(at, value)| SIGNS[*at].0 == Signal::Conntrack && *value >= 0.9);
    if signs.len() > 1 || full {
        finding.severity = Severity::Critical;
    }
    finding.evidence = rows.0;
    Some(finding)
}
