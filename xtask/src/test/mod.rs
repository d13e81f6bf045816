//! `cargo xtask test`: installs what is missing, then runs every suite on one shared build.
//!
//! A suite is a function that returns its cases; the list [`SUITES`] is the order in which they run.

mod browser;
mod cargo;
mod case;
mod install;
mod parse;
mod units;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{shell, tidy};
use case::{Case, Outcome, SuiteResult, Tally};

pub(crate) use cargo::target_folder;

/// What the suites share.
pub(crate) struct Setting {
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    /// Larger numbers, and a result file.
    pub(crate) full: bool,
}

impl Setting {
    /// A command that runs at the repository's root and knows whether the numbers are the larger ones.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        if self.full {
            command.env("SYSOP_TEST_FULL", "1");
        }
        command
    }
}

type Suite = (&'static str, fn(&Setting) -> Result<Vec<Case>>);

/// All suites: what is cheap and often broken comes first.
const SUITES: &[Suite] = &[
    ("tidy", tidy_suite),
    ("format", cargo::format),
    ("units", units::run),
    ("lint", cargo::lint),
    ("deny", cargo::deny),
    ("workspace", cargo::workspace),
    ("hosts", cargo::hosts),
    ("browser", browser::run),
];

/// Runs the suites that `arguments` ask for: `[--full] [--only SUITE]…`.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<ExitCode> {
    let (full, only) = parse_arguments(arguments)?;
    let setting = Setting { root: root.to_owned(), target: cargo::target_folder(root)?, full };
    let mut results = Vec::new();
    for (suite, run) in SUITES.iter().filter(|(suite, _)| only.is_empty() || only.contains(suite)) {
        println!("\n=== {suite}");
        let start = Instant::now();
        let cases = run(&setting).unwrap_or_else(|error| {
            println!("error: {error:#}");
            vec![Case::failed(format!("{suite}: {error}"))]
        });
        let seconds = start.elapsed().as_secs_f64();
        println!("--- {suite}: {}, {seconds:.0} s", Tally::of(&cases));
        results.push(SuiteResult { suite, cases, seconds });
    }
    if full {
        case::save(&results, &setting.target.join("test-full.json"))?;
    }
    Ok(conclude(&results))
}

fn parse_arguments(arguments: &[String]) -> Result<(bool, Vec<&'static str>)> {
    let (mut full, mut only) = (false, Vec::new());
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--full" => full = true,
            "--only" => {
                let name = words.next().context("--only needs the name of a suite")?;
                let names = || SUITES.iter().map(|(suite, _)| *suite);
                let known = names().find(|suite| suite == name);
                only.push(known.with_context(|| {
                    format!("no suite is called {name}; there are {}", names().collect::<Vec<_>>().join(", "))
                })?);
            }
            other => bail!("unknown argument {other}: cargo xtask test [--full] [--only SUITE]"),
        }
    }
    Ok((full, only))
}

/// Names what failed and what was skipped, then the sum alone on the last line.
fn conclude(results: &[SuiteResult]) -> ExitCode {
    println!();
    for result in results {
        for case in &result.cases {
            match &case.outcome {
                Outcome::Passed if case.unsteady => {
                    println!("unsteady: {}: {} (passed on its second try)", result.suite, case.name);
                }
                Outcome::Passed => {}
                Outcome::Failed => println!("failed: {}: {}", result.suite, case.name),
                Outcome::Skipped(reason) => println!("skipped: {}: {} ({reason})", result.suite, case.name),
            }
        }
    }
    let tally = Tally::of(results.iter().flat_map(|result| &result.cases));
    println!("{tally}");
    if tally.failed == 0 && tally.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One case per rule.
fn tidy_suite(setting: &Setting) -> Result<Vec<Case>> {
    let findings = tidy::check(&setting.root)?;
    findings.iter().for_each(|finding| println!("{finding}"));
    let broken = |rule: &str| findings.iter().any(|finding| finding.rule == rule);
    Ok(tidy::RULES
        .iter()
        .map(|rule| if broken(rule) { Case::failed(*rule) } else { Case::passed(*rule) })
        .collect())
}

/// Runs a test runner, showing its lines but for single passes, and collects its cases.
fn run_and_parse(suite: &str, command: &mut Command, foreign: Option<&'static str>) -> Result<Vec<Case>> {
    let mut parser = parse::Parser::new(foreign);
    let success = shell::lines(command, |line| {
        if parser.line(line) {
            println!("{line}");
        }
    })?;
    Ok(parser.finish(suite, success))
}
