//! Looks at targets, runs what the journal has as started, and looks whether it helped.
//!
//! One file per family of actions. Whatever starts a process goes through [`runner`], the only
//! place of the program that can.

mod lease;
mod process;
mod procfs;
pub mod runner;
mod service;
mod show;
mod temp;
#[cfg(test)]
mod tests;
mod users;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use sysop_common::action::{Action, Event, RunState};

use crate::guard::Facts;
use crate::journal::Started;
pub use lease::is_in_use;
use runner::{Output, Runner, SystemRunner};
pub use users::user_id;

/// What actions are carried out with. Tests put other parts in.
pub struct Tools {
    /// Starts processes.
    pub runner: Box<dyn Runner>,
    /// What `/tmp` and `/var/tmp` lie below.
    pub root: PathBuf,
    /// How long an effect is watched, instead of the catalogue's time.
    pub window: Option<Duration>,
    /// Time between SIGTERM and SIGKILL.
    pub term_grace: Duration,
}

impl Default for Tools {
    fn default() -> Self {
        Self {
            runner: Box::new(SystemRunner),
            root: PathBuf::from("/"),
            window: None,
            term_grace: Duration::from_secs(10),
        }
    }
}

impl std::fmt::Debug for Tools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tools").field("root", &self.root).finish_non_exhaustive()
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Done {
    /// How it ended.
    pub event: Event,
    /// What is kept of its output.
    pub output: Vec<u8>,
    /// What the run itself knows of its effect.
    pub evidence: Evidence,
}

/// How the effect of a run is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// By looking at the target again.
    Look,
    /// The run has seen it.
    Seen {
        /// Whether it is there.
        verified: bool,
        /// One line on what was seen.
        detail: String,
    },
}

/// How a run ended, before it is an event.
struct Ended {
    state: RunState,
    exit: Option<i32>,
    detail: String,
    output: Output,
    evidence: Evidence,
}

/// Looks at an action's target as it is now. Changes nothing.
#[must_use]
pub fn look(action: &Action, tools: &Tools) -> Facts {
    match action {
        Action::RestartService { unit } | Action::StartService { unit } | Action::StopService { unit } => {
            service::look(unit.as_str(), tools.runner.as_ref())
        }
        Action::KillProcess { process } => process::look(process),
        Action::CleanupTempFiles { root, .. } => temp::look(root, &tools.root),
    }
}

/// Runs an order that is on disk as started. Takes it away, so that it cannot run twice.
#[must_use]
#[allow(clippy::needless_pass_by_value, reason = "a started order is used up")]
pub fn run(started: Started, tools: &Tools) -> Done {
    let from = Instant::now();
    let action = &started.order().action;
    let ended = match action {
        Action::RestartService { .. } => service::run("restart", &started, tools),
        Action::StartService { .. } => service::run("start", &started, tools),
        Action::StopService { .. } => service::run("stop", &started, tools),
        Action::KillProcess { process } => process::run(process, tools.term_grace),
        Action::CleanupTempFiles { root, min_age_s, max_bytes } => {
            let limits = temp::Limits::new(started.order(), *min_age_s, *max_bytes);
            temp::run(root, &tools.root, &limits)
        }
    };
    let duration_ms = u64::try_from(from.elapsed().as_millis()).unwrap_or(u64::MAX);
    Done {
        event: Event::Finished {
            state: ended.state,
            exit: ended.exit,
            duration_ms,
            detail: ended.detail,
            output: ended.output.digest,
            output_bytes: ended.output.total,
        },
        output: ended.output.kept,
        evidence: ended.evidence,
    }
}

/// Watches whether a run that ended well had its effect, and says what was seen. Changes nothing.
#[must_use]
pub fn verify(action: &Action, evidence: Evidence, tools: &Tools) -> Event {
    let entry = action.entry();
    let window = tools.window.unwrap_or(Duration::from_secs(u64::from(entry.verify_after_s)));
    let (verified, detail) = match (evidence, action) {
        (Evidence::Seen { verified, detail }, _) => (verified, detail),
        (Evidence::Look, Action::RestartService { unit } | Action::StartService { unit }) => {
            service::is_up(unit.as_str(), window, tools.runner.as_ref())
        }
        (Evidence::Look, Action::StopService { unit }) => {
            service::is_down(unit.as_str(), window, tools.runner.as_ref())
        }
        (Evidence::Look, Action::KillProcess { process }) => process::is_gone(process, window),
        (Evidence::Look, Action::CleanupTempFiles { .. }) => {
            (false, "the executor ended before the effect was looked at".into())
        }
    };
    Event::Checked { verified, detail }
}

/// Waits. Every action runs on a thread of its own.
#[allow(clippy::disallowed_methods, reason = "nothing else runs on this thread")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}
