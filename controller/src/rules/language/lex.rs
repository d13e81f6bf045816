//! From text to words.

use std::ops::Range;

use super::Fault;
use crate::rules::MAX_EXPRESSION;

/// A word of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// A name, keyword or unit.
    Name(String),
    /// A number.
    Number(f64),
    /// A text in quotes.
    Text(String),
    /// A sign of one or two characters.
    Sign(&'static str),
    /// The end.
    End,
}

/// A word and where it stands, in bytes.
pub(super) type Placed = (Word, Range<usize>);

/// Signs, longer ones first.
const SIGNS: &[&str] =
    &["<=", ">=", "==", "!=", "<", ">", "=", "+", "-", "*", "/", "(", ")", "{", "}", ",", "%"];
/// Most digits of a number, its point included.
const MAX_NUMBER: usize = 24;

/// The column of a byte.
pub(super) fn column(text: &str, byte: usize) -> usize {
    text.get(..byte).map_or(0, |before| before.chars().count()) + 1
}

/// A fault at a byte.
pub(super) fn fault(text: &str, byte: usize, problem: impl Into<String>, remedy: impl Into<String>) -> Fault {
    Fault { column: column(text, byte), problem: problem.into(), remedy: remedy.into() }
}

/// The words of a text.
pub(super) fn words(text: &str) -> Result<Vec<Placed>, Fault> {
    if text.len() > MAX_EXPRESSION {
        let problem = format!("the expression has {} bytes", text.len());
        return Err(fault(text, 0, problem, format!("write it in at most {MAX_EXPRESSION}")));
    }
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        if c.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let (word, end) = match c {
            'a'..='z' | 'A'..='Z' | '_' => name(text, at),
            '0'..='9' | '.' => number(text, at)?,
            '"' => quoted(text, at)?,
            _ => sign(text, at)?,
        };
        found.push((word, at..end));
        at = end;
    }
    found.push((Word::End, text.len()..text.len()));
    Ok(found)
}

fn run(text: &str, at: usize, belongs: impl Fn(char) -> bool) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.find(|c| !belongs(c)).unwrap_or(rest.len())
}

fn name(text: &str, at: usize) -> (Word, usize) {
    let end = run(text, at, |c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    (Word::Name(text[at..end].to_owned()), end)
}

fn number(text: &str, at: usize) -> Result<(Word, usize), Fault> {
    let end = run(text, at, |c| c.is_ascii_digit() || c == '.');
    let digits = &text[at..end];
    match digits.parse::<f64>() {
        Ok(value) if digits.len() <= MAX_NUMBER && value.is_finite() => Ok((Word::Number(value), end)),
        _ => Err(fault(text, at, "this is not a number", "write digits with at most one point, such as 0.5")),
    }
}

fn quoted(text: &str, at: usize) -> Result<(Word, usize), Fault> {
    let mut out = String::new();
    let mut chars = text[at + 1..].char_indices();
    while let Some((offset, c)) = chars.next() {
        match c {
            '"' => return Ok((Word::Text(out), at + offset + 2)),
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\'))) => out.push(c),
                _ => {
                    let remedy = "after \\ write \" or \\";
                    return Err(fault(text, at + 1 + offset, "this is no escape", remedy));
                }
            },
            c if c.is_control() => {
                let problem = "a label has no control characters";
                return Err(fault(text, at + 1 + offset, problem, "leave this one out"));
            }
            c => out.push(c),
        }
    }
    Err(fault(text, at, "this quote is not closed", "write \" behind the label's value"))
}

fn sign(text: &str, at: usize) -> Result<(Word, usize), Fault> {
    let found = SIGNS.iter().find(|sign| text[at..].starts_with(**sign));
    let unknown = || {
        let remedy = "write names, numbers, + - * / ( ) < <= > >= == !=, and, or, not";
        fault(text, at, "this sign is not known", remedy)
    };
    found.map(|sign| (Word::Sign(sign), at + sign.len())).ok_or_else(unknown)
}
