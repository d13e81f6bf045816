//! `cargo xtask bench NAME`: measures, prints a table, writes `target/bench/NAME.json`.

mod agent;
mod analysis;
mod ingest;
mod ours;
mod peers;
mod process;
mod report;
mod scrape;
mod victoria;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

/// Runs the bench that is named first, with the other arguments.
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<ExitCode> {
    let report = match arguments.split_first().map(|(name, rest)| (name.as_str(), rest)) {
        Some(("agent", rest)) => agent::run(root, rest)?,
        Some(("analysis", rest)) => analysis::run(root, rest)?,
        Some(("ingest", rest)) => ingest::run(root, rest)?,
        _ => bail!("which bench? agent, analysis, ingest"),
    };
    report.print();
    report.write(root)?;
    Ok(ExitCode::SUCCESS)
}
