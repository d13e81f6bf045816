//! The agent's binary: reads the command line, sets logging up, does one thing.

use std::process::ExitCode;

use clap::Parser as _;
use sysop_agent::cli::Cli;
use sysop_agent::config::{Log, LogFormat, LogLevel};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, Registry};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let log = if cli.serves() { cli.log() } else { Log { level: LogLevel::Warn, ..Log::default() } };
    log_to_stderr(&log);
    cli.run()
}

fn log_to_stderr(log: &Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Below warnings, the libraries speak to their authors.
    let filter = Targets::new().with_default(level.min(LevelFilter::WARN)).with_target("sysop", level);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match log.format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        // Colours are for terminals, and this goes to the journal as a rule.
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    // The first and only one to be set.
    let _ = tracing::subscriber::set_global_default(Registry::default().with(lines.with_filter(filter)));
}
