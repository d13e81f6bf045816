//! Ends one process, held by a descriptor so that its number cannot become another's meanwhile.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use sysop_common::action::{ProcessRef, RunState, entry_by_name};

use super::runner::{becomes_readable, lines};
use super::users::user_name;
use super::{Ended, Evidence, procfs};
use crate::guard::Facts;
use crate::guard::facts::ProcessFacts;

/// How long a process is waited for after SIGKILL: the kernel may still have to finish for it.
const KILL_WAIT: Duration = Duration::from_secs(5);

/// The process as it is now.
pub(super) fn look(process: &ProcessRef) -> Facts {
    let (held, pidfd) = match hold(process.pid) {
        Ok(held) => (Some(held), true),
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => (None, false),
        Err(_) => return Facts::Unseen(format!("process {} is gone", process.pid)),
    };
    let seen = see(process.pid);
    // Still there after everything was read: so all of it was about this one.
    let alive = held.as_ref().is_none_or(|held| !becomes_readable(held, Duration::ZERO).unwrap_or(true));
    match seen {
        Some(facts) if alive => Facts::Process(ProcessFacts { pidfd, ..facts }),
        _ => Facts::Unseen(format!("process {} is gone", process.pid)),
    }
}

fn see(pid: u32) -> Option<ProcessFacts> {
    let stat = procfs::stat(pid)?;
    let uids = procfs::uids(pid)?;
    Some(ProcessFacts {
        start_ticks: stat.start_ticks,
        comm: stat.comm,
        uids,
        user: user_name(uids[1]),
        units: procfs::units(pid),
        kernel: stat.kernel,
        ours: procfs::is_ours(pid),
        pidfd: false,
    })
}

fn hold(pid: u32) -> rustix::io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(rustix::io::Errno::SRCH)?;
    pidfd_open(pid, PidfdFlags::empty())
}

/// SIGTERM, then SIGKILL after `grace`. What is held is looked at again before any signal.
pub(super) fn run(process: &ProcessRef, grace: Duration) -> Ended {
    let mut said = Vec::new();
    let (state, detail) = match end(process, grace, &mut said) {
        Ok(detail) => (RunState::Succeeded, detail),
        Err(detail) => (RunState::Failed, detail),
    };
    let keep = entry_by_name("kill_process").map_or(0, |entry| entry.output_bytes);
    let output = lines(&said, usize::try_from(keep).unwrap_or_default());
    Ended { state, exit: None, detail, output, evidence: Evidence::Look }
}

fn end(process: &ProcessRef, grace: Duration, said: &mut Vec<String>) -> Result<String, String> {
    let name = format!("process {} ({})", process.pid, process.comm);
    let held = hold(process.pid).map_err(|e| format!("{name} cannot be held: {e}"))?;
    let same = procfs::stat(process.pid).is_some_and(|stat| {
        (stat.start_ticks, stat.comm.as_str()) == (process.start_ticks, process.comm.as_str())
    });
    if !same || procfs::is_ours(process.pid) {
        return Err(format!("{name} is another one now; no signal was sent"));
    }
    let from = Instant::now();
    for (signal, word, wait) in [(Signal::TERM, "SIGTERM", grace), (Signal::KILL, "SIGKILL", KILL_WAIT)] {
        match pidfd_send_signal(&held, signal) {
            Ok(()) => said.push(format!("{} ms: sent {word} to {name}", from.elapsed().as_millis())),
            Err(rustix::io::Errno::SRCH) => return Ok(format!("{name} had ended before {word}")),
            Err(e) => return Err(format!("{word} to {name} was not allowed: {e}")),
        }
        if becomes_readable(&held, wait).map_err(|e| e.to_string())? {
            said.push(format!("{} ms: it ended", from.elapsed().as_millis()));
            return Ok(format!("{name} ended after {word}"));
        }
    }
    Err(format!("{name} did not end after SIGKILL: the kernel still waits for something in it"))
}

/// Watches for `window` whether the process stays gone. Its number may be another's by then.
pub(super) fn is_gone(process: &ProcessRef, window: Duration) -> (bool, String) {
    super::pause(window);
    match procfs::stat(process.pid) {
        Some(stat) if stat.start_ticks == process.start_ticks && stat.state != 'Z' => {
            (false, format!("process {} still runs", process.pid))
        }
        _ => (true, format!("process {} is gone", process.pid)),
    }
}
