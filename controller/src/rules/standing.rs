//! How a rule comes to fire, step by step over the ticks of one host.
//!
//! Quiet, pending while the condition holds and its time is not over, firing until it is over. Each tick is
//! judged once, whenever a look is made, so the result does not depend on how often that is. An unknown
//! condition neither starts nor ends anything; after [`GRACE_MS`] of it a pending rule is quiet again.

use std::sync::Arc;

use sysop_common::finding::{Category, fingerprint};
use sysop_common::metric::Label;
use sysop_common::time::{HOUR_MS, MINUTE_MS, UnixMs};

use super::language::{Expression, Outcome, Table, Why, label_key};
use super::state::{Instance, Phase, RuleState};
pub use super::truth::{Reason, Truth};
use super::{MAX_INSTANCES, Wrong, definition, must_run, series};
use crate::store::rules::{Check, Rule};
use crate::store::samples::Stored;

/// A pending rule waits for so long through ticks that do not tell, in ms.
pub const GRACE_MS: i64 = 2 * MINUTE_MS;
/// One that fires and is not known any more is given up after this long, in ms, as incidents are.
const LOST_MS: i64 = HOUR_MS;
/// Ticks are judged once in this time, in ms: hosts that are sampled each second cost no more for it.
const STEP_MS: i64 = 5_000;

/// What a rule looks at, ready to be looked at.
#[derive(Debug, Clone)]
pub enum Subject {
    /// An expression, and when it is over.
    Expression {
        /// It fires when this holds,
        when: Expression,
        /// and is over when this does.
        clear: Option<Expression>,
    },
    /// Something that must run.
    MustRun,
    /// It cannot be read, and why.
    Unreadable(String),
}

/// A rule, ready to be looked at.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The rule.
    pub rule: Rule,
    /// What it looks at.
    pub subject: Subject,
}

impl Compiled {
    /// Reads its expressions. One that cannot be read is unknown everywhere, with the reason.
    #[must_use]
    pub fn new(rule: Rule) -> Self {
        let subject = match &rule.definition.check {
            Check::Expression { when, clear } => match definition::expressions(when, clear) {
                Ok((when, clear)) => Subject::Expression { when, clear },
                Err(Wrong { must, .. }) => Subject::Unreadable(must),
            },
            _ => Subject::MustRun,
        };
        Self { rule, subject }
    }

    /// What kind of trouble it finds.
    #[must_use]
    pub const fn category(&self) -> Category {
        match self.rule.definition.check {
            Check::Expression { .. } => Category::RuleBreached,
            Check::Unit { .. } | Check::Process { .. } | Check::Port { .. } => Category::MustRun,
        }
    }

    /// What it is about: the unit, process or port that must run; else the rule itself.
    #[must_use]
    pub fn entity(&self) -> String {
        match &self.rule.definition.check {
            Check::Expression { .. } => format!("rule {}", self.rule.id),
            Check::Unit { unit } => unit.clone(),
            Check::Process { name, .. } => format!("process {name}"),
            Check::Port { port } => format!("port {port}"),
        }
    }

    /// Fingerprint of its findings.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(self.category(), &self.entity())
    }
}

/// Where a rule stands for one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// The label; empty where the rule leaves none open.
    pub label: String,
    /// Whether its condition holds at the newest tick.
    pub truth: Truth,
    /// Whether it is over, for a rule that says so by itself.
    pub clear: Option<Truth>,
    /// Pending or firing; `None` when it is quiet.
    pub phase: Option<Phase>,
}

/// Where a rule stands on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Time of the tick that it rests on.
    pub at: Option<UnixMs>,
    /// By label.
    pub cells: Vec<Cell>,
}

/// Where a rule stands, in one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its condition does not hold.
    Fine,
    /// It holds, and its time is not over.
    Pending {
        /// Since when.
        since: UnixMs,
    },
    /// It fires.
    Fires {
        /// Since when.
        since: UnixMs,
    },
    /// It cannot be known.
    Unknown(Reason),
}

impl Standing {
    /// The worst that is known; unknown where nothing is.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let firing = self.cells.iter().filter_map(|cell| match cell.phase {
            Some(Phase::Firing { since, .. }) => Some(since),
            _ => None,
        });
        if let Some(since) = firing.min() {
            return Verdict::Fires { since };
        }
        let pending = self.cells.iter().filter_map(|cell| match cell.phase {
            Some(Phase::Pending { since }) => Some(since),
            _ => None,
        });
        if let Some(since) = pending.min() {
            return Verdict::Pending { since };
        }
        let mut unknown = self.cells.iter().filter_map(|cell| match &cell.truth {
            Truth::Unknown(reason) => Some(reason.clone()),
            _ => None,
        });
        let known = self.cells.iter().any(|cell| !matches!(cell.truth, Truth::Unknown(_)));
        match unknown.next() {
            Some(reason) if !known => Verdict::Unknown(reason),
            None if !known => Verdict::Unknown(Reason::NoSample),
            _ => Verdict::Fine,
        }
    }
}

/// Looks at the ticks of a host that are new to the rule, and tells where it stands; `state` is what is
/// remembered of it, and becomes what is to be remembered.
pub fn look(compiled: &Compiled, ticks: &[Arc<Stored>], state: &mut Option<RuleState>) -> Standing {
    if state.as_ref().is_some_and(|state| state.version != compiled.rule.version) {
        *state = None;
    }
    if let Subject::Unreadable(why) = &compiled.subject {
        *state = None;
        return whole(None, Reason::Unreadable(why.clone()));
    }
    let grid = grid(ticks);
    let Some(last) = grid.last().copied() else { return whole(None, Reason::NoSample) };
    let fresh =
        RuleState { version: compiled.rule.version, at: UnixMs(i64::MIN), instances: Default::default() };
    let mut next = state.take().unwrap_or(fresh);
    let new: Vec<usize> = grid.iter().copied().filter(|n| ticks[*n].at > next.at).collect();
    let labels = labels(compiled, &ticks[last], &next);
    let mut cells = Vec::with_capacity(labels.len());
    for (label, here) in &labels {
        let judge = Judge::new(compiled, label, ticks, new.first().copied().unwrap_or(last));
        let mut instance = next.instances.remove(label);
        for n in &new {
            instance = step(compiled, &judge, *n, instance, *here);
        }
        let phase = instance.map(|instance| instance.phase);
        let clear = phase.and_then(|_| judge.clear(last));
        if *here || phase.is_some() {
            cells.push(Cell { label: label.clone(), truth: judge.truth(last), clear, phase });
        }
        if let Some(instance) = instance {
            next.instances.insert(label.clone(), instance);
        }
    }
    next.at = next.at.max(ticks[last].at);
    let at = Some(ticks[last].at);
    *state = Some(next);
    if cells.is_empty() {
        return whole(at, Reason::NoLabel(open_label(compiled)));
    }
    Standing { at, cells }
}

fn whole(at: Option<UnixMs>, reason: Reason) -> Standing {
    let cell = Cell { label: String::new(), truth: Truth::Unknown(reason), clear: None, phase: None };
    Standing { at, cells: vec![cell] }
}

fn open_label(compiled: &Compiled) -> &'static str {
    match &compiled.subject {
        Subject::Expression { when, .. } => label_key(when.free().unwrap_or(Label::None)),
        _ => "",
    }
}

/// Ticks that are judged: the first of each step of time.
fn grid(ticks: &[Arc<Stored>]) -> Vec<usize> {
    let step = |n: usize| ticks[n].at.0.div_euclid(STEP_MS);
    (0..ticks.len()).filter(|n| *n == 0 || step(*n) != step(n - 1)).collect()
}

/// Labels that are judged, and whether the newest tick has them.
fn labels(compiled: &Compiled, newest: &Stored, state: &RuleState) -> Vec<(String, bool)> {
    let here = match &compiled.subject {
        Subject::Expression { when, .. } => series::labels(when, newest),
        _ => vec![String::new()],
    };
    let mut all: Vec<(String, bool)> = here.into_iter().map(|label| (label, true)).collect();
    let gone = state.instances.keys().filter(|known| !all.iter().any(|(label, _)| label == *known));
    let gone: Vec<_> = gone.map(|label| (label.clone(), false)).collect();
    all.extend(gone);
    all.truncate(MAX_INSTANCES);
    all
}

/// The conditions of a rule for one label, at any of the ticks from some on.
struct Judge<'a> {
    compiled: &'a Compiled,
    ticks: &'a [Arc<Stored>],
    at: Vec<UnixMs>,
    when: Vec<Vec<Option<f64>>>,
    clear: Vec<Vec<Option<f64>>>,
}

impl<'a> Judge<'a> {
    fn new(compiled: &'a Compiled, label: &str, ticks: &'a [Arc<Stored>], first: usize) -> Self {
        let read = |expression: &Expression| -> Vec<Vec<Option<f64>>> {
            let leaves = expression.leaves().iter();
            let read = |leaf: &super::language::Leaf| {
                let since = ticks.get(first).map_or(UnixMs(0), |tick| tick.at.plus(-leaf.window_ms));
                let from = ticks.partition_point(|tick| tick.at < since).min(first);
                series::values(leaf, label, ticks, from)
            };
            leaves.map(read).collect()
        };
        let (when, clear) = match &compiled.subject {
            Subject::Expression { when, clear } => (read(when), clear.as_ref().map(read).unwrap_or_default()),
            _ => (Vec::new(), Vec::new()),
        };
        let times = matches!(compiled.subject, Subject::Expression { .. });
        Self { compiled, ticks, at: if times { series::times(ticks) } else { Vec::new() }, when, clear }
    }

    fn truth(&self, n: usize) -> Truth {
        match &self.compiled.subject {
            Subject::Expression { when, .. } => {
                truth_of(when, when.at(Table { at: &self.at, values: &self.when }, n))
            }
            _ => {
                let seen = must_run::seen(&self.compiled.rule.definition.check, &self.ticks[n]);
                seen.map_or(Truth::Unknown(Reason::NoSample), |seen| seen.down)
            }
        }
    }

    fn clear(&self, n: usize) -> Option<Truth> {
        let Subject::Expression { clear: Some(clear), .. } = &self.compiled.subject else { return None };
        Some(truth_of(clear, clear.at(Table { at: &self.at, values: &self.clear }, n)))
    }
}

/// An outcome as a truth, the reason in words.
#[must_use]
pub fn truth_of(expression: &Expression, outcome: Outcome) -> Truth {
    let series = |at: usize| expression.leaves().get(at).map(ToString::to_string).unwrap_or_default();
    match outcome {
        Outcome::Truth(true) => Truth::Yes,
        Outcome::Truth(false) => Truth::No,
        Outcome::Number(_) | Outcome::Unknown(Why::NoNumber) => Truth::Unknown(Reason::NoNumber),
        Outcome::Unknown(Why::NotObserved(at)) => Truth::Unknown(Reason::NotObserved(series(at))),
        Outcome::Unknown(Why::Uncovered(at)) => Truth::Unknown(Reason::Uncovered(series(at))),
    }
}

/// One tick of one label. `here`: the newest tick still has the label.
fn step(
    compiled: &Compiled,
    judge: &Judge<'_>,
    n: usize,
    instance: Option<Instance>,
    here: bool,
) -> Option<Instance> {
    let at = judge.ticks[n].at;
    let truth = judge.truth(n);
    let over = || judge.clear(n);
    advance(&compiled.rule, at, &truth, over, instance, here)
}

/// What becomes of one label of a rule with one more judgement of its condition.
pub(super) fn advance(
    rule: &Rule,
    at: UnixMs,
    truth: &Truth,
    over: impl FnOnce() -> Option<Truth>,
    instance: Option<Instance>,
    here: bool,
) -> Option<Instance> {
    let written = &rule.definition;
    let silent_ms = instance.map_or(0, |instance| at.since(instance.known));
    let known = |phase| Some(Instance { phase, known: at });
    let begun = |since: UnixMs| {
        if at.since(since) >= written.for_ms {
            known(Phase::Firing { onset: since, since: at, last_true: at })
        } else {
            known(Phase::Pending { since })
        }
    };
    match (instance.map(|instance| instance.phase), truth) {
        (None, Truth::Yes) => begun(at),
        (None, _) => None,
        (Some(Phase::Pending { since }), Truth::Yes) => begun(if silent_ms > GRACE_MS { at } else { since }),
        (Some(Phase::Pending { .. }), Truth::No) => None,
        (Some(Phase::Pending { .. }), Truth::Unknown(_)) => instance.filter(|_| silent_ms <= GRACE_MS),
        (Some(Phase::Firing { onset, since, .. }), Truth::Yes) => {
            known(Phase::Firing { onset, since, last_true: at })
        }
        (Some(phase @ Phase::Firing { onset, since, last_true }), Truth::No) => {
            let kept = at.since(last_true) < written.keep_ms;
            match over() {
                Some(Truth::No) => known(Phase::Firing { onset, since, last_true: at }),
                Some(Truth::Unknown(_)) => instance.filter(|_| silent_ms <= LOST_MS),
                Some(Truth::Yes) | None if kept => known(phase),
                Some(Truth::Yes) | None => None,
            }
        }
        (Some(Phase::Firing { .. }), Truth::Unknown(_)) => {
            instance.filter(|_| silent_ms <= if here { LOST_MS } else { GRACE_MS })
        }
    }
}
