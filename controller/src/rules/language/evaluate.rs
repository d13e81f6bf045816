//! The value of an expression at one time, out of a table of the series that it reads.
//!
//! Three truths: yes, no, unknown. A number that is not there, not observed, or cannot be computed (a
//! division by zero, a window that is less than half covered) is unknown, and so is what is made of it;
//! `and` with something false is false all the same, `or` with something true is true.

use sysop_common::time::UnixMs;

use super::{Compare, Expression, Function, Kind, Math, Node};

/// The longest interval between samples; what is longer is a gap. The agent's is 60 s at most.
const INTERVAL_MAX_MS: i64 = 90_000;

/// Why something is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The series of this leaf is not there, or was not observed at that time.
    NotObserved(usize),
    /// Less than half of the window of this leaf is covered by values.
    Uncovered(usize),
    /// The result is no number: a division by zero.
    NoNumber,
}

/// What a part comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// A number, in the units in which series are read.
    Number(f64),
    /// A truth.
    Truth(bool),
    /// It cannot be known.
    Unknown(Why),
}

/// Values of the leaves of an expression over time, for one label.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// Times, rising.
    pub at: &'a [UnixMs],
    /// Per leaf its values at those times; `None` where there is none.
    pub values: &'a [Vec<Option<f64>>],
}

impl Expression {
    /// What it comes to at the time with this index.
    #[must_use]
    pub fn at(&self, table: Table<'_>, index: usize) -> Outcome {
        self.value(&self.root, table, index)
    }

    /// What a part of it comes to.
    #[must_use]
    pub fn value(&self, node: &Node, table: Table<'_>, index: usize) -> Outcome {
        match &node.kind {
            Kind::Number(literal) => number(literal.value()),
            Kind::Leaf(at) => self.leaf(*at, table, index),
            Kind::Absent(at) => {
                let here = table.values.get(*at).and_then(|values| values.get(index));
                Outcome::Truth(!matches!(here, Some(Some(_))))
            }
            Kind::Negate(a) => map(self.value(a, table, index), |a| -a),
            Kind::Not(a) => match self.value(a, table, index) {
                Outcome::Truth(truth) => Outcome::Truth(!truth),
                other => other,
            },
            Kind::Math(math, a, b) => {
                let (a, b) = (self.value(a, table, index), self.value(b, table, index));
                pair(a, b, |a, b| number(calculate(*math, a, b)))
            }
            Kind::Compare(compare, a, b) => {
                let (a, b) = (self.value(a, table, index), self.value(b, table, index));
                pair(a, b, |a, b| Outcome::Truth(holds(*compare, a, b)))
            }
            Kind::And(a, b) => join(self.value(a, table, index), self.value(b, table, index), false),
            Kind::Or(a, b) => join(self.value(a, table, index), self.value(b, table, index), true),
        }
    }

    fn leaf(&self, at: usize, table: Table<'_>, index: usize) -> Outcome {
        let unknown = Outcome::Unknown(Why::NotObserved(at));
        let (Some(leaf), Some(values)) = (self.leaves.get(at), table.values.get(at)) else { return unknown };
        let (Some(now), Some(end)) = (table.at.get(index), values.get(..=index)) else { return unknown };
        let Some(function) = leaf.function else {
            return end.last().copied().flatten().map_or(unknown, number);
        };
        let from = now.plus(-leaf.window_ms);
        let first = table.at.partition_point(|at| *at <= from).min(index);
        let known = || (first..=index).filter_map(|n| Some((table.at[n], end[n]?)));
        // A value stands for the interval before it, where that is no gap.
        let begins = |n: usize| {
            let before = n.checked_sub(1).map(|before| table.at[before]);
            before.filter(|before| table.at[n].since(*before) <= INTERVAL_MAX_MS).unwrap_or(table.at[n])
        };
        let oldest = (first..=index).find(|n| end[*n].is_some());
        let covered = oldest.is_some_and(|n| now.since(begins(n)) * 2 >= leaf.window_ms);
        let fresh = end.iter().rev().take(2).any(Option::is_some);
        if !covered || !fresh {
            let why = if fresh { Why::Uncovered(at) } else { Why::NotObserved(at) };
            return Outcome::Unknown(why);
        }
        let seconds = |n: usize| {
            let before = n.checked_sub(1).map_or(table.at[n], |before| table.at[before]);
            table.at[n].since(before) as f64 / 1_000.0
        };
        // A counter is read as its rate since the value before: what it grew is that rate times that time.
        let grown = || (first..=index).filter_map(|n| Some((end[n]? * seconds(n), seconds(n))));
        let sum = |pairs: &mut dyn Iterator<Item = (f64, f64)>| {
            pairs.fold((0.0, 0.0), |(sum, time), (grown, dt)| (sum + grown, time + dt))
        };
        let result = match function {
            Function::Avg => {
                let (sum, count) = known().fold((0.0, 0.0), |(sum, n), (_, value)| (sum + value, n + 1.0));
                sum / count
            }
            Function::Min => known().map(|(_, value)| value).fold(f64::INFINITY, f64::min),
            Function::Max => known().map(|(_, value)| value).fold(f64::NEG_INFINITY, f64::max),
            Function::Rate => {
                let (sum, time) = sum(&mut grown());
                sum / time
            }
            Function::Delta if leaf.is_counter() => sum(&mut grown()).0 * leaf.growth_unit(),
            Function::Delta => {
                let first = known().next().map_or(0.0, |(_, value)| value);
                known().next_back().map_or(0.0, |(_, value)| value) - first
            }
            Function::Absent => return unknown,
        };
        number(result)
    }
}

fn number(value: f64) -> Outcome {
    if value.is_finite() { Outcome::Number(value) } else { Outcome::Unknown(Why::NoNumber) }
}

fn map(a: Outcome, f: impl Fn(f64) -> f64) -> Outcome {
    match a {
        Outcome::Number(a) => number(f(a)),
        other => other,
    }
}

/// Unknown where one of two numbers is.
fn pair(a: Outcome, b: Outcome, f: impl Fn(f64, f64) -> Outcome) -> Outcome {
    match (a, b) {
        (Outcome::Number(a), Outcome::Number(b)) => f(a, b),
        (unknown @ Outcome::Unknown(_), _) | (_, unknown @ Outcome::Unknown(_)) => unknown,
        // Reading saw to it that numbers are calculated with.
        _ => Outcome::Unknown(Why::NoNumber),
    }
}

/// `and` and `or`: one that is `decides` decides; else an unknown one leaves it unknown.
fn join(a: Outcome, b: Outcome, decides: bool) -> Outcome {
    let decided = Outcome::Truth(decides);
    match (a, b) {
        (a, b) if a == decided || b == decided => decided,
        (unknown @ Outcome::Unknown(_), _) | (_, unknown @ Outcome::Unknown(_)) => unknown,
        _ => Outcome::Truth(!decides),
    }
}

fn calculate(math: Math, a: f64, b: f64) -> f64 {
    match math {
        Math::Add => a + b,
        Math::Subtract => a - b,
        Math::Multiply => a * b,
        Math::Divide => a / b,
    }
}

/// Two values are equal when they are the same number: meant for flags and counts.
#[expect(clippy::float_cmp, reason = "equality of counts and flags is what is asked for")]
fn holds(compare: Compare, a: f64, b: f64) -> bool {
    match compare {
        Compare::Less => a < b,
        Compare::AtMost => a <= b,
        Compare::More => a > b,
        Compare::AtLeast => a >= b,
        Compare::Equal => a == b,
        Compare::Unequal => a != b,
    }
}
