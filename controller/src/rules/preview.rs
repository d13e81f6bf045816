//! How often a rule would have fired, had it been there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sysop_common::time::UnixMs;

use super::language::{Expression, Leaf, Table};
use super::standing::{Compiled, Subject, Truth, advance, truth_of};
use super::state::{Instance, Phase};
use super::{MAX_INSTANCES, must_run};
use crate::store::samples::{SeriesSet, Stored};

/// A time in which it would have fired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// For which label.
    pub label: String,
    /// From when.
    pub from: UnixMs,
    /// Until when; `None`: it would fire now.
    pub until: Option<UnixMs>,
}

/// What would have been.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Preview {
    /// From when on samples were looked at.
    pub from: Option<UnixMs>,
    /// Until when.
    pub to: Option<UnixMs>,
    /// Times in which it would have fired, oldest first.
    pub firings: Vec<Firing>,
    /// Share of judgements that were unknown, 0 to 1.
    pub unknown: f64,
}

/// Series of the store that an expression reads: names, each with its label or with all.
#[must_use]
pub fn wanted(compiled: &Compiled) -> Vec<(String, Option<String>)> {
    let Subject::Expression { when, clear } = &compiled.subject else { return Vec::new() };
    let leaves = when.leaves().iter().chain(clear.iter().flat_map(Expression::leaves));
    let key = |leaf: &Leaf| {
        let exact = leaf.selector.as_ref().and_then(|selector| selector.exact()).map(str::to_owned);
        let all = leaf.label != sysop_common::metric::Label::None;
        (leaf.reading.name.to_owned(), exact.or(if all { None } else { Some(String::new()) }))
    };
    leaves.map(key).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Counts over ticks in memory; for what must run.
#[must_use]
pub fn over_ticks(compiled: &Compiled, ticks: &[Arc<Stored>]) -> Preview {
    let check = &compiled.rule.definition.check;
    let mut run = Run::default();
    for tick in ticks {
        let seen = must_run::seen(check, tick).map(|seen| seen.down);
        run.judge(compiled, "", tick.at, &seen.unwrap_or(Truth::No), || None);
    }
    run.done()
}

/// Counts over stored series, as [`wanted`] asked for them.
#[must_use]
pub fn over_series(compiled: &Compiled, set: &SeriesSet) -> Preview {
    let Subject::Expression { when, clear } = &compiled.subject else { return Preview::default() };
    let times: BTreeSet<i64> = set.series.iter().flat_map(|s| s.points.iter().map(|(at, _)| *at)).collect();
    let at: Vec<UnixMs> = times.into_iter().map(UnixMs).collect();
    let labels: BTreeSet<&str> = match when.free() {
        None => BTreeSet::from([""]),
        Some(_) => {
            let free = || when.leaves().iter().filter(|leaf| leaf.is_free());
            let of = |name: &str| free().any(|leaf| leaf.reading.name == name);
            let labels = set.series.iter().filter(|series| of(&series.metric)).map(|s| s.label.as_str());
            labels.filter(|label| free().all(|leaf| leaf.takes(label))).take(4 * MAX_INSTANCES).collect()
        }
    };
    let mut run = Run::default();
    for label in labels.into_iter().take(MAX_INSTANCES) {
        let read = |expression: &Expression| -> Vec<Vec<Option<f64>>> {
            expression.leaves().iter().map(|leaf| column(leaf, label, set, &at)).collect()
        };
        let (when_values, clear_values) = (read(when), clear.as_ref().map(read));
        run.next();
        for n in 0..at.len() {
            let truth = truth_of(when, when.at(Table { at: &at, values: &when_values }, n));
            let over = || {
                let (clear, values) = clear.as_ref().zip(clear_values.as_ref())?;
                Some(truth_of(clear, clear.at(Table { at: &at, values }, n)))
            };
            run.judge(compiled, label, at[n], &truth, over);
        }
    }
    run.done()
}

fn column(leaf: &Leaf, label: &str, set: &SeriesSet, at: &[UnixMs]) -> Vec<Option<f64>> {
    let exact = leaf.selector.as_ref().and_then(|selector| selector.exact());
    let any = leaf.function == Some(super::language::Function::Absent) && exact.is_none();
    let wanted = match exact {
        Some(exact) => exact,
        None if leaf.is_free() => label,
        None => "",
    };
    let mut values: BTreeMap<i64, f64> = BTreeMap::new();
    for series in set.series.iter().filter(|series| series.metric == leaf.reading.name) {
        if series.label == wanted || any && leaf.takes(&series.label) {
            values.extend(series.points.iter().filter_map(|(at, value)| Some((*at, (*value)?))));
        }
    }
    at.iter().map(|at| values.get(&at.0).copied()).collect()
}

/// One label after the other through the same steps that a live host takes.
#[derive(Default)]
struct Run {
    instance: Option<Instance>,
    open: Option<Firing>,
    found: Preview,
    judged: u32,
    unknown: u32,
}

impl Run {
    fn judge(
        &mut self,
        compiled: &Compiled,
        label: &str,
        at: UnixMs,
        truth: &Truth,
        over: impl FnOnce() -> Option<Truth>,
    ) {
        self.judged += 1;
        self.unknown += u32::from(matches!(truth, Truth::Unknown(_)));
        self.found.from = Some(self.found.from.map_or(at, |from| from.min(at)));
        self.found.to = Some(self.found.to.map_or(at, |to| to.max(at)));
        self.instance = advance(&compiled.rule, at, truth, over, self.instance, true);
        let fires = self.instance.is_some_and(|instance| matches!(instance.phase, Phase::Firing { .. }));
        match (fires, self.open.take()) {
            (true, None) => self.open = Some(Firing { label: label.to_owned(), from: at, until: None }),
            (false, Some(open)) => self.found.firings.push(Firing { until: Some(at), ..open }),
            (_, open) => self.open = open,
        }
    }

    /// Begins another label.
    fn next(&mut self) {
        self.instance = None;
        self.found.firings.extend(self.open.take());
    }

    fn done(mut self) -> Preview {
        self.next();
        self.found.firings.sort_by(|a, b| (a.from, &a.label).cmp(&(b.from, &b.label)));
        self.found.unknown =
            if self.judged > 0 { f64::from(self.unknown) / f64::from(self.judged) } else { 1.0 };
        self.found
    }
}
