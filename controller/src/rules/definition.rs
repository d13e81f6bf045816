//! What a rule may be: checked before it is stored, field by field.

use sysop_common::sample::MAX_TEXT;
use sysop_common::time::{DAY_MS, SECOND_MS};

use super::language::{Expression, parse};
use crate::store::assignments::Selector;
use crate::store::rules::{Check, Definition};

/// Most characters of a name.
pub const MAX_NAME: usize = 100;
/// Most labels of an incident.
pub const MAX_LABELS: usize = 16;
/// Most characters of a label's name or value.
pub const MAX_LABEL: usize = 64;
/// Longest `for` and `keep`, in ms.
pub const MAX_DURATION_MS: i64 = DAY_MS;
/// Most processes that one rule asks for.
pub const MAX_LEAST: u32 = 1_000;

/// What is wrong with a rule: the field, and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} {must}")]
pub struct Wrong {
    /// Name of the field, as in the API.
    pub field: &'static str,
    /// What it must be.
    pub must: String,
}

fn wrong(field: &'static str, must: impl Into<String>) -> Wrong {
    Wrong { field, must: must.into() }
}

/// Checks what a person wrote.
///
/// # Errors
/// The first field that does not fit.
pub fn check(written: &Definition) -> Result<(), Wrong> {
    let name = written.name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name != written.name || has_control(name) {
        let must =
            format!("must have 1 to {MAX_NAME} characters, no blanks at its ends, no control characters");
        return Err(wrong("name", must));
    }
    of_check(&written.check)?;
    for (field, ms) in [("for_ms", written.for_ms), ("keep_ms", written.keep_ms)] {
        if !(0..=MAX_DURATION_MS).contains(&ms) || ms % SECOND_MS != 0 {
            return Err(wrong(field, "must be whole seconds, 0 to a day"));
        }
    }
    if let Some(Selector::Label { name, value }) = &written.scope {
        of_label("scope", name, value)?;
        if name.starts_with(crate::store::labels::AGENT_LABEL_PREFIX) {
            return Err(wrong(
                "scope",
                "must be a label that an admin gave: those with 'host.' are the agents' own",
            ));
        }
    }
    if written.labels.len() > MAX_LABELS {
        return Err(wrong("labels", format!("must be at most {MAX_LABELS}")));
    }
    written.labels.iter().try_for_each(|(name, value)| of_label("labels", name, value))
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn of_label(field: &'static str, name: &str, value: &str) -> Result<(), Wrong> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
    if name.is_empty() || name.len() > MAX_LABEL || !name.bytes().all(allowed) {
        let must = format!("must have names of 1 to {MAX_LABEL} letters, digits, '.', '_', '-' or '/'");
        return Err(wrong(field, must));
    }
    if value.chars().count() > MAX_LABEL || has_control(value) {
        let must = format!("must have values of at most {MAX_LABEL} characters, without control characters");
        return Err(wrong(field, must));
    }
    Ok(())
}

fn of_check(check: &Check) -> Result<(), Wrong> {
    match check {
        Check::Expression { when, clear } => expressions(when, clear).map(drop),
        Check::Unit { unit } => {
            let name = unit.parse::<sysop_common::action::UnitName>();
            name.map(drop).map_err(|error| wrong("unit", error.problem.to_string()))
        }
        Check::Process { name, least } => {
            if name.is_empty()
                || name.len() > MAX_TEXT
                || has_control(name)
                || name.trim_matches('*').is_empty()
            {
                let must = format!("must name a process in 1 to {MAX_TEXT} bytes; * and ? stand for others");
                return Err(wrong("process", must));
            }
            if !(1..=MAX_LEAST).contains(least) {
                return Err(wrong("least", format!("must be 1 to {MAX_LEAST}")));
            }
            Ok(())
        }
        Check::Port { port: 0 } => Err(wrong("port", "must be 1 to 65535")),
        Check::Port { .. } => Ok(()),
    }
}

/// Reads both expressions of a rule.
///
/// # Errors
/// When one of them is none, or they do not go together.
pub fn expressions(when: &str, clear: &str) -> Result<(Expression, Option<Expression>), Wrong> {
    let read =
        |field, text: &str| parse(text).map_err(|fault| wrong(field, format!("cannot be read: {fault}")));
    let when = read("when", when)?;
    if clear.trim().is_empty() {
        return Ok((when, None));
    }
    let clear = read("clear", clear)?;
    if clear.free().is_some() && clear.free() != when.free() {
        let must = "must leave the same label open as the condition, such as the mount point, or none";
        return Err(wrong("clear", must));
    }
    Ok((when, Some(clear)))
}
