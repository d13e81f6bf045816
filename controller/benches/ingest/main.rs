//! Ingest under load: a controller's intake in one process, many agents over real mTLS sessions in another.
//!
//! Prints one line of JSON with what was measured; `cargo xtask bench ingest` makes the table of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    missing_docs,
    unreachable_pub,
    reason = "a measurement stops at the first surprise and prints"
)]

mod fleet;
mod load;
mod proc;
mod server;

use std::path::PathBuf;
use std::time::Duration;

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    pub agents: usize,
    pub interval: Duration,
    pub seconds: u64,
    /// Over how long agents connect.
    pub window: Duration,
    /// Threads of the server's runtime.
    pub threads: usize,
    pub linger_ms: u64,
}

fn main() {
    let mut plan = Plan {
        agents: 1_000,
        interval: Duration::from_secs(1),
        seconds: 20,
        window: Duration::from_secs(5),
        threads: 1,
        linger_ms: 8,
    };
    let mut serve: Option<PathBuf> = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|n| n.parse::<u64>().ok()).expect("a number follows");
        match argument.as_str() {
            "--agents" => plan.agents = number() as usize,
            "--interval-ms" => plan.interval = Duration::from_millis(number()),
            "--seconds" => plan.seconds = number(),
            "--window-s" => plan.window = Duration::from_secs(number()),
            "--threads" => plan.threads = number() as usize,
            "--linger-ms" => plan.linger_ms = number(),
            "--serve" => serve = arguments.next().map(PathBuf::from),
            // Given by cargo.
            "--bench" => {}
            other => panic!("unknown argument {other}"),
        }
    }
    match serve {
        Some(dir) => server::run(&dir, &plan),
        None => load::run(&plan),
    }
}
