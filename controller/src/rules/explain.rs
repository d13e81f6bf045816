//! Why a rule fires on a host, or does not: its parts with their values, the samples that they rest on, and
//! a sentence.

use std::sync::Arc;

use sysop_common::time::UnixMs;

use super::language::{Expression, Kind, Node, Outcome, Table};
use super::standing::{Cell, Compiled, Reason, Standing, Subject, Truth, Verdict, truth_of};
use super::state::Phase;
use super::{must_run, series};
use crate::store::rules::Check;
use crate::store::samples::{SeriesUnit, Stored};

/// Most samples that are shown.
const ROWS: usize = 90;

/// Why a rule does not page although it may fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mute {
    /// Nothing keeps it.
    None,
    /// It is switched off.
    Disabled,
    /// It is not about this host.
    OutOfScope,
    /// A maintenance window holds, until then.
    Maintenance(UnixMs),
}

/// A part of a condition and what it comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// As it was written.
    pub text: String,
    /// What it comes to, in words.
    pub value: String,
    /// How deep it stands.
    pub depth: usize,
    /// For a truth: which; `None` for a number and for what is unknown.
    pub holds: Option<bool>,
}

/// A rule on a host, taken apart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Explanation {
    /// The label that is shown.
    pub label: String,
    /// Parts of the condition, outermost first.
    pub parts: Vec<Part>,
    /// Parts of what ends it, where that is said.
    pub clear: Vec<Part>,
    /// What the samples show: names of the columns,
    pub columns: Vec<String>,
    /// and the samples, newest first.
    pub rows: Vec<(UnixMs, Vec<String>)>,
    /// The same as numbers, where they are, for a chart; oldest first.
    pub lines: Vec<(String, Vec<(UnixMs, Option<f64>)>)>,
}

/// The cell that is worth showing: the one asked for, else the worst.
#[must_use]
pub fn focus<'a>(standing: &'a Standing, label: Option<&str>) -> Option<&'a Cell> {
    let asked = label.and_then(|label| standing.cells.iter().find(|cell| cell.label == label));
    let weight = |cell: &&Cell| match (&cell.phase, &cell.truth) {
        (Some(Phase::Firing { .. }), _) => 3,
        (Some(Phase::Pending { .. }), _) => 2,
        (None, Truth::Unknown(_)) => 0,
        (None, _) => 1,
    };
    // Of equals the first.
    asked.or_else(|| standing.cells.iter().rev().max_by_key(weight))
}

/// Takes a rule on a host apart, for one label of it.
#[must_use]
pub fn explain(compiled: &Compiled, ticks: &[Arc<Stored>], label: &str) -> Explanation {
    let mut found = Explanation { label: label.to_owned(), ..Explanation::default() };
    let Some(last) = ticks.len().checked_sub(1) else { return found };
    let first = ticks.len().saturating_sub(ROWS);
    match &compiled.subject {
        Subject::Expression { when, clear } => {
            let at = series::times(ticks);
            let values: Vec<_> =
                when.leaves().iter().map(|leaf| series::values(leaf, label, ticks, 0)).collect();
            let table = Table { at: &at, values: &values };
            parts(when, when.root(), table, last, 0, &mut found.parts);
            if let Some(clear) = clear {
                let values: Vec<_> =
                    clear.leaves().iter().map(|leaf| series::values(leaf, label, ticks, 0)).collect();
                parts(clear, clear.root(), Table { at: &at, values: &values }, last, 0, &mut found.clear);
            }
            found.columns = when.leaves().iter().map(super::language::Leaf::series).collect();
            found.columns.dedup();
            let column = |name: &String| when.leaves().iter().position(|leaf| leaf.series() == *name);
            let columns: Vec<usize> = found.columns.iter().filter_map(column).collect();
            for n in (first..=last).rev() {
                let words = |leaf: &usize| value(values[*leaf][n], when.leaves()[*leaf].reading.unit);
                found.rows.push((at[n], columns.iter().map(words).collect()));
            }
            let line = |leaf: &usize| {
                let points = (first..=last).map(|n| (at[n], values[*leaf][n])).collect();
                (when.leaves()[*leaf].series(), points)
            };
            found.lines = columns.iter().map(line).collect();
        }
        _ => {
            let check = &compiled.rule.definition.check;
            found.columns = vec![subject(check)];
            for n in (first..=last).rev() {
                let Some(seen) = must_run::seen(check, &ticks[n]) else { continue };
                if n == last {
                    let holds = match seen.down {
                        Truth::Yes => Some(false),
                        Truth::No => Some(true),
                        Truth::Unknown(_) => None,
                    };
                    let part = Part { text: subject(check), value: seen.words.clone(), depth: 0, holds };
                    found.parts.push(part);
                }
                found.rows.push((ticks[n].at, vec![seen.words]));
            }
        }
    }
    found
}

fn parts(
    expression: &Expression,
    node: &Node,
    table: Table<'_>,
    index: usize,
    depth: usize,
    out: &mut Vec<Part>,
) {
    if matches!(node.kind, Kind::Number(_)) {
        return;
    }
    let outcome = expression.value(node, table, index);
    let (value, holds) = match outcome {
        Outcome::Truth(truth) => ((if truth { "holds" } else { "does not hold" }).to_owned(), Some(truth)),
        Outcome::Number(number) => (value(Some(number), unit(expression, node)), None),
        Outcome::Unknown(_) => match truth_of(expression, outcome) {
            Truth::Unknown(reason) => (format!("unknown: {reason}"), None),
            Truth::Yes | Truth::No => (String::new(), None),
        },
    };
    out.push(Part { text: expression.part(node).to_owned(), value, depth, holds });
    for part in node.kind.parts() {
        parts(expression, part, table, index, depth + 1, out);
    }
}

/// One series of a rule at the newest tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Its name; `unit.active`, `process` or `port` for what must run.
    pub metric: String,
    /// Its label.
    pub label: String,
    /// Its value, in words.
    pub words: String,
}

/// What a rule reads at the newest tick, for one of its labels: as it stands in its text.
#[must_use]
pub fn readings(compiled: &Compiled, ticks: &[Arc<Stored>], label: &str) -> Vec<Reading> {
    let Some(last) = ticks.len().checked_sub(1) else { return Vec::new() };
    let Subject::Expression { when, .. } = &compiled.subject else {
        let check = &compiled.rule.definition.check;
        let (metric, label) = match check {
            Check::Expression { .. } => return Vec::new(),
            Check::Unit { unit } => ("unit.active", unit.clone()),
            Check::Process { name, .. } => ("process", name.clone()),
            Check::Port { port } => ("tcp.listening", port.to_string()),
        };
        let seen = must_run::seen(check, &ticks[last]);
        let reading = |seen: must_run::Seen| Reading { metric: metric.to_owned(), label, words: seen.words };
        return seen.map(reading).into_iter().collect();
    };
    let at = series::times(ticks);
    let mut found: Vec<Reading> = Vec::new();
    for leaf in when.leaves() {
        let values = series::values(leaf, label, ticks, last);
        let exact = leaf.selector.as_ref().and_then(|selector| selector.exact());
        let label = exact.unwrap_or(if leaf.is_free() { label } else { "" });
        let known = found.iter().any(|known| known.metric == leaf.reading.name && known.label == label);
        if !known && !at.is_empty() {
            found.push(Reading {
                metric: leaf.reading.name.to_owned(),
                label: label.to_owned(),
                words: value(values.last().copied().flatten(), leaf.reading.unit),
            });
        }
    }
    found
}

/// The unit of a part where it is that of one series; plain numbers otherwise.
fn unit(expression: &Expression, node: &Node) -> SeriesUnit {
    match &node.kind {
        Kind::Leaf(at) => expression.leaves().get(*at).map_or(SeriesUnit::Count, |leaf| leaf.reading.unit),
        Kind::Negate(a) => unit(expression, a),
        Kind::Math(super::language::Math::Add | super::language::Math::Subtract, a, _) => unit(expression, a),
        Kind::Math(super::language::Math::Divide, a, b) if unit(expression, a) == unit(expression, b) => {
            SeriesUnit::Ratio
        }
        _ => SeriesUnit::Count,
    }
}

/// A value for people; a dash where there is none.
#[must_use]
pub fn value(value: Option<f64>, unit: SeriesUnit) -> String {
    let Some(value) = value else { return "–".to_owned() };
    match unit {
        SeriesUnit::Ratio => format!("{} %", short(value * 100.0)),
        SeriesUnit::Bytes => bytes(value),
        SeriesUnit::BytesPerS => format!("{}/s", bytes(value)),
        SeriesUnit::Ms if value.abs() >= 60_000.0 => format!("{} min", short(value / 60_000.0)),
        SeriesUnit::Ms if value.abs() >= 1_000.0 => format!("{} s", short(value / 1_000.0)),
        SeriesUnit::Ms => format!("{} ms", short(value)),
        SeriesUnit::PerS => format!("{}/s", short(value)),
        SeriesUnit::Count => short(value),
    }
}

fn bytes(value: f64) -> String {
    let mut value = value;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value.abs() < 1_024.0 {
            return format!("{} {unit}", short(value));
        }
        value /= 1_024.0;
    }
    format!("{} TiB", short(value))
}

/// Up to two digits behind the point, none that says nothing.
fn short(value: f64) -> String {
    let text = if value.abs() >= 1_000.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// What a rule is about, in words.
#[must_use]
pub fn subject(check: &Check) -> String {
    match check {
        Check::Expression { when, .. } => when.clone(),
        Check::Unit { unit } => format!("{unit} is active"),
        Check::Process { name, least: 1 } => format!("a process {name} runs"),
        Check::Process { name, least } => format!("{least} processes {name} run"),
        Check::Port { port } => format!("something listens on TCP port {port}"),
    }
}

/// A time in ms, for people.
#[must_use]
pub fn span(ms: i64) -> String {
    match ms {
        ..60_000 => format!("{} s", ms.max(0) / 1_000),
        60_000..7_200_000 if ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        60_000..7_200_000 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

/// Why it fires or does not, in a sentence.
#[must_use]
pub fn sentence(compiled: &Compiled, standing: &Standing, mute: &Mute, now: UnixMs) -> String {
    match mute {
        Mute::Disabled => return "The rule is switched off, so nothing is judged.".to_owned(),
        Mute::OutOfScope => {
            return "The rule is not about this host: its scope names others.".to_owned();
        }
        Mute::None | Mute::Maintenance(_) => {}
    }
    let written = &compiled.rule.definition;
    let must_run = matches!(compiled.subject, Subject::MustRun);
    let what = |truth: bool| match (&written.check, truth) {
        (Check::Expression { .. }, true) => "Its condition holds".to_owned(),
        (Check::Expression { .. }, false) => "Its condition does not hold".to_owned(),
        (check, true) => format!("It is not so that {}", subject(check)),
        (check, false) => format!("It is so that {}", subject(check)),
    };
    let mut out = match standing.verdict() {
        Verdict::Fine => format!("It does not fire. {}.", what(false)),
        Verdict::Pending { since } => {
            let left = written.for_ms - standing.at.unwrap_or(now).since(since);
            format!(
                "It does not fire yet. {} since {} ago, and must do so for {}: {} more.",
                what(true),
                span(now.since(since)),
                span(written.for_ms),
                span(left)
            )
        }
        Verdict::Fires { since } => {
            let holds = standing.cells.iter().any(|cell| cell.truth == Truth::Yes);
            let for_ms =
                if written.for_ms > 0 { format!(" for {}", span(written.for_ms)) } else { String::new() };
            let mut out = format!("It has fired since {} ago. ", span(now.since(since)));
            out += &if holds {
                format!("{}, and had done so{for_ms} before.", what(true)).replace(" before.", ".")
            } else if standing.cells.iter().any(|cell| cell.clear == Some(Truth::No)) {
                "Its condition does not hold any more, but what ends it does not hold yet.".to_owned()
            } else if standing.cells.iter().any(|cell| matches!(cell.truth, Truth::Unknown(_))) {
                "Now it cannot be known, so it is neither confirmed nor over.".to_owned()
            } else {
                format!(
                    "Its condition does not hold any more; it goes on for {} after.",
                    span(written.keep_ms)
                )
            };
            out
        }
        Verdict::Unknown(reason) => {
            format!("Nobody can tell: {reason}. Unknown is neither fine nor trouble.")
        }
    };
    if must_run && matches!(standing.verdict(), Verdict::Fires { .. }) {
        out = out.replace("Its condition does not hold any more", "It runs again");
    }
    let unknown: Vec<&str> = standing
        .cells
        .iter()
        .filter(|cell| matches!(cell.truth, Truth::Unknown(_)) && !cell.label.is_empty())
        .map(|cell| cell.label.as_str())
        .collect();
    if !unknown.is_empty() && unknown.len() < standing.cells.len() {
        out += &format!(" Not known for {}.", unknown.join(", "));
    }
    if let Mute::Maintenance(until) = mute {
        out +=
            &format!(" A maintenance window holds for {} more: nothing new is told.", span(until.since(now)));
    }
    out
}

/// Adds that the newest sample is old, where it is: then nothing is known of now.
#[must_use]
pub fn aged(standing: Standing, now: UnixMs, oldest_ms: i64) -> Standing {
    match standing.at {
        Some(at) if now.since(at) > oldest_ms => {
            let stale = |cell: Cell| Cell { truth: Truth::Unknown(Reason::Stale(at)), ..cell };
            Standing { cells: standing.cells.into_iter().map(stale).collect(), ..standing }
        }
        _ => standing,
    }
}
