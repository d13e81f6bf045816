//! `cargo xtask tidy`: the rules of the layout that a compiler does not know, checked on the text.
//!
//! The rules themselves are data in [`rules`]; each check is a file that reads them.

mod confine;
mod edges;
mod lexer;
mod lockfile;
mod paths;
mod rules;
mod shape;
mod source;

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};

use source::Source;

/// One broken rule: where, which, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) rule: &'static str,
    pub(crate) text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.text)
    }
}

/// Names of the rules, in the order of a report.
pub(crate) const RULES: &[&str] =
    &["edges", "confined", "pure", "size", "header", "top-level", "migrations", "packages"];

/// All broken rules in the repository at `root`, in the order of their places.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let paths = source::list(root)?;
    let mut findings = Vec::new();
    for source in source::read(root, &paths)? {
        check_source(&source, &mut findings);
    }
    shape::top_level(&paths, &mut findings);
    shape::migrations(&paths, &mut findings);
    let lock = std::fs::read_to_string(root.join("Cargo.lock"))
        .context("could not read Cargo.lock: run cargo check once")?;
    lockfile::check(&lock, &mut findings)?;
    findings.sort();
    Ok(findings)
}

fn check_source(source: &Source, findings: &mut Vec<Finding>) {
    shape::check(source, findings);
    edges::check(source, findings);
    confine::check(source, findings);
}

/// The paths that a file's code names, its tests left out.
fn code_paths(source: &Source) -> Vec<paths::Path> {
    paths::paths(&paths::without_tests(&lexer::lex(&source.text)), &source.module())
}

#[cfg(test)]
fn findings_of(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    check_source(&Source { path: path.to_owned(), text: text.to_owned() }, &mut findings);
    findings.iter().map(ToString::to_string).collect()
}
