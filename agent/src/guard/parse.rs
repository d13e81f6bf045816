//! From the text of the policy file to its rules; an error names line, key and remedy.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sysop_common::action::{CATALOGUE, TempRoot, entry_by_name};
use sysop_common::probe::Pattern;
use sysop_common::query::QUERY_NAMES;
use toml::Spanned;

use super::owned::OwnedError;
use super::rules::{DEFAULT_ACTIONS_PER_HOUR, DEFAULT_MAX_BYTES, MAX_ACTIONS_PER_HOUR, Rule};

/// The policy cannot be used; until it is mended nothing is allowed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It cannot be read, or others could have written it.
    #[error("policy is not used: {0}")]
    File(#[from] OwnedError),
    /// Its text is wrong.
    #[error("{} line {line}: {key}: {problem}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The key, or the text that stands there.
        key: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
}

impl PolicyError {
    /// Whether there is no such file.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::File(OwnedError::Missing(_)))
    }
}

/// What the text says, checked.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) queries: Vec<&'static str>,
    pub(super) rules: Vec<Rule>,
    pub(super) protected: Vec<String>,
    pub(super) actions_per_hour: u32,
    /// What `[probes]` says, if it is there.
    pub(super) probes: Option<Vec<Pattern>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    queries: Queries,
    #[serde(default)]
    limits: Limits,
    probes: Option<Probes>,
    #[serde(default)]
    allow: Vec<Spanned<Allow>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Queries {
    #[serde(default)]
    allow: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Probes {
    allow: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    actions_per_hour: Option<Spanned<u32>>,
    #[serde(default)]
    protected: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allow {
    action: Spanned<String>,
    units: Option<Spanned<Vec<String>>>,
    processes: Option<Spanned<Vec<String>>>,
    users: Option<Spanned<Vec<String>>>,
    roots: Option<Spanned<Vec<String>>>,
    max_bytes: Option<Spanned<u64>>,
    #[serde(default)]
    automatic: bool,
}

/// Where an error is told to be.
struct Place<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Place<'_> {
    fn error(&self, at: usize, key: impl Into<String>, problem: impl Into<String>) -> PolicyError {
        let before = self.text.get(..at).unwrap_or(self.text);
        PolicyError::Text {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            key: key.into(),
            problem: problem.into(),
        }
    }
}

/// Reads `text`, which stands in `path`.
pub(super) fn parse(path: &Path, text: &str) -> Result<Parsed, PolicyError> {
    let place = Place { path, text };
    let file: File = toml::from_str(text).map_err(|e| {
        let at = e.span().map_or(0, |span| span.start);
        let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
        let line = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
        let key: String = line.split('=').next().unwrap_or_default().trim().chars().take(60).collect();
        place.error(at, key, e.message().trim().replace('\n', " "))
    })?;
    let queries = file.queries.allow.iter().map(|name| query(&place, name)).collect::<Result<_, _>>()?;
    let mut protected = Vec::new();
    for pattern in file.limits.protected {
        let at = pattern.span().start;
        check_unit_pattern(&place, at, "protected", pattern.get_ref())?;
        protected.push(pattern.into_inner());
    }
    let actions_per_hour = match file.limits.actions_per_hour {
        None => DEFAULT_ACTIONS_PER_HOUR,
        Some(number) if (1..=MAX_ACTIONS_PER_HOUR).contains(number.get_ref()) => number.into_inner(),
        Some(number) => {
            let problem =
                format!("must be from 1 to {MAX_ACTIONS_PER_HOUR}; to forbid all, remove every [[allow]]");
            return Err(place.error(number.span().start, "actions_per_hour", problem));
        }
    };
    let rules = file.allow.into_iter().map(|allow| rule(&place, allow)).collect::<Result<_, _>>()?;
    let pattern = |text: Spanned<String>| {
        let read = text.get_ref().parse::<Pattern>();
        read.map_err(|e| place.error(text.span().start, "probes.allow", format!("{:?} {e}", text.get_ref())))
    };
    let probes = file.probes.map(|probes| probes.allow.into_iter().map(pattern).collect()).transpose()?;
    Ok(Parsed { queries, rules, protected, actions_per_hour, probes })
}

fn query(place: &Place<'_>, name: &Spanned<String>) -> Result<&'static str, PolicyError> {
    QUERY_NAMES.iter().find(|known| *known == name.get_ref()).copied().ok_or_else(|| {
        let problem = format!("{:?} is no reading; write one of {}", name.get_ref(), QUERY_NAMES.join(", "));
        place.error(name.span().start, "queries.allow", problem)
    })
}

fn rule(place: &Place<'_>, allow: Spanned<Allow>) -> Result<Rule, PolicyError> {
    let start = allow.span().start;
    let allow = allow.into_inner();
    let Some(entry) = entry_by_name(allow.action.get_ref()) else {
        let names: Vec<_> = CATALOGUE.iter().map(|entry| entry.name).collect();
        let problem = format!("{:?} is no action; write one of {}", allow.action.get_ref(), names.join(", "));
        return Err(place.error(allow.action.span().start, "action", problem));
    };
    let mut rule = Rule { action: entry.name, automatic: allow.automatic, ..Rule::default() };
    let (wants_units, wants_processes) = (entry.name.ends_with("_service"), entry.name == "kill_process");
    let wants_roots = entry.name == "cleanup_temp_files";
    let list = |key: &'static str, value: Option<Spanned<Vec<String>>>, has_meaning: bool, required: bool| {
        match value {
            Some(value) if !has_meaning => Err(place.error(
                value.span().start,
                key,
                format!("has no meaning for {}; remove it", entry.name),
            )),
            Some(value) if required && value.get_ref().is_empty() => Err(place.error(
                value.span().start,
                key,
                "is empty; name what is allowed, or remove the [[allow]]",
            )),
            Some(value) => Ok((value.span().start, value.into_inner())),
            None if required => {
                Err(place.error(start, key, format!("is missing; {} needs it: {key} = [\"…\"]", entry.name)))
            }
            None => Ok((start, Vec::new())),
        }
    };
    let (at, units) = list("units", allow.units, wants_units, wants_units)?;
    units.iter().try_for_each(|pattern| check_unit_pattern(place, at, "units", pattern))?;
    let (at, processes) = list("processes", allow.processes, wants_processes, wants_processes)?;
    processes.iter().try_for_each(|pattern| check_text(place, at, "processes", pattern))?;
    let (at, users) = list("users", allow.users, wants_processes, false)?;
    users.iter().try_for_each(|name| check_text(place, at, "users", name))?;
    let (at, roots) = list("roots", allow.roots, wants_roots, wants_roots)?;
    for root in &roots {
        let parsed: Result<TempRoot, _> = root.parse();
        parsed.map_err(|e| place.error(at, "roots", format!("{root:?}: {}", e.problem)))?;
    }
    rule.max_bytes = match allow.max_bytes {
        Some(value) if !wants_roots || *value.get_ref() == 0 => {
            let problem = if wants_roots {
                "must be at least 1"
            } else {
                "has a meaning for cleanup_temp_files only; remove it"
            };
            return Err(place.error(value.span().start, "max_bytes", problem));
        }
        Some(value) => value.into_inner(),
        None => DEFAULT_MAX_BYTES,
    };
    (rule.units, rule.processes, rule.users, rule.roots) = (units, processes, users, roots);
    Ok(rule)
}

fn check_unit_pattern(place: &Place<'_>, at: usize, key: &str, pattern: &str) -> Result<(), PolicyError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":_.@-*?".contains(&b);
    if pattern.is_empty() || pattern.len() > 255 || !pattern.bytes().all(allowed) {
        let problem = format!(
            "{pattern:?} is no unit's name; letters, digits, :_.@- and the wildcards * and ? may stand in it"
        );
        return Err(place.error(at, key, problem));
    }
    if !pattern.ends_with(".service") && !pattern.ends_with('*') {
        return Err(place.error(
            at,
            key,
            format!("{pattern:?} is not a service; write \"{pattern}.service\""),
        ));
    }
    Ok(())
}

fn check_text(place: &Place<'_>, at: usize, key: &str, text: &str) -> Result<(), PolicyError> {
    if text.is_empty() || text.len() > 64 || text.chars().any(char::is_control) {
        return Err(place.error(at, key, format!("{text:?} must be 1 to 64 printable characters")));
    }
    Ok(())
}
