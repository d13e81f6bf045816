//! What an expression is made of.

use std::ops::Range;

use sysop_common::grant::matches_pattern;
use sysop_common::metric::{self, Label};

use crate::store::samples::rates::Reading;

/// A whole expression: a truth over the series of one host.
#[derive(Debug, Clone)]
pub struct Expression {
    pub(super) text: String,
    pub(super) root: Node,
    pub(super) leaves: Vec<Leaf>,
    pub(super) free: Option<Label>,
}

impl Expression {
    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its outermost part.
    #[must_use]
    pub const fn root(&self) -> &Node {
        &self.root
    }

    /// The series that it reads, in the order of the text.
    #[must_use]
    pub fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The label that is left open: the expression is judged for each value of it by itself.
    #[must_use]
    pub const fn free(&self) -> Option<Label> {
        self.free
    }

    /// The longest window that it looks back over, in ms.
    #[must_use]
    pub fn reach_ms(&self) -> i64 {
        self.leaves.iter().map(|leaf| leaf.window_ms).max().unwrap_or(0)
    }

    /// What was written for a part.
    #[must_use]
    pub fn part(&self, node: &Node) -> &str {
        self.text.get(node.span.clone()).unwrap_or_default()
    }
}

/// The same parts, wherever they stand in the text.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.root == other.root && self.leaves == other.leaves
    }
}

/// A series that is read, perhaps through a function.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// How it is read.
    pub reading: Reading,
    /// What its label names.
    pub label: Label,
    /// Which of its labels.
    pub selector: Option<Selector>,
    /// What is made of it; `None`: its value now.
    pub function: Option<Function>,
    /// Over how long, in ms; 0 without a window.
    pub window_ms: i64,
}

impl PartialEq for Leaf {
    fn eq(&self, other: &Self) -> bool {
        let key = |leaf: &Self| (leaf.reading.name, leaf.selector.clone(), leaf.function, leaf.window_ms);
        key(self) == key(other)
    }
}

impl Leaf {
    /// Whether it is read for each value of its label by itself.
    #[must_use]
    pub fn is_free(&self) -> bool {
        let exact = self.selector.as_ref().is_some_and(|selector| selector.exact().is_some());
        self.label != Label::None && !exact && self.function != Some(Function::Absent)
    }

    /// Whether a label's value is among those that it reads.
    #[must_use]
    pub fn takes(&self, label: &str) -> bool {
        self.selector.as_ref().is_none_or(|selector| selector.takes(label))
    }

    /// Name and selector, as they are written.
    #[must_use]
    pub fn series(&self) -> String {
        let selector = self.selector.as_ref().map(Selector::to_string).unwrap_or_default();
        format!("{}{selector}", self.reading.name)
    }

    /// What one second at a rate of one is of what it counts: counters of time are read as shares.
    pub(super) fn growth_unit(&self) -> f64 {
        let time = |metric: &metric::Metric| matches!(metric.unit, metric::Unit::Ms | metric::Unit::Us);
        if metric::by_name(self.reading.name).is_some_and(time) { 1_000.0 } else { 1.0 }
    }

    /// Whether its metric is a counter, read as a rate.
    #[must_use]
    pub fn is_counter(&self) -> bool {
        metric::by_name(self.reading.name).is_some_and(|metric| metric.kind == metric::Kind::Counter)
    }
}

/// Which labels of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// Name of the label, `mount`.
    pub key: &'static str,
    /// All but those that match.
    pub not: bool,
    /// `*` and `?` stand for others.
    pub pattern: String,
}

impl Selector {
    /// The one label that it names, if it names one.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        (!self.not && !self.pattern.contains(['*', '?'])).then_some(self.pattern.as_str())
    }

    fn takes(&self, label: &str) -> bool {
        matches_pattern(&self.pattern, label) != self.not
    }
}

/// The name under which a label is selected.
#[must_use]
pub const fn label_key(label: Label) -> &'static str {
    match label {
        Label::None => "",
        Label::Core => "core",
        Label::Mount => "mount",
        Label::Device => "device",
        Label::Interface => "interface",
        Label::Sensor => "sensor",
        Label::Unit => "unit",
        Label::Process => "process",
        Label::Source => "source",
        Label::Job => "job",
        Label::Log => "log",
        Label::Port => "port",
        Label::Probe => "probe",
    }
}

/// What is made of the values in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Mean.
    Avg,
    /// Least.
    Min,
    /// Greatest.
    Max,
    /// How much a counter grew, per second.
    Rate,
    /// How much it grew.
    Delta,
    /// Whether nothing is measured.
    Absent,
}

impl Function {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Avg, Self::Min, Self::Max, Self::Rate, Self::Delta, Self::Absent];

    /// How it is written.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Rate => "rate",
            Self::Delta => "delta",
            Self::Absent => "absent",
        }
    }
}

/// A part, and where it stands in the text.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Bytes of the text.
    pub span: Range<usize>,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// What a part is.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A number.
    Number(Literal),
    /// The value of one of the leaves.
    Leaf(usize),
    /// Whether one of the leaves is not measured.
    Absent(usize),
    /// Minus.
    Negate(Box<Node>),
    /// Two numbers make one.
    Math(Math, Box<Node>, Box<Node>),
    /// Two numbers make a truth.
    Compare(Compare, Box<Node>, Box<Node>),
    /// Both.
    And(Box<Node>, Box<Node>),
    /// One at least.
    Or(Box<Node>, Box<Node>),
    /// The contrary.
    Not(Box<Node>),
}

impl Kind {
    /// Parts of it, left to right.
    #[must_use]
    pub fn parts(&self) -> Vec<&Node> {
        match self {
            Self::Number(_) | Self::Leaf(_) | Self::Absent(_) => Vec::new(),
            Self::Negate(a) | Self::Not(a) => vec![a],
            Self::Math(_, a, b) | Self::Compare(_, a, b) | Self::And(a, b) | Self::Or(a, b) => vec![a, b],
        }
    }
}

/// A number as it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Literal {
    /// Before its unit.
    pub number: f64,
    /// Its unit; empty where it has none.
    pub unit: &'static str,
}

/// Units: how they are written, and what one of them is, in the units in which series are read. Percent
/// divide, so that 95 % is 0.95 and not the next number beside it.
pub const UNITS: &[(&str, f64)] = &[
    ("%", 100.0),
    ("B", 1.0),
    ("KiB", 1_024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
    ("B/s", 1.0),
    ("KiB/s", 1_024.0),
    ("MiB/s", 1_048_576.0),
    ("GiB/s", 1_073_741_824.0),
    ("TiB/s", 1_099_511_627_776.0),
    ("ms", 1.0),
    ("s", 1_000.0),
    ("min", 60_000.0),
    ("m", 60_000.0),
    ("h", 3_600_000.0),
    ("d", 86_400_000.0),
];

impl Literal {
    /// In the units in which series are read: shares of one, bytes, milliseconds.
    #[must_use]
    pub fn value(self) -> f64 {
        match UNITS.iter().find(|(unit, _)| *unit == self.unit) {
            Some(("%", parts)) => self.number / parts,
            Some((_, size)) => self.number * size,
            None => self.number,
        }
    }
}

/// Arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Math {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
}

impl Math {
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
        }
    }
}

/// Comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

impl Compare {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Less, Self::AtMost, Self::More, Self::AtLeast, Self::Equal, Self::Unequal];

    /// How it is written.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
            Self::Equal => "==",
            Self::Unequal => "!=",
        }
    }
}
