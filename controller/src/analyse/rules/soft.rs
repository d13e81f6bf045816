//! What the detectors of the soft lane share: values over the last stretch, how long they have been so,
//! and how odd they are.

use sysop_common::finding::{Category, Culprit, Finding, Severity, Value};
use sysop_common::time::{SECOND_MS, UnixMs};

use super::{HostInput, Look, Rows};
use crate::analyse::attribute::Attribution;
use crate::analyse::baseline::Signal;
use crate::analyse::messages::Text;
use crate::analyse::rules::memory::Who;

/// A stretch may be so much longer than asked for: samples are not taken to the millisecond.
const SLACK_MS: i64 = 15 * SECOND_MS;
/// An open finding goes on until its value is below this share of the limit that opens one.
pub(super) const CLOSE: f64 = 1.0 / 3.0;
/// By chance a value at its limit is taken to come once in so many looks; twice the limit, once in the
/// square of it.
const AT_LIMIT: f64 = 1e-4;
/// Nothing is taken for less likely than this.
const LEAST_ODDS: f64 = 1e-12;

/// The value of a signal over the last `ms`.
pub(super) fn over(input: &HostInput, signal: Signal, label: &str, ms: i64) -> Option<f64> {
    let looks: Vec<Look<'_>> = input.window.last(ms + SLACK_MS).collect();
    let latest = looks.last()?;
    let boot = looks.iter().position(|look| look.same_boot(*latest))?;
    signal.measure(label, &looks[boot..])
}

/// The least value of a signal in the last stretches of `ms` each, newest first: what holds in all of
/// them lasts. `None` unless the window reaches over all of them.
pub(super) fn least(input: &HostInput, signal: Signal, label: &str, ms: i64, times: usize) -> Option<f64> {
    let looks: Vec<Look<'_>> = input.window.looks().collect();
    let latest = looks.last()?.at();
    // A host that is sampled more seldom is looked at over longer stretches.
    let ms = ms.max(pace(&looks));
    let mut least: Option<f64> = None;
    let mut end = looks.len() - 1;
    for time in 1..=times {
        let from = latest.plus(-(ms * time as i64) - SLACK_MS / 2);
        let start = looks.partition_point(|look| look.at() < from);
        if start >= end {
            return None;
        }
        let value = signal.measure(label, &looks[start..=end])?;
        least = Some(least.map_or(value, |known| known.min(value)));
        end = start;
    }
    least
}

/// The usual time between the newest looks.
fn pace(looks: &[Look<'_>]) -> i64 {
    let mut gaps: Vec<i64> =
        looks.windows(2).rev().take(5).map(|pair| pair[1].at().since(pair[0].at())).collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied().unwrap_or(0)
}

/// Since when a signal has been at least `level`, up to now; a single look below does not end it.
pub(super) fn since(input: &HostInput, signal: Signal, label: &str, level: f64) -> UnixMs {
    let looks: Vec<Look<'_>> = input.window.looks().collect();
    let Some(latest) = looks.last() else { return UnixMs(0) };
    let (mut first, mut missed) = (latest.at(), 0);
    for pair in looks.windows(2).rev() {
        match signal.measure(label, pair) {
            Some(value) if value < level => missed += 1,
            Some(_) => (first, missed) = (pair[0].at(), 0),
            None => {}
        }
        if missed > 1 || !pair[0].same_boot(*latest) {
            break;
        }
    }
    first
}

/// How seldom a value comes by chance: by how far it is over its limit, and by the host's own past.
pub(super) fn odds(input: &HostInput, signal: Signal, label: &str, value: f64, limit: f64) -> f64 {
    let prior = AT_LIMIT.powf((value / limit).clamp(0.0, 3.0));
    let own = input.state.baselines.get(signal, label).map_or(1.0, |known| known.odds());
    // Values of one minute are not independent of each other: the past counts by its root.
    (prior * own.max(1e-6).sqrt()).max(LEAST_ODDS)
}

/// Whether the host's own past says that this is how it is at this time.
pub(super) fn usual(input: &HostInput, signal: Signal, label: &str) -> bool {
    input.state.baselines.get(signal, label).is_some_and(|known| known.usual())
}

/// Confidence in percent from odds: the more unlikely by chance, the surer.
pub(super) fn confidence(odds: f64) -> u8 {
    // One in 10^3 is as good as not known, one in 10^8 is sure; measured steps can replace the line.
    let score = (-odds.max(LEAST_ODDS).log10() - 3.0) * 0.9;
    let sure = crate::analyse::statistics::calibrate::logistic(score);
    (sure * 100.0).round().clamp(50.0, 97.0) as u8
}

/// A share as a whole percent.
pub(super) fn percent(share: f64) -> i64 {
    (share * 100.0).round() as i64
}

/// A row of evidence with the value of a signal and what is usual for it.
pub(super) fn row(
    input: &HostInput,
    rows: &mut Rows,
    metric: &str,
    signal: Signal,
    told: (f64, UnixMs, String),
) {
    let (value, from, text) = told;
    let Some(latest) = input.window.latest() else { return };
    let known = input.state.baselines.get(signal, "").filter(|known| known.grown_up());
    let before = known.map(|known| (from, Value::Number(scaled(known.expected()))));
    rows.change((metric, ""), before, (latest.at(), Value::Number(scaled(value))), text);
}

/// Shares are stored in thousandths.
pub(super) fn scaled(value: f64) -> i64 {
    (value * 1_000.0).round() as i64
}

/// A finding with its usual fields set.
pub(super) fn found(
    input: &HostInput,
    category: Category,
    entity: &str,
    onset: UnixMs,
    odds: f64,
) -> Finding {
    Finding {
        category,
        entity: entity.to_owned(),
        severity: Severity::Warning,
        confidence: confidence(odds),
        onset,
        last_true: input.window.latest().map_or(onset, Look::at),
        active: true,
        title: String::new(),
        cause: String::new(),
        culprit: None,
        evidence: Vec::new(),
        not_observed: Vec::new(),
        caused_by: None,
    }
}

/// Who did it, as a finding says it, and the sentence that names them.
pub(super) fn culprit(
    say: Text,
    attribution: Option<Attribution<Who>>,
    key: &str,
) -> (Option<Culprit>, String) {
    match attribution {
        Some(Attribution::One { who, share }) => {
            let culprit = who.named(share);
            let cause = match &culprit {
                Culprit::Unit { unit, .. } => {
                    say.say(&format!("{key}.unit"), &[("unit", unit), ("share", &share)])
                }
                Culprit::Process { comm, pid, user, .. } => say.say(
                    &format!("{key}.process"),
                    &[("comm", comm), ("pid", pid), ("user", user), ("share", &share)],
                ),
                Culprit::Diffuse { .. } => String::new(),
            };
            (Some(culprit), cause)
        }
        Some(Attribution::Diffuse(split)) => {
            let why = split.told(say);
            (Some(Culprit::Diffuse { why: why.clone() }), why)
        }
        None => (None, String::new()),
    }
}

/// The name of the thing a culprit is, for weighing: a unit, or nothing for a process.
pub(super) fn unit_of(culprit: Option<&Culprit>) -> Option<&str> {
    match culprit {
        Some(Culprit::Unit { unit, .. }) => Some(unit),
        _ => None,
    }
}
