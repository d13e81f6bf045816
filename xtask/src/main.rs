//! What developing needs, as commands: `cargo xtask tidy`, `cargo xtask test`.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a developer's tool starts programs and prints"
)]
#![forbid(unsafe_code)]

mod bench;
mod shell;
mod test;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  bench NAME [ARGUMENTS]        measure and print a table: agent, ingest
  tidy                          check the rules of the layout
  test [--full] [--only SUITE]  install what is missing, run all suites or those named
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    match arguments.split_first().map(|(command, rest)| (command.as_str(), rest)) {
        Some(("tidy", [])) => tidy(),
        Some(("bench", rest)) => bench::run(&root(), rest),
        Some(("test", rest)) => test::run(&root(), rest),
        Some(("help" | "--help" | "-h", _)) => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("no such command\n\n{USAGE}"),
    }
}

fn tidy() -> Result<ExitCode> {
    let findings = tidy::check(&root())?;
    for finding in &findings {
        println!("{finding}");
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The repository's root: this crate's parent.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .components()
        .collect::<PathBuf>()
        .parent()
        .map(PathBuf::from)
        .unwrap_or_default()
}
