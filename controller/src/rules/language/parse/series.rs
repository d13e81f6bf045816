//! Series, their selectors, and the functions over them.

use std::ops::Range;

use sysop_common::metric::{self, Label};
use sysop_common::sample::MAX_TEXT;

use super::super::lex::Word;
use super::super::tree::label_key;
use super::super::{Fault, Function, Kind, Leaf, Literal, MAX_LEAVES, MAX_WINDOW_MS, Node, Selector};
use super::{Parsed, Parser};
use crate::store::samples::rates::{self, Reading};

impl Parser<'_> {
    pub(super) fn function(&mut self, function: Function, start: usize) -> Parsed {
        self.take();
        let (word, place) = self.take();
        let Word::Name(name) = word else {
            let problem = format!("{}() takes a series", function.word());
            return Err(self.fault(place.start, problem, "write one, such as load.1"));
        };
        let (mut leaf, _) = self.leaf(&name, &place)?;
        if function == Function::Rate && !leaf.is_counter() {
            let problem = format!("{name} is not a counter");
            return Err(self.fault(place.start, problem, "rate() takes counters; delta() takes both"));
        }
        leaf.function = Some(function);
        if function != Function::Absent {
            self.expect(",", "write the window behind a comma, such as avg(load.1, 5 min)")?;
            leaf.window_ms = self.window()?;
        }
        let end = self.expect(")", "close the function")?;
        let node = self.hold(leaf, start..end)?;
        match node.kind {
            Kind::Leaf(at) if function == Function::Absent => Ok(Node { kind: Kind::Absent(at), ..node }),
            _ => Ok(node),
        }
    }

    fn window(&mut self) -> Result<i64, Fault> {
        let (word, place) = self.take();
        let remedy = "write a time of 10 s to 15 min, such as 5 min";
        let Word::Number(number) = word else {
            return Err(self.fault(place.start, "the window is missing", remedy));
        };
        let unit = self.unit().map(|(unit, _)| unit);
        let value = Literal { number, unit: unit.unwrap_or_default() }.value();
        let is_time = unit.is_some_and(|unit| ["ms", "s", "min", "m", "h", "d"].contains(&unit));
        if !is_time || !(10_000.0..=MAX_WINDOW_MS as f64).contains(&value) || value.fract() != 0.0 {
            return Err(self.fault(place.start, "this is not a window", remedy));
        }
        Ok(value as i64)
    }

    pub(super) fn series(&mut self, name: &str, place: &Range<usize>) -> Parsed {
        let (leaf, end) = self.leaf(name, place)?;
        self.hold(leaf, place.start..end)
    }

    fn hold(&mut self, leaf: Leaf, span: Range<usize>) -> Parsed {
        let at = match self.leaves.iter().position(|known| *known == leaf) {
            Some(at) => at,
            None if self.leaves.len() >= MAX_LEAVES => {
                let problem = format!("more than {MAX_LEAVES} series are read");
                return Err(self.fault(span.start, problem, "make two rules of it"));
            }
            None => {
                self.leaves.push(leaf);
                self.leaves.len() - 1
            }
        };
        Ok(Node { kind: Kind::Leaf(at), span })
    }

    /// A series with its selector, and where it ends.
    fn leaf(&mut self, name: &str, place: &Range<usize>) -> Result<(Leaf, usize), Fault> {
        let Some(reading) = rates::reading(name) else {
            return Err(self.fault(place.start, format!("{name} is not known"), like(name)));
        };
        let label = label_of(&reading);
        let mut leaf = Leaf { reading, label, selector: None, function: None, window_ms: 0 };
        if !self.is_sign("{") {
            return Ok((leaf, place.end));
        }
        let (selector, end) = self.selector(name, label)?;
        leaf.selector = Some(selector);
        Ok((leaf, end))
    }

    fn selector(&mut self, name: &str, label: Label) -> Result<(Selector, usize), Fault> {
        let open = self.take().1.start;
        if label == Label::None {
            return Err(self.fault(open, format!("{name} has no labels"), "leave the selector out"));
        }
        let key = label_key(label);
        let remedy = format!("write {name}{{{key}=\"…\"}}");
        let (word, place) = self.take();
        if word != Word::Name(key.to_owned()) {
            return Err(self.fault(place.start, format!("{name} is told apart by {key}"), remedy));
        }
        let (word, place) = self.take();
        let not = match word {
            Word::Sign("=") => false,
            Word::Sign("!=") => true,
            _ => return Err(self.fault(place.start, "= or != is missing", remedy)),
        };
        let (word, place) = self.take();
        let Word::Text(pattern) = word else {
            return Err(self.fault(place.start, "the label's value stands in quotes", remedy));
        };
        if pattern.is_empty() || pattern.len() > MAX_TEXT {
            let problem = format!("a label's value has 1 to {MAX_TEXT} bytes");
            return Err(self.fault(place.start, problem, remedy));
        }
        let end = self.expect("}", "close the selector")?;
        Ok((Selector { key, not, pattern }, end))
    }
}

/// What the label of a reading names.
fn label_of(reading: &Reading) -> Label {
    reading.inputs.first().and_then(|id| metric::by_id(*id)).map_or(Label::None, |metric| metric.label)
}

/// Names that begin as an unknown one does.
fn like(name: &str) -> String {
    let family = name.split('.').next().unwrap_or_default();
    let own = metric::ALL.iter().map(|metric| metric.name);
    let all = own.chain(rates::DERIVED.iter().map(|derived| derived.name));
    let of_family = |known: &&str| known.split('.').next() == Some(family);
    let mut near: Vec<&str> = all.filter(of_family).collect();
    near.sort_by_key(|known| {
        (known.chars().zip(name.chars()).take_while(|(a, b)| a == b).count() as i64).saturating_neg()
    });
    near.truncate(5);
    if near.is_empty() {
        return "write a name that GET /api/v1/metrics lists".to_owned();
    }
    format!("write one that GET /api/v1/metrics lists, such as {}", near.join(", "))
}
