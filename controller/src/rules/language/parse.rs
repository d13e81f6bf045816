//! From words to an expression, by recursive descent with a limit on depth.

mod series;

use std::ops::Range;

use sysop_common::metric::Label;

use super::lex::{Placed, Word, fault, words};
use super::tree::{UNITS, label_key};
use super::{Compare, Expression, Fault, Function, Kind, Leaf, Literal, MAX_DEPTH, Math, Node};

/// Reads an expression.
///
/// # Errors
/// A [`Fault`] that names the column, what is wrong there and what to write.
pub fn parse(text: &str) -> Result<Expression, Fault> {
    let words = words(text)?;
    let mut parser = Parser { text, words, at: 0, depth: 0, leaves: Vec::new() };
    let root = parser.either()?;
    let (next, place) = parser.next().clone();
    if next != Word::End {
        let remedy = "join two conditions with and, or; a comparison has one sign";
        return Err(parser.fault(place.start, "the expression should end here", remedy));
    }
    if !is_truth(&root) {
        let remedy = "compare it with a number, such as > 90 %";
        return Err(parser.fault(root.span.start, "this is a number, not a condition", remedy));
    }
    let mut free: Option<(Label, &Leaf)> = None;
    for leaf in parser.leaves.iter().filter(|leaf| leaf.is_free()) {
        match free {
            Some((label, other)) if label != leaf.label => {
                let (a, b) = (other.reading.name, leaf.reading.name);
                let problem =
                    format!("{a} is told apart by {}, {b} by {}", label_key(label), label_key(leaf.label));
                let remedy = format!("pick one of either, such as {b}{{{}=\"…\"}}", label_key(leaf.label));
                return Err(fault(text, 0, problem, remedy));
            }
            _ => free = Some((leaf.label, leaf)),
        }
    }
    let free = free.map(|(label, _)| label);
    Ok(Expression { text: text.to_owned(), root, leaves: parser.leaves, free })
}

fn is_truth(node: &Node) -> bool {
    matches!(node.kind, Kind::Compare(..) | Kind::And(..) | Kind::Or(..) | Kind::Not(_) | Kind::Absent(_))
}

struct Parser<'a> {
    text: &'a str,
    words: Vec<Placed>,
    at: usize,
    depth: usize,
    leaves: Vec<Leaf>,
}

type Parsed = Result<Node, Fault>;

impl Parser<'_> {
    fn fault(&self, byte: usize, problem: impl Into<String>, remedy: impl Into<String>) -> Fault {
        fault(self.text, byte, problem, remedy)
    }

    /// The next word; the last one is the end and stays.
    fn next(&self) -> &Placed {
        &self.words[self.at.min(self.words.len() - 1)]
    }

    fn take(&mut self) -> Placed {
        let placed = self.next().clone();
        self.at += 1;
        placed
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(&self.next().0, Word::Sign(found) if *found == sign)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(&self.next().0, Word::Name(found) if found == name)
    }

    fn expect(&mut self, sign: &'static str, what: &str) -> Result<usize, Fault> {
        let (word, place) = self.take();
        if word == Word::Sign(sign) {
            return Ok(place.end);
        }
        Err(self.fault(place.start, format!("{sign} is missing"), what))
    }

    /// Goes one level down.
    fn within(&mut self, parse: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.depth >= MAX_DEPTH {
            let at = self.next().1.start;
            let problem = format!("parts are nested more than {MAX_DEPTH} deep");
            return Err(self.fault(at, problem, "make two rules of it"));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn truth(&self, node: Node) -> Parsed {
        if is_truth(&node) {
            return Ok(node);
        }
        let remedy = "and, or and not join conditions: compare this with a number first";
        Err(self.fault(node.span.start, "this is a number", remedy))
    }

    fn number(&self, node: Node) -> Parsed {
        if !is_truth(&node) {
            return Ok(node);
        }
        let remedy = "only numbers are compared and calculated with";
        Err(self.fault(node.span.start, "this is a condition, not a number", remedy))
    }

    fn either(&mut self) -> Parsed {
        let mut left = self.all()?;
        let start = self.at;
        while self.is_name("or") {
            self.bounded(start)?;
            self.take();
            let right = self.all()?;
            left = self.joined(left, right, Kind::Or)?;
        }
        Ok(left)
    }

    fn all(&mut self) -> Parsed {
        let mut left = self.negation()?;
        let start = self.at;
        while self.is_name("and") {
            self.bounded(start)?;
            self.take();
            let right = self.negation()?;
            left = self.joined(left, right, Kind::And)?;
        }
        Ok(left)
    }

    /// A chain leans to the left: its length is depth too.
    fn bounded(&self, start: usize) -> Result<(), Fault> {
        if self.at - start > 128 {
            return Err(self.fault(self.next().1.start, "this chain is too long", "make two rules of it"));
        }
        Ok(())
    }

    fn joined(&self, left: Node, right: Node, make: fn(Box<Node>, Box<Node>) -> Kind) -> Parsed {
        let (left, right) = (self.truth(left)?, self.truth(right)?);
        let span = left.span.start..right.span.end;
        Ok(Node { kind: make(Box::new(left), Box::new(right)), span })
    }

    fn negation(&mut self) -> Parsed {
        if !self.is_name("not") {
            return self.comparison();
        }
        let start = self.take().1.start;
        let inner = self.within(Self::negation)?;
        let inner = self.truth(inner)?;
        let span = start..inner.span.end;
        Ok(Node { kind: Kind::Not(Box::new(inner)), span })
    }

    fn comparison(&mut self) -> Parsed {
        let left = self.sum()?;
        let found = Compare::ALL.into_iter().find(|compare| self.is_sign(compare.sign()));
        let Some(compare) = found else {
            if self.is_sign("=") {
                let at = self.next().1.start;
                return Err(self.fault(at, "= only stands in a selector", "write == to compare"));
            }
            return Ok(left);
        };
        self.take();
        let right = self.sum()?;
        let (left, right) = (self.number(left)?, self.number(right)?);
        let span = left.span.start..right.span.end;
        Ok(Node { kind: Kind::Compare(compare, Box::new(left), Box::new(right)), span })
    }

    fn sum(&mut self) -> Parsed {
        self.chain(&[Math::Add, Math::Subtract], Self::product)
    }

    fn product(&mut self) -> Parsed {
        self.chain(&[Math::Multiply, Math::Divide], Self::signed)
    }

    fn chain(&mut self, signs: &[Math], part: fn(&mut Self) -> Parsed) -> Parsed {
        let mut left = part(self)?;
        let start = self.at;
        while let Some(math) = signs.iter().copied().find(|math| self.is_sign(math.sign())) {
            self.bounded(start)?;
            self.take();
            let right = part(self)?;
            let (a, b) = (self.number(left)?, self.number(right)?);
            let span = a.span.start..b.span.end;
            left = Node { kind: Kind::Math(math, Box::new(a), Box::new(b)), span };
        }
        Ok(left)
    }

    fn signed(&mut self) -> Parsed {
        if !self.is_sign("-") {
            return self.value();
        }
        let start = self.take().1.start;
        let inner = self.within(Self::signed)?;
        let inner = self.number(inner)?;
        let span = start..inner.span.end;
        Ok(Node { kind: Kind::Negate(Box::new(inner)), span })
    }

    fn value(&mut self) -> Parsed {
        let (word, place) = self.take();
        match word {
            Word::Number(number) => Ok(self.literal(number, place)),
            Word::Sign("(") => {
                let inner = self.within(Self::either)?;
                let end = self.expect(")", "close what the parenthesis opened")?;
                Ok(Node { span: place.start..end, ..inner })
            }
            Word::Name(name) => match Function::ALL.into_iter().find(|f| f.word() == name) {
                Some(function) if self.is_sign("(") => self.function(function, place.start),
                _ => self.series(&name, &place),
            },
            Word::End => {
                let remedy = "write a series such as cpu.usage, or a number";
                Err(self.fault(place.start, "something is missing here", remedy))
            }
            Word::Text(_) | Word::Sign(_) => {
                let remedy =
                    "write a series such as cpu.usage, a number, or a function such as avg(load.1, 5 min)";
                Err(self.fault(place.start, "no value begins here", remedy))
            }
        }
    }

    fn literal(&mut self, number: f64, place: Range<usize>) -> Node {
        let (unit, end) = self.unit().unwrap_or(("", place.end));
        Node { kind: Kind::Number(Literal { number, unit }), span: place.start..end }
    }

    /// The unit that stands next, taken; and where it ends.
    fn unit(&mut self) -> Option<(&'static str, usize)> {
        let (word, place) = self.next().clone();
        let find = |text: &str| UNITS.iter().find(|(unit, _)| *unit == text).map(|(unit, _)| *unit);
        match word {
            Word::Sign("%") => {
                self.take();
                Some(("%", place.end))
            }
            Word::Name(name) => {
                let unit = find(&name)?;
                self.take();
                // `MiB/s`, written as one.
                let behind = self.text.get(place.end..).unwrap_or_default();
                let second = behind.strip_prefix("/s").filter(|rest| !rest.starts_with(is_of_name));
                match second.and_then(|_| find(&format!("{unit}/s"))) {
                    Some(per_second) => {
                        self.at += 2;
                        Some((per_second, place.end + 2))
                    }
                    None => Some((unit, place.end)),
                }
            }
            _ => None,
        }
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '.'
}
